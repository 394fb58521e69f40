// conv2d.c -- convolution, with bias and activation in its pass.
// Activations NHWC, weights plain; see conv.c for the ways to compute it.
#include "cpu/conv.h"

static bool can(const frt_step *s)
{
  return frt__conv_can(s, FRT_DN_CONV);
}

static frt_status plan(frt_step *s)
{
  return frt__conv_plan(s, FRT_DN_CONV);
}

FRT_KERNEL(conv2d) = {
  .name = "onednn",
  .channels_last = true,
  .plain_in = 6, // weights and bias
  .can = can,
  .plan = plan,
  .ready = frt__conv_ready,
  .run = frt__conv_run,
  .free = frt__conv_free,
};
