// permute.c -- dimensions in another order: one strided copy.
#include "cpu/move/move.h"
#include "ops/shape/shape.h"

static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  (void)scratch;
  int64_t from[FRT_MAX_DIM];
  frt_move m = {.ndim = s->out[0]->shape.ndim};
  frt__value_steps(s->in[0], from);
  frt__value_steps(s->out[0], m.to);
  for (int32_t i = 0; i < m.ndim; i++) {
    m.dim[i] = s->out[0]->shape.dim[i];
    m.from[i] = from[(int32_t)s->attr[FRT_PERMUTE_ORDER + i]];
  }
  frt__move(m, frt__item_bytes(s->out[0]), in[0], out[0]);
  return FRT_OK;
}

FRT_KERNEL(permute) = {
  .name = "own", .can = frt__can_move, .run = run, .bf16_in = 1, .bf16_out = 1};
