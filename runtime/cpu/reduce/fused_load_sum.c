// fused_load_sum.c -- sum or mean over a map that is computed as it is read, or over its product
// with another: squeeze-and-excitation's pooling, and the gradient of its gate.
#include "cpu/reduce/reduce.h"

static bool can(const frt_step *s)
{
  for (int32_t i = 0; i < s->n_in; i++) {
    if (s->in[i] && s->in[i]->shape.dtype != FRT_F32) {
      return false;
    }
  }
  return s->in[0]->shape.ndim == 4 && frt__numel(&s->in[0]->shape) > 0 &&
         (!s->in[1] || frt__shape_equal(&s->in[0]->shape, &s->in[1]->shape)) &&
         frt__reduce_is_rows(s);
}

static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  frt__reduce_loaded(s, in, out[0], scratch);
  return FRT_OK;
}

FRT_KERNEL(fused_load_sum) = {
  .name = "own",
  .channels_last = true,
  .can = can,
  .plan = frt__reduce_plan,
  .run = run,
  .bf16_in = 3,
};
