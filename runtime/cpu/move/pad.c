// pad.c -- a border of one value around a tensor.
#include "cpu/kernels.h"
#include "cpu/move/move.h"
#include "ops/shape/shape.h"

static bool can(const frt_step *s)
{
  return s->out[0]->shape.dtype == FRT_F32 && frt__can_move(s);
}

static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  (void)scratch;
  const frt_shape *x = &s->in[0]->shape, *y = &s->out[0]->shape;
  const float value = (float)s->attr[FRT_PAD_VALUE];
  int64_t at = 0;
  frt_move m = {.ndim = y->ndim};
  frt__value_steps(s->in[0], m.from);
  frt__value_steps(s->out[0], m.to);
  for (int32_t i = 0; i < m.ndim; i++) {
    const int64_t before = (int64_t)s->attr[FRT_PAD_BEFORE + i];
    m.dim[i] = x->dim[i];
    at += before * m.to[i];
  }
  const size_t size = frt__item_bytes(s->out[0]);
  uint16_t half = 0;
  if (frt__bf16(s->out[0])) {
    frt__kernels()->to_half(&value, 1, &half);
  }
  frt__fill(size, frt__numel(y), frt__bf16(s->out[0]) ? (const void *)&half : &value, out[0]);
  frt__move(m, size, in[0], (char *)out[0] + at * (int64_t)size);
  return FRT_OK;
}

FRT_KERNEL(pad) = {
  .name = "own", .any_layout = true, .can = can, .run = run, .bf16_in = 1, .bf16_out = 1};
