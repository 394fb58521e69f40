// conv2d_grad_input.c -- gradient of a convolution by its input.
// Activations NHWC, weights plain; see conv.c for the ways to compute it.
#include "cpu/conv.h"

static bool can(const frt_step *s)
{
  return frt__conv_can(s, FRT_DN_GRAD_INPUT);
}

static frt_status plan(frt_step *s)
{
  return frt__conv_plan(s, FRT_DN_GRAD_INPUT);
}

FRT_KERNEL(conv2d_grad_input) = {
  .name = "onednn",
  .channels_last = true,
  .plain_in = 2, // weights
  .can = can,
  .plan = plan,
  .ready = frt__conv_ready,
  .run = frt__conv_run,
  .free = frt__conv_free,
};
