// batch_norm_grad.c -- gradient of batch norm with the batch's statistics, NHWC.
#include "cpu/norm/bn.h"

static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  frt_bn g = frt__bn_sizes(s, FRT_ACT_NONE);
  frt__kernels()->bn_grad(&g, in[0], in[1], in[2], NULL, in[3], in[4], out[0], out[1], out[2],
                          scratch);
  return FRT_OK;
}

FRT_KERNEL(batch_norm_grad) = {
  .name = "own",
  .channels_last = true,
  .can = frt__bn_can,
  .plan = frt__bn_plan,
  .run = run,
  .bf16_in = 3,
  .bf16_out = 1,
};
