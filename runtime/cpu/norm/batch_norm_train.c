// batch_norm_train.c -- batch norm with the batch's statistics, NHWC.
#include "cpu/norm/bn.h"
#include "ops/norm/norm.h"

static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  const frt_kernels *k = frt__kernels();
  frt_bn g = frt__bn_sizes(s, FRT_ACT_NONE);
  g.eps = (float)s->attr[FRT_BATCH_NORM_EPS];
  g.momentum = (float)s->attr[FRT_BATCH_NORM_MOMENTUM];
  k->bn_stats(&g, in[0], in[3], in[4], out[1], out[2], out[3], out[4], scratch);
  k->bn_apply(&g, in[0], in[1], in[2], out[1], out[2], NULL, out[0], scratch);
  return FRT_OK;
}

FRT_KERNEL(batch_norm_train) = {
  .name = "own",
  .channels_last = true,
  .can = frt__bn_can,
  .plan = frt__bn_plan,
  .run = run,
};
