// verify.c -- proves that a plan's bytes are where its steps look for them: replays the addressed
// plan on paper, keeping track of what every byte of memory holds. Shares nothing with arena.c.
#include "plan/plan.h"

// A run of bytes and the value it holds. Space ARENA is the arena; any other is a value with bytes
// of its own (a variable, an output, a derived weight).
enum { ARENA = -1 };
typedef struct held {
  int32_t space, content, step; // step: that wrote it, -1 before the first
  size_t from, to;
} held;

typedef struct paper {
  const frt_plan *p;
  held *list;
  int32_t n, cap;
  int32_t *content; // of every value: which value's numbers it means
} paper;

static held place_of(const frt_plan *p, int32_t value)
{
  int32_t root = frt__root(p, value);
  const frt_pvalue *r = &p->value[root];
  if (r->place == FRT_AT_ARENA) {
    return (held){.space = ARENA, .from = r->offset, .to = r->offset + p->value[value].bytes};
  }
  return (held){.space = root, .from = 0, .to = p->value[value].bytes};
}

static bool overlap(const held *a, const held *b)
{
  return a->space == b->space && a->from < b->to && b->from < a->to;
}

static frt_status write(paper *w, held h)
{
  int32_t n = 0;
  for (int32_t i = 0; i < w->n; i++) {
    if (!overlap(&w->list[i], &h)) {
      w->list[n++] = w->list[i];
    }
  }
  w->n = n;
  FRT_TRY(frt__grow(&w->list, &w->cap, n + 1, sizeof *w->list));
  w->list[w->n++] = h;
  return FRT_OK;
}

static frt_status check_read(const paper *w, int32_t step, const char *what, int32_t value)
{
  held want = place_of(w->p, value);
  for (int32_t i = 0; i < w->n; i++) {
    const held *h = &w->list[i];
    if (overlap(h, &want)) {
      FRT_CHECK(h->content == w->content[value] && h->from == want.from && h->to >= want.to,
                FRT_ESTATE, "plan: step %d (%s) reads value %d, overwritten by step %d", step + 1,
                what, value, h->step + 1);
      return FRT_OK;
    }
  }
  return frt_error_set(FRT_ESTATE, "plan: step %d (%s) reads value %d, which nobody has written",
                       step + 1, what, value);
}

// Bytes that one step uses at once must be apart, but for a result over an operand it may replace.
static frt_status check_apart(const frt_plan *p, int32_t i)
{
  const frt_pstep *s = &p->step[i];
  held scratch = {.space = ARENA, .from = s->scratch_at, .to = s->scratch_at + s->s.scratch};
  bool any = s->s.kernel->over || (s->s.op->flags & FRT_UPDATE);
  for (int32_t k = 0; k < s->s.n_out; k++) {
    held y = place_of(p, s->out[k]);
    for (int32_t j = 0; j < s->s.n_in; j++) {
      if (s->in[j] >= 0) {
        held x = place_of(p, s->in[j]);
        bool may = x.from == y.from && (any || (s->s.kernel->in_place && k == 0 && j == 0));
        FRT_CHECK(may || !overlap(&x, &y), FRT_ESTATE,
                  "plan: step %d (%s): output %d lies over input %d", i + 1, s->s.op->name, k + 1,
                  j + 1);
        FRT_CHECK(s->s.scratch == 0 || !overlap(&x, &scratch), FRT_ESTATE,
                  "plan: step %d (%s): scratch lies over input %d", i + 1, s->s.op->name, j + 1);
      }
    }
    for (int32_t j = 0; j < k; j++) {
      held other = place_of(p, s->out[j]);
      FRT_CHECK(!overlap(&other, &y), FRT_ESTATE,
                "plan: step %d (%s): output %d lies over output %d", i + 1, s->s.op->name, k + 1,
                j + 1);
    }
    FRT_CHECK(s->s.scratch == 0 || !overlap(&y, &scratch), FRT_ESTATE,
              "plan: step %d (%s): scratch lies over output %d", i + 1, s->s.op->name, k + 1);
    FRT_CHECK(y.space != ARENA || y.to <= p->arena, FRT_ESTATE,
              "plan: step %d (%s): output %d ends behind the arena", i + 1, s->s.op->name, k + 1);
  }
  FRT_CHECK(scratch.to <= p->arena || s->s.scratch == 0, FRT_ESTATE,
            "plan: step %d (%s): scratch ends behind the arena", i + 1, s->s.op->name);
  return FRT_OK;
}

// A view means the numbers of what it views; what a step makes means its own.
static void find_contents(paper *w)
{
  const frt_plan *p = w->p;
  for (int32_t v = 0; v < p->n_value; v++) {
    w->content[v] = -1;
  }
  for (int32_t i = 0; i < p->n_step; i++) {
    for (int32_t k = 0; k < p->step[i].s.n_out; k++) {
      w->content[p->step[i].out[k]] = p->step[i].out[k];
    }
  }
  for (int32_t v = 0; v < p->n_value; v++) {
    int32_t at = v;
    while (w->content[at] < 0 && p->value[at].place == FRT_AT_ALIAS) {
      at = p->value[at].index;
    }
    w->content[v] = w->content[at] < 0 ? at : w->content[at];
  }
}

static frt_status replay(paper *w)
{
  const frt_plan *p = w->p;
  for (int32_t v = 0; v < p->n_value; v++) {
    if (p->value[v].place == FRT_AT_SLOT || p->value[v].place == FRT_AT_CONST) {
      held h = place_of(p, v);
      h.content = v;
      h.step = -1;
      FRT_TRY(write(w, h));
    }
  }
  for (int32_t i = 0; i < p->n_step; i++) {
    const frt_pstep *s = &p->step[i];
    for (int32_t k = 0; k < s->s.n_in; k++) {
      if (s->in[k] >= 0) {
        FRT_TRY(check_read(w, i, s->s.op->name, s->in[k]));
      }
    }
    FRT_TRY(check_apart(p, i));
    if (s->s.scratch > 0) {
      FRT_TRY(write(w, (held){.space = ARENA,
                              .content = -1,
                              .step = i,
                              .from = s->scratch_at,
                              .to = s->scratch_at + s->s.scratch}));
    }
    for (int32_t k = 0; k < s->s.n_out; k++) {
      held h = place_of(p, s->out[k]);
      bool commit = s->s.op == &frt_fused_copy && p->value[s->out[k]].place == FRT_AT_SLOT;
      h.content = w->content[commit ? s->in[0] : s->out[k]];
      h.step = i;
      FRT_TRY(write(w, h));
    }
  }
  for (int32_t i = 0; i < p->n_output; i++) {
    FRT_TRY(check_read(w, p->n_step, "an output", p->output[i]));
  }
  for (int32_t i = 0; i < p->n_assign; i++) {
    held target = place_of(p, p->slot[p->assign[i].slot].value);
    bool found = false;
    for (int32_t k = 0; k < w->n; k++) {
      found |=
        overlap(&w->list[k], &target) && w->list[k].content == w->content[p->assign[i].value];
    }
    FRT_CHECK(found, FRT_ESTATE, "plan: assignment %d is not carried out", i + 1);
  }
  return FRT_OK;
}

frt_status frt_plan_verify(void)
{
  const frt_plan *p = frt__addressed;
  FRT_CHECK(p, FRT_ESTATE, "plan: none is addressed");
  paper w = {.p = p, .content = frt__alloc(sizeof(int32_t) * (size_t)(p->n_value + 1))};
  FRT_CHECK(w.content, FRT_ENOMEM, "out of memory: verifying a plan");
  find_contents(&w);
  frt_status status = replay(&w);
  frt__free(w.list);
  frt__free(w.content);
  return status;
}
