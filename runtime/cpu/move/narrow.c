// narrow.c -- a range of one dimension: one strided copy.
#include "cpu/move/move.h"
#include "ops/shape/shape.h"

static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  (void)scratch;
  const frt_shape *y = &s->out[0]->shape;
  const size_t size = frt__item_bytes(s->out[0]);
  const int32_t dim = (int32_t)s->attr[FRT_NARROW_DIM];
  frt_move m = {.ndim = y->ndim};
  frt__value_steps(s->in[0], m.from);
  frt__value_steps(s->out[0], m.to);
  memcpy(m.dim, y->dim, sizeof m.dim);
  frt__move(m, size,
            (const char *)in[0] + (int64_t)s->attr[FRT_NARROW_START] * m.from[dim] * (int64_t)size,
            out[0]);
  return FRT_OK;
}

FRT_KERNEL(narrow) = {
  .name = "own", .any_layout = true, .can = frt__can_move, .run = run, .bf16_in = 1, .bf16_out = 1};
