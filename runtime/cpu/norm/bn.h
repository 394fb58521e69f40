// bn.h -- what the batch norm kernels' glue shares: which steps the own kernels run, and their
// sizes.
#pragma once
#include "cpu/kernels.h"

// x [N, C, H, W] channels-last, or [N, C]; everything f32, maps perhaps stored as bf16.
static inline bool frt__bn_can(const frt_step *s)
{
  for (int32_t k = 0; k < s->n_in + s->n_out; k++) {
    const frt_value *v = k < s->n_in ? s->in[k] : s->out[k - s->n_in];
    if (v == NULL || v->shape.dtype != FRT_F32) {
      return false;
    }
  }
  const frt_value *x = s->in[0];
  return frt__numel(&x->shape) > 0 &&
         (x->shape.ndim == 2 || (x->shape.ndim == 4 && x->layout == FRT_CHANNELS_LAST));
}
static inline frt_bn frt__bn_sizes(const frt_step *s, int32_t act)
{
  const frt_shape *x = &s->in[0]->shape;
  return (frt_bn){
    .m = frt__numel(x) / x->dim[1], .c = x->dim[1], .act = act, .half = frt__bf16(s->in[0])};
}
static inline frt_status frt__bn_plan(frt_step *s)
{
  frt_bn g = frt__bn_sizes(s, FRT_ACT_NONE);
  s->scratch = frt__kernels()->bn_scratch(&g);
  return FRT_OK;
}
