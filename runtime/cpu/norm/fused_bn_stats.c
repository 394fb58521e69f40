// fused_bn_stats.c -- the batch's statistics of a map, and the running ones moved: the first half
// of batch_norm_train.
#include "cpu/norm/bn.h"
#include "ops/norm/norm.h"

static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  frt_bn g = frt__bn_sizes(s, FRT_ACT_NONE);
  g.eps = (float)s->attr[FRT_BATCH_NORM_EPS];
  g.momentum = (float)s->attr[FRT_BATCH_NORM_MOMENTUM];
  frt__kernels()->bn_stats(&g, in[0], in[1], in[2], out[0], out[1], out[2], out[3], scratch);
  return FRT_OK;
}

FRT_KERNEL(fused_bn_stats) = {
  .name = "own",
  .channels_last = true,
  .can = frt__bn_can,
  .plan = frt__bn_plan,
  .run = run,
  .bf16_in = 1,
};
