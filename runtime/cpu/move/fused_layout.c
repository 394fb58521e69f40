// fused_layout.c -- a 4-D value from plain to channels-last or back.
#include "cpu/move/move.h"

static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  (void)scratch;
  frt_move m = {.ndim = s->out[0]->shape.ndim};
  memcpy(m.dim, s->out[0]->shape.dim, sizeof m.dim);
  frt__value_steps(s->in[0], m.from);
  frt__value_steps(s->out[0], m.to);
  frt__move(m, frt__item_bytes(s->out[0]), in[0], out[0]);
  return FRT_OK;
}

FRT_KERNEL(fused_layout) = {
  .name = "own", .any_layout = true, .can = frt__can_move, .run = run, .bf16_in = 1, .bf16_out = 1};
