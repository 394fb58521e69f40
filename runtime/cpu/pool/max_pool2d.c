// max_pool2d.c -- the largest number of each window, NHWC; NaN when one is.
#include "cpu/pool/max_pool.h"

static bool can(const frt_step *s)
{
  return s->in[0]->shape.dtype == FRT_F32 && s->in[0]->half == s->out[0]->half;
}

static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  frt_max_pool g;
  (void)scratch;
  FRT_TRY(frt__max_pool(s, "max_pool2d", &g));
  frt__kernels()->max_pool(&g, in[0], out[0]);
  return FRT_OK;
}

FRT_KERNEL(max_pool2d) = {
  .name = "own",
  .channels_last = true,
  .can = can,
  .run = run,
  .half_in = 1,
  .half_out = 1,
};
