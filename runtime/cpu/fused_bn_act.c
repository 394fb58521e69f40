// fused_bn_act.c -- batch norm with the batch's statistics and an activation in one pass, NHWC.
#include "cpu/bn.h"

static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  return frt__bn_train(s, (int32_t)s->attr[2], in, out, scratch);
}

FRT_KERNEL(fused_bn_act) = {
  .name = "own",
  .channels_last = true,
  .can = frt__bn_can,
  .plan = frt__bn_plan,
  .run = run,
};
