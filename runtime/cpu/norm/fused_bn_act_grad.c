// fused_bn_act_grad.c -- gradient of batch norm + activation: the activation's input is computed
// again.
#include "cpu/norm/bn.h"

static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  frt_bn g = frt__bn_sizes(s, (int32_t)s->attr[0]);
  frt__kernels()->bn_grad(&g, in[0], in[1], in[2], in[3], in[4], in[5], out[0], out[1], out[2],
                          scratch);
  return FRT_OK;
}

FRT_KERNEL(fused_bn_act_grad) = {
  .name = "own",
  .channels_last = true,
  .can = frt__bn_can,
  .plan = frt__bn_plan,
  .run = run,
  .bf16_in = 3,
  .bf16_out = 1,
};
