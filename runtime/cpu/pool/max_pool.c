// max_pool.c -- the largest number of each window, and its gradient; NHWC.
#include "cpu/kernels.h"
#include "ops/pool/pool.h"

// What max_pool2d and its gradient share.
static frt_status max_pool(const frt_step *s, const char *op, frt_max_pool *g)
{
  const frt_shape *x = &s->in[0]->shape;
  frt_pool v;
  FRT_TRY(frt__pool_init(&v, op, x, s->attr));
  *g = (frt_max_pool){.n = x->dim[0],
                      .c = x->dim[1],
                      .h = v.h,
                      .w = v.w,
                      .oh = v.oh,
                      .ow = v.ow,
                      .kh = v.kh,
                      .kw = v.kw,
                      .sh = v.sh,
                      .sw = v.sw,
                      .top = v.top,
                      .left = v.left,
                      .bf16 = frt__bf16(s->in[0])};
  return FRT_OK;
}

// The largest number of each window, NHWC; NaN when one is.
static bool can_max_pool2d(const frt_step *s)
{
  return s->in[0]->shape.dtype == FRT_F32 && frt__bf16(s->in[0]) == frt__bf16(s->out[0]);
}

static frt_status run_max_pool2d(const frt_step *s, void *const *in, void *const *out,
                                 void *scratch)
{
  frt_max_pool g;
  (void)scratch;
  FRT_TRY(max_pool(s, "max_pool2d", &g));
  frt__kernels()->max_pool(&g, in[0], out[0]);
  return FRT_OK;
}

FRT_KERNEL(max_pool2d) = {
  .name = "own",
  .channels_last = true,
  .can = can_max_pool2d,
  .run = run_max_pool2d,
  .bf16_in = 1,
  .bf16_out = 1,
};

// Gradient of the largest number of each window, NHWC: to the first one in row-major order, found
// again from x.
enum { TAPS = 256 }; // of a window: their numbers are kept in a byte

static bool can_max_pool2d_grad(const frt_step *s)
{
  const double *kernel = s->attr + FRT_POOL_KERNEL;
  return s->in[0]->shape.dtype == FRT_F32 && frt__bf16(s->in[0]) == frt__bf16(s->in[1]) &&
         frt__bf16(s->in[0]) == frt__bf16(s->out[0]) && kernel[0] * kernel[1] <= TAPS;
}

static frt_status plan_max_pool2d_grad(frt_step *s)
{
  s->scratch = (size_t)frt__numel(&s->in[1]->shape);
  return FRT_OK;
}

static frt_status run_max_pool2d_grad(const frt_step *s, void *const *in, void *const *out,
                                      void *scratch)
{
  frt_max_pool g;
  FRT_TRY(max_pool(s, "max_pool2d_grad", &g));
  frt__kernels()->max_pool_grad(&g, in[0], in[1], out[0], scratch);
  return FRT_OK;
}

FRT_KERNEL(max_pool2d_grad) = {
  .name = "own",
  .channels_last = true,
  .can = can_max_pool2d_grad,
  .plan = plan_max_pool2d_grad,
  .run = run_max_pool2d_grad,
  .bf16_in = 3,
  .bf16_out = 1,
};
