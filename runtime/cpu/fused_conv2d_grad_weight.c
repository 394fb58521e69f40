// fused_conv2d_grad_weight.c -- gradient of a convolution by its weights, its input computed again
// as it is read.
#include "cpu/conv.h"

static bool can(const frt_step *s)
{
  return frt__conv_can_fuse(s, FRT_DN_GRAD_WEIGHT);
}

static frt_status plan(frt_step *s)
{
  return frt__conv_plan(s, FRT_DN_GRAD_WEIGHT);
}

FRT_KERNEL(fused_conv2d_grad_weight) = {
  .name = "onednn",
  .channels_last = true,
  .plain_out = 1, // weights
  .can = can,
  .plan = plan,
  .ready = frt__conv_ready,
  .run = frt__conv_run,
  .free = frt__conv_free,
};
