// ema_step.c -- moving averages of all parameters and statistics in one pass.
#include "cpu/optim/update_step.h"

static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  (void)scratch;
  double decay = frt__update_scalar(s, in, 0);
  frt_ema a = {
    .t = frt__update_tensors(s, in, out),
    .from_x = decay <= 0.5,
    .share = (float)(decay > 0.5 ? 1 - decay : decay),
  };
  frt__kernels()->ema(&a);
  return FRT_OK;
}

FRT_KERNEL(ema_step) = {
  .name = "own",
  .can = frt__update_can,
  .ready = frt__update_ready,
  .run = run,
  .free = frt__update_free,
};
