// max_pool2d_grad.c -- gradient of the largest number of each window, NHWC: to the first one in
// row-major order, found again from x.
#include "cpu/pool/max_pool.h"

enum { TAPS = 256 }; // of a window: their numbers are kept in a byte

static bool can(const frt_step *s)
{
  const double *kernel = s->attr + FRT_POOL_KERNEL;
  return s->in[0]->shape.dtype == FRT_F32 && frt__bf16(s->in[0]) == frt__bf16(s->in[1]) &&
         frt__bf16(s->in[0]) == frt__bf16(s->out[0]) && kernel[0] * kernel[1] <= TAPS;
}

static frt_status plan(frt_step *s)
{
  s->scratch = (size_t)frt__numel(&s->in[1]->shape);
  return FRT_OK;
}

static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  frt_max_pool g;
  FRT_TRY(frt__max_pool(s, "max_pool2d_grad", &g));
  frt__kernels()->max_pool_grad(&g, in[0], in[1], out[0], scratch);
  return FRT_OK;
}

FRT_KERNEL(max_pool2d_grad) = {
  .name = "own",
  .channels_last = true,
  .can = can,
  .plan = plan,
  .run = run,
  .bf16_in = 3,
  .bf16_out = 1,
};
