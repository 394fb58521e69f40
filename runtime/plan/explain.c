// explain.c -- what the addressed plan is made of, step by step.
#include <stdio.h>

#include "plan/plan.h"

void frt_plan_get(frt_plan_info *out)
{
  const frt_plan *p = frt__addressed;
  memset(out, 0, sizeof *out);
  frt__cache_info(out);
  if (!p) {
    return;
  }
  out->n_steps = p->n_step;
  out->runs = p->runs;
  out->flops = p->flops;
  out->arena = (int64_t)p->arena;
  out->scratch = (int64_t)p->scratch;
  out->derived = (int64_t)(p->derived_bytes + p->packed_bytes);
  out->outputs = (int64_t)p->output_bytes;
  out->unshared = (int64_t)p->unshared;
  out->bound = (int64_t)p->bound;
  out->n_missed = p->n_missed;
  for (int32_t i = 0; i < p->n_step; i++) {
    out->n_reference += p->step[i].s.kernel == &frt__reference;
  }
  for (int32_t s = 0; s < p->n_slot; s++) {
    bool own = p->slot[s].kind == FRT_NODE_VAR && p->slot[s].var_kind == FRT_VAR_STATE;
    out->variables += own ? (int64_t)frt__bytes(&p->slot[s].shape) : 0;
  }
}

static int32_t add_shapes(char *text, int32_t n, int32_t room, int32_t count,
                          const frt_value *const *values)
{
  for (int32_t k = 0; k < count && k < 4 && n < room - 1; k++) {
    if (values[k]) {
      const char *turn = values[k]->layout == FRT_CHANNELS_LAST ? "*" : "";
      n += snprintf(text + n, (size_t)(room - n), "%s%s%s%s", k ? " " : "",
                    frt__shape_text(&values[k]->shape), turn, frt__bf16(values[k]) ? "bf16" : "");
    }
  }
  if (count > 4 && n < room - 1) {
    n += snprintf(text + n, (size_t)(room - n), " ... %d in all", count);
  }
  return FRT_MIN(n, room - 1);
}

frt_status frt_plan_step(int32_t i, frt_step_info *out)
{
  const frt_plan *p = frt__addressed;
  FRT_CHECK(p && i >= 0 && i < p->n_step, FRT_EARG, "plan: no step %d", i + 1);
  const frt_pstep *s = &p->step[i];
  memset(out, 0, sizeof *out);
  const int32_t timed = s->s.setup ? p->timed_setup : p->timed;
  out->op = s->s.op->name;
  out->kernel = s->s.label ? s->s.label : s->s.kernel->name;
  out->line = frt__origin_line(s->origin);
  out->scope = frt__text(s->origin.scope);
  out->note = s->s.note ? s->s.note : "";
  out->flops = s->flops;
  out->seconds = timed > 0 ? p->seconds[s->job] / timed : 0;
  out->reference = s->s.kernel == &frt__reference;
  for (int32_t k = 0; k < s->s.n_in + s->s.n_out; k++) {
    const frt_value *v = k < s->s.n_in ? s->s.in[k] : s->s.out[k - s->s.n_in];
    out->bytes += v ? (double)frt__value_bytes(v) : 0;
  }
  int32_t room = (int32_t)sizeof out->shapes;
  int32_t n = add_shapes(out->shapes, 0, room, s->s.n_in, s->s.in);
  n += FRT_MAX(snprintf(out->shapes + n, (size_t)(room - n), " -> "), 0);
  add_shapes(out->shapes, FRT_MIN(n, room - 1), room, s->s.n_out, s->s.out);
  return FRT_OK;
}
