// recompute.c -- values are computed again just before the backward pass reads them, instead of
// being kept until then.
//
// The peak of the live bytes parts a plan in two. A large value read on both sides of it is
// computed again on the far side when what its maker reads is still there or can itself be had so,
// within a budget of nodes. How far that goes is the plan's frugality: at 0 only elementwise ops
// and applied batch norms, and only where that frees a third of the peak; at 1 the same for
// whatever it frees; from 2 on convolutions and products too, between values that are kept every 8,
// then 32 nodes (gradient checkpointing). A plan that must fit a limit (frt_set_memory) is compiled
// anew with the next one until it does.
#include <stdio.h>

#include "plan/plan.h"

enum { LARGE = 64 << 10, FAR = 16, SMALL_PART = 16, WORTH = 3 };
static const int32_t budgets[FRT_FRUGALITIES] = {8, 8, 8, 32};

typedef struct recompute {
  frt_plan *p;
  int32_t budget;
  frt_readers r;
  int32_t n, n_value, peak; // nodes and values before any is added; the node where the peak is
  int64_t most, freed;      // bytes alive there; of them computed again
  int32_t *last;            // by value: its last reader
  int64_t *need;            // by value: lowest rank of a copy that reads it
  bool *again;              // by value: is computed again
} recompute;

// Statistics come with the map; a copy of the map does without.
static bool counts(const frt_pnode *n)
{
  return n->op == &frt_op_fused_conv2d && n->n_out > 1;
}

frt_status frt__pnode_again(frt_plan *p, int32_t at, int32_t *made)
{
  const frt_pnode *n = &p->node[at];
  const bool map_alone = counts(n);
  const int32_t n_out = map_alone ? 1 : n->n_out;
  FRT_TRY(frt__pnode_new(p, n->op, n->n_in, n->in, n_out, n->n_attr, n->attr, n->origin, made));
  for (int32_t k = 0; k < n_out; k++) {
    if (p->node[at].out[k] >= 0) {
      const frt_shape shape = p->value[p->node[at].out[k]].v.shape;
      FRT_TRY(frt__value_new(p, &shape, &p->node[*made].out[k]));
      p->value[p->node[*made].out[k]].maker = *made;
    }
  }
  n = &p->node[at];
  frt_pnode *m = &p->node[*made];
  if (map_alone) {
    m->in[FRT_CONV_RUNNING] = m->in[FRT_CONV_RUNNING + 1] = -1;
  }
  memcpy(m->note, n->note, sizeof m->note);
  size_t used = strlen(m->note);
  snprintf(m->note + used, sizeof m->note - used, "%sagain", used ? ", " : "");
  return FRT_OK;
}

static bool may_repeat(const frt_plan *p, int32_t v)
{
  if (p->value[v].place != FRT_AT_ARENA || p->value[v].maker < 0) {
    return false;
  }
  const frt_pnode *n = &p->node[p->value[v].maker];
  bool known = n->op == &frt_op_fused_bn_apply || (n->op->flags & FRT_ELEMENTWISE) ||
               (p->frugality >= 2 && !(n->op->flags & FRT_VIEW));
  const bool first = counts(n) || n->op == &frt_fused_attention; // the rest is small
  bool one = n->n_out == 1 || (first && v == n->out[0]);
  return known && one && !n->derived && !(n->op->flags & (FRT_RANDOM | FRT_UPDATE)) &&
         p->value[v].v.shape.dtype == FRT_F32 && !p->value[v].pinned;
}

// Last readers through views, and the node at which most bytes are alive.
static frt_status find_peak(recompute *c)
{
  const frt_plan *p = c->p;
  for (int32_t v = 0; v < c->n_value; v++) {
    int32_t end = c->r.first[v + 1];
    c->last[v] = p->value[v].pinned ? c->n : end > c->r.first[v] ? c->r.list[end - 1] : -1;
  }
  for (int32_t i = c->n - 1; i >= 0; i--) {
    const frt_pnode *n = &p->node[i];
    if (n->op->flags & FRT_VIEW) {
      c->last[n->in[0]] = FRT_MAX(c->last[n->in[0]], c->last[n->out[0]]);
    }
  }
  int64_t *change = frt__zalloc(sizeof *change * (size_t)(c->n + 2));
  FRT_CHECK(change, FRT_ENOMEM, "out of memory: a plan");
  for (int32_t i = 0; i < c->n; i++) {
    const frt_pnode *n = &p->node[i];
    for (int32_t k = 0; k < n->n_out && !(n->op->flags & (FRT_VIEW | FRT_UPDATE)); k++) {
      if (n->out[k] >= 0) {
        int64_t bytes = (int64_t)p->value[n->out[k]].bytes;
        change[i] += bytes;
        change[FRT_MAX(i, c->last[n->out[k]]) + 1] -= bytes;
      }
    }
  }
  int64_t live = 0;
  c->most = -1;
  for (int32_t i = 0; i < c->n; i++) {
    live += change[i];
    if (live > c->most) {
      c->most = live;
      c->peak = i;
    }
  }
  frt__free(change);
  return FRT_OK;
}

// The first reader behind the peak; -1 when there is none.
static int32_t first_late(const recompute *c, int32_t v)
{
  for (int32_t k = c->r.first[v]; k < c->r.first[v + 1]; k++) {
    if (c->r.list[k] > c->peak) {
      return c->r.list[k];
    }
  }
  return -1;
}

// Nodes it takes to have `v` at node `at`; more than the budget when it cannot be had. `saved`:
// bytes of the value all this is for.
static int32_t cost_of(const recompute *c, int32_t v, int32_t at, size_t saved, bool itself)
{
  const frt_plan *p = c->p;
  const frt_pvalue *x = &p->value[v];
  if (x->maker < 0 || x->place != FRT_AT_ARENA) {
    return 0;
  }
  if (!itself && !c->again[v] && (c->last[v] >= at || x->bytes <= saved / SMALL_PART)) {
    return 0;
  }
  if (!may_repeat(p, v)) {
    return c->budget + 1;
  }
  const frt_pnode *n = &p->node[x->maker];
  int32_t cost = 1;
  for (int32_t k = 0; k < n->n_in && cost <= c->budget; k++) {
    cost += n->in[k] >= 0 ? cost_of(c, n->in[k], at, saved, false) : 0;
  }
  return cost;
}

static void choose(recompute *c)
{
  const frt_plan *p = c->p;
  for (int32_t i = 0; i <= c->peak; i++) {
    int32_t v = p->node[i].n_out > 0 ? p->node[i].out[0] : -1;
    if (v < 0 || p->value[v].bytes < LARGE || !may_repeat(p, v)) {
      continue;
    }
    int32_t late = first_late(c, v), early = i;
    for (int32_t k = c->r.first[v]; k < c->r.first[v + 1] && c->r.list[k] <= c->peak; k++) {
      early = c->r.list[k];
    }
    c->again[v] =
      late >= 0 && late - early >= FAR && cost_of(c, v, late, p->value[v].bytes, true) <= c->budget;
    c->freed += c->again[v] ? (int64_t)p->value[v].bytes : 0;
  }
}

// Computes `v` again before its first late reader, copies among them.
static frt_status copy(recompute *c, int32_t v)
{
  frt_plan *p = c->p;
  int32_t late = c->again[v] ? first_late(c, v) : -1, made;
  int64_t rank = late >= 0 ? p->node[late].rank : INT64_MAX;
  rank = FRT_MIN(rank, c->need[v]) - 1;
  FRT_TRY(frt__pnode_again(p, p->value[v].maker, &made));
  frt_pnode *m = &p->node[made];
  const int32_t again = m->out[0];
  m->rank = rank;
  for (int32_t k = 0; k < m->n_in; k++) {
    int32_t x = m->in[k];
    bool gone =
      x >= 0 && x < c->n_value && may_repeat(p, x) && (c->again[x] || c->last[x] <= c->peak);
    if (gone && p->value[x].bytes > p->value[v].bytes / SMALL_PART) {
      c->need[x] = FRT_MIN(c->need[x], rank);
    }
  }
  for (int32_t k = c->r.first[v]; k < c->r.first[v + 1]; k++) {
    if (c->r.list[k] > c->peak) {
      frt__redirect(&p->node[c->r.list[k]], v, again);
    }
  }
  for (int32_t i = c->n; i < p->n_node; i++) {
    frt__redirect(&p->node[i], v, again);
  }
  return FRT_OK;
}

static frt_status run(recompute *c)
{
  FRT_TRY(find_peak(c));
  for (int32_t v = 0; v < c->n_value; v++) {
    c->need[v] = INT64_MAX;
  }
  choose(c);
  if (c->p->frugality == 0 && c->freed < c->most / WORTH) {
    return FRT_OK;
  }
  for (int32_t i = c->n - 1; i >= 0; i--) {
    int32_t v = c->p->node[i].n_out > 0 ? c->p->node[i].out[0] : -1;
    if (v >= 0 && (c->again[v] || c->need[v] < INT64_MAX)) {
      FRT_TRY(copy(c, v));
    }
  }
  return FRT_OK;
}

frt_status frt__pass_recompute(frt_plan *p)
{
  if (p->n_node == 0) {
    return FRT_OK;
  }
  recompute c = {.p = p, .n = p->n_node, .n_value = p->n_value, .budget = budgets[p->frugality]};
  FRT_TRY(frt__readers_new(p, &c.r));
  size_t each = sizeof *c.last + sizeof *c.need + sizeof *c.again;
  c.need = frt__zalloc(each * (size_t)(c.n_value + 1));
  frt_status status = FRT_OK;
  if (c.need) {
    c.last = (int32_t *)(c.need + c.n_value);
    c.again = (bool *)(c.last + c.n_value);
    status = run(&c);
  } else {
    status = frt_error_set(FRT_ENOMEM, "out of memory: a plan");
  }
  frt__free(c.need);
  frt__readers_free(&c.r);
  frt__sort_nodes(p);
  return status;
}
