// fused_conv2d.c -- convolution of a map that is computed as it is read, with its result's batch
// statistics: what stands between two convolutions of a network in training is not stored.
#include "cpu/conv.h"

static bool can(const frt_step *s)
{
  return frt__conv_can_fuse(s, FRT_DN_CONV);
}

static frt_status plan(frt_step *s)
{
  return frt__conv_plan(s, FRT_DN_CONV);
}

FRT_KERNEL(fused_conv2d) = {
  .name = "onednn",
  .channels_last = true,
  .plain_in = 6, // weights and bias
  .can = can,
  .plan = plan,
  .ready = frt__conv_ready,
  .run = frt__conv_run,
  .free = frt__conv_free,
};
