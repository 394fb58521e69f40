// cat.c -- tensors side by side along one dimension: one strided copy each.
#include "cpu/move/move.h"
#include "ops/shape/shape.h"

static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  (void)scratch;
  const frt_shape *y = &s->out[0]->shape;
  const size_t size = frt__item_bytes(s->out[0]);
  const int32_t dim = (int32_t)s->attr[FRT_CAT_DIM];
  char *at = out[0];
  for (int32_t k = 0; k < s->n_in; k++) {
    frt_move m = {.ndim = y->ndim};
    frt__value_steps(s->in[k], m.from);
    frt__value_steps(s->out[0], m.to);
    memcpy(m.dim, s->in[k]->shape.dim, sizeof m.dim);
    frt__move(m, size, in[k], at);
    at += m.dim[dim] * m.to[dim] * (int64_t)size;
  }
  return FRT_OK;
}

FRT_KERNEL(cat) = {.name = "own",
                   .any_layout = true,
                   .can = frt__can_move,
                   .run = run,
                   .bf16_in = ~0u,
                   .bf16_out = 1};
