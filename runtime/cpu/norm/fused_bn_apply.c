// fused_bn_apply.c -- y = act((x - mean) * rstd * w + b), or act(... + residual): the second half
// of batch_norm_train.
#include "cpu/norm/bn.h"

static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  frt_bn g = frt__bn_sizes(s, (int32_t)s->attr[0]);
  frt__kernels()->bn_apply(&g, in[0], in[1], in[2], in[3], in[4], s->n_in > 5 ? in[5] : NULL,
                           out[0], scratch);
  return FRT_OK;
}

FRT_KERNEL(fused_bn_apply) = {
  .name = "own",
  .channels_last = true,
  .in_place = true, // every vector is read before it is written
  .can = frt__bn_can,
  .plan = frt__bn_plan,
  .run = run,
  .bf16_in = 1 | 1 << 5,
  .bf16_out = 1,
};
