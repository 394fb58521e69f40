// flip.c -- dimensions reversed: one strided copy with negative steps.
#include "cpu/move/move.h"
#include "ops/shape/shape.h"

static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  (void)scratch;
  const frt_shape *y = &s->out[0]->shape;
  const size_t size = frt__item_bytes(s->out[0]);
  const uint32_t mask = (uint32_t)s->attr[FRT_FLIP_MASK];
  int64_t at = 0;
  frt_move m = {.ndim = y->ndim};
  frt__value_steps(s->in[0], m.from);
  frt__value_steps(s->out[0], m.to);
  memcpy(m.dim, y->dim, sizeof m.dim);
  for (int32_t i = 0; i < m.ndim; i++) {
    if (mask >> i & 1) {
      at += (m.dim[i] - 1) * m.from[i];
      m.from[i] = -m.from[i];
    }
  }
  frt__move(m, size, (const char *)in[0] + at * (int64_t)size, out[0]);
  return FRT_OK;
}

FRT_KERNEL(flip) = {.name = "own", .any_layout = true, .can = frt__can_move, .run = run};
