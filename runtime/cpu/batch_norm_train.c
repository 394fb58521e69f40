// batch_norm_train.c -- batch norm with the batch's statistics, NHWC.
#include "cpu/bn.h"

static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  return frt__bn_train(s, FRT_ACT_NONE, in, out, scratch);
}

FRT_KERNEL(batch_norm_train) = {
  .name = "own",
  .channels_last = true,
  .can = frt__bn_can,
  .plan = frt__bn_plan,
  .run = run,
};
