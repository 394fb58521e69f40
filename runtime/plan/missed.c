// missed.c -- what could have been fused and why it was not: the passes note it as they go, explain
// shows it on request.
#include "plan/plan.h"

void frt__missed(frt_plan *p, int32_t node, const char *what, const char *why, int32_t by)
{
  if (frt__grow(&p->missed, &p->cap_missed, p->n_missed + 1, sizeof *p->missed) != FRT_OK) {
    return; // nothing but the explanation is lost
  }
  frt_missed *m = &p->missed[p->n_missed++];
  *m =
    (frt_missed){.op = p->node[node].op, .origin = p->node[node].origin, .what = what, .why = why};
  if (by >= 0) {
    m->by = p->node[by].op;
    m->by_origin = p->node[by].origin;
  }
}

int32_t frt__other_reader(const frt_plan *p, const frt_readers *r, int32_t v, int32_t reader)
{
  for (int32_t k = r->first[v]; k < r->first[v + 1]; k++) {
    if (r->list[k] != reader && !p->node[r->list[k]].dead) {
      return r->list[k];
    }
  }
  return -1;
}

void frt__missed_for_readers(frt_plan *p, const frt_readers *r, int32_t v, int32_t node,
                             const char *what, int32_t reader)
{
  int32_t by = frt__other_reader(p, r, v, reader);
  if (by >= 0) {
    frt__missed(p, node, what, "its value is also read", by);
  } else {
    frt__missed(p, node, what,
                p->value[v].pinned ? "its value is an output" : "its value is not a float32 map",
                -1);
  }
}

// An op as its user knows it: without "fused_".
static const char *plain(const frt_op *op)
{
  return op && strncmp(op->name, "fused_", 6) == 0 ? op->name + 6 : op ? op->name : "";
}

frt_status frt_plan_missed(int32_t i, frt_missed_info *out)
{
  const frt_plan *p = frt__addressed;
  FRT_CHECK(p && i >= 0 && i < p->n_missed, FRT_EARG, "plan: nothing missed has number %d", i + 1);
  const frt_missed *m = &p->missed[i];
  *out = (frt_missed_info){.op = plain(m->op),
                           .what = m->what,
                           .why = m->why,
                           .line = frt__origin_line(m->origin),
                           .scope = frt__text(m->origin.scope),
                           .by = plain(m->by),
                           .by_line = m->by ? frt__origin_line(m->by_origin) : "",
                           .by_scope = m->by ? frt__text(m->by_origin.scope) : ""};
  return FRT_OK;
}
