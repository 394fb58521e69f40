// arena.c -- how long every value lives and where its bytes lie: assigned values over their
// variables, results over operands that die with the step, the rest packed into one arena
// (pack.c).
#include "plan/plan.h"

// --- where assigned values are written
// ------------------------------------------------------------

// An optimizer's result lies over the variable it updates when this step is that variable's last
// reader and reads it as the operand the result belongs to.
static bool over_variable(frt_plan *p, const frt_assignment *a, const int32_t *slot_last)
{
  int32_t target = p->slot[a->slot].value;
  frt_pvalue *v = &p->value[a->value];
  if (v->place != FRT_AT_ARENA || v->pinned != 1 || v->maker < 0 || target < 0) {
    return false;
  }
  for (int32_t i = p->n_step - 1; i >= 0; i--) {
    const frt_pstep *s = &p->step[i];
    if (!(s->s.op->flags & FRT_UPDATE)) {
      continue;
    }
    for (int32_t k = 0; k < s->s.n_out; k++) {
      if (s->out[k] != a->value) {
        continue;
      }
      int32_t group = s->s.op->update.in, member = k % (group - 1);
      int32_t operand = s->s.op->update.first + k / (group - 1) * group + (member ? member + 1 : 0);
      if (s->in[operand] != target || slot_last[a->slot] > i) {
        return false;
      }
      v->place = FRT_AT_ALIAS;
      v->index = target;
      return true;
    }
  }
  return false;
}

// Everything else is copied at the very end, when nothing can fail any more and every old value has
// been read.
frt_status frt__pass_commit(frt_plan *p)
{
  if (p->n_assign == 0) {
    return FRT_OK;
  }
  int32_t *slot_last = frt__plan_alloc(p, sizeof *slot_last * (size_t)(p->n_slot + 1));
  const frt_kernel *copy = frt__kernel(&frt_fused_copy);
  FRT_CHECK(slot_last, FRT_ENOMEM, "out of memory: a plan");
  FRT_CHECK(copy, FRT_EDEVICE, "planner: no kernel copies");
  for (int32_t s = 0; s < p->n_slot; s++) {
    slot_last[s] = -1;
  }
  for (int32_t i = 0; i < p->n_step; i++) {
    for (int32_t k = 0; k < p->step[i].s.n_in; k++) {
      int32_t v = p->step[i].in[k];
      int32_t root = v >= 0 ? frt__root(p, v) : -1;
      if (root >= 0 && p->value[root].place == FRT_AT_SLOT) {
        slot_last[p->value[root].index] = i;
      }
    }
  }
  for (int32_t i = 0; i < p->n_assign; i++) {
    const frt_assignment *a = &p->assign[i];
    if (over_variable(p, a, slot_last)) {
      continue;
    }
    int32_t step, target = p->slot[a->slot].value;
    FRT_TRY(frt__step_new(p, &frt_fused_copy, copy, 1, &a->value, 1, &target, NULL, (frt_origin){0},
                          &step));
    p->step[step].s.writes = true;
  }
  return FRT_OK;
}

// --- liveness
// -----------------------------------------------------------------------------------------
static void measure(frt_plan *p)
{
  for (int32_t i = 0; i < p->n_step; i++) {
    const frt_pstep *s = &p->step[i];
    for (int32_t k = 0; k < s->s.n_in + s->s.n_out; k++) {
      int32_t id = k < s->s.n_in ? s->in[k] : s->out[k - s->s.n_in];
      if (id < 0) {
        continue;
      }
      frt_pvalue *v = &p->value[frt__root(p, id)];
      if (v->place == FRT_AT_SLOT && k < s->s.n_in) {
        p->slot[v->index].read = true;
      }
      v->first = v->first < 0 ? i : v->first;
      v->last = i;
    }
  }
}

static bool lies_alike(const frt_pvalue *a, const frt_pvalue *b)
{
  return a->bytes == b->bytes && frt__shape_equal(&a->v.shape, &b->v.shape) &&
         a->v.shape.dtype == b->v.shape.dtype && a->v.store == b->v.store &&
         (a->v.layout == b->v.layout || frt__same_bytes(&a->v.shape));
}

// Results over operands. A kernel that says `over` reads each tile of its operands before it writes
// that tile.
static void overlay(frt_plan *p)
{
  for (int32_t i = 0; i < p->n_step; i++) {
    const frt_pstep *s = &p->step[i];
    const bool over = s->s.kernel->over;
    if (!over && !s->s.kernel->in_place) {
      continue;
    }
    for (int32_t k = 0; k < (over ? s->s.n_out : 1); k++) {
      frt_pvalue *y = &p->value[s->out[k]];
      for (int32_t j = 0; y->place == FRT_AT_ARENA && j < (over ? s->s.n_in : 1); j++) {
        if (s->in[j] < 0 || !lies_alike(&p->value[s->in[j]], y)) {
          continue;
        }
        int32_t root = frt__root(p, s->in[j]);
        frt_pvalue *x = &p->value[root];
        if (x->place == FRT_AT_ARENA && x->last == i && root != s->out[k] && lies_alike(x, y)) {
          x->last = y->last;
          y->place = FRT_AT_ALIAS;
          y->index = root;
        }
      }
    }
  }
}

// --- offsets
// ------------------------------------------------------------------------------------------
// What a value takes: in whole lines, with the spare bytes behind it that kernels may touch.
static size_t line(size_t bytes)
{
  const frt_backend *b = frt__device()->backend;
  return (bytes + b->slack + b->alignment - 1) / b->alignment * b->alignment;
}

frt_status frt__pass_arena(frt_plan *p)
{
  measure(p);
  overlay(p);
  frt_piece *pieces = frt__alloc(sizeof *pieces * (size_t)(p->n_value + p->n_step + 1));
  FRT_CHECK(pieces, FRT_ENOMEM, "out of memory: a plan");
  int32_t n = 0;
  for (int32_t v = 0; v < p->n_value; v++) {
    const frt_pvalue *x = &p->value[v];
    if (x->place == FRT_AT_ARENA && x->first >= 0) {
      pieces[n++] =
        (frt_piece){.bytes = line(x->bytes), .first = x->first, .last = x->last, .id = v};
      p->unshared += line(x->bytes);
    } else if (x->place == FRT_AT_DERIVED) {
      p->derived_bytes += x->bytes;
    }
  }
  for (int32_t i = 0; i < p->n_step; i++) {
    if (p->step[i].s.scratch > 0) {
      pieces[n++] = (frt_piece){
        .bytes = line(p->step[i].s.scratch), .first = i, .last = i, .id = p->n_value + i};
    }
  }
  frt_status status = frt__pack_pieces(pieces, n, p->n_step, &p->arena, &p->bound);
  for (int32_t i = 0; i < n && status == FRT_OK; i++) {
    int32_t id = pieces[i].id;
    if (id < p->n_value) {
      p->value[id].offset = pieces[i].at;
    } else {
      p->step[id - p->n_value].scratch_at = pieces[i].at;
    }
  }
  frt__free(pieces);
  return status;
}
