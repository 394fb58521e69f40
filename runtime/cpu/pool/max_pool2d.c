// max_pool2d.c -- the largest number of each window, NHWC; NaN when one is.
#include "cpu/pool/max_pool.h"

static bool can(const frt_step *s)
{
  return s->in[0]->shape.dtype == FRT_F32 && frt__bf16(s->in[0]) == frt__bf16(s->out[0]);
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
  .bf16_in = 1,
  .bf16_out = 1,
};
