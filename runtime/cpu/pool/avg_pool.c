// avg_pool.c -- means of windows, of a fixed size or as many as asked for, and their gradients;
// NHWC.
#include "cpu/kernels.h"
#include "cpu/pool/planes.h"

// Means of windows, NHWC.
static frt_status run_avg_pool2d(const frt_step *s, void *const *in, void *const *out,
                                 void *scratch)
{
  (void)scratch;
  const frt_shape *xs = &s->in[0]->shape, *ys = &s->out[0]->shape;
  const int64_t c = xs->dim[1], oh = ys->dim[2], ow = ys->dim[3];
  const bool count_pad = s->attr[FRT_POOL_COUNT_PAD] != 0;
  const float *x = in[0];
  float *y = out[0];
  frt_pool v;
  FRT_TRY(frt__pool_init(&v, "avg_pool2d", xs, s->attr));
#pragma omp parallel for schedule(static) if (frt__numel(xs) >= FRT_SMALL_MAP)
  for (int64_t i = 0; i < xs->dim[0] * oh; i++) {
    for (int64_t ox = 0; ox < ow; ox++) {
      frt__mean_at(x + i / oh * v.h * v.w * c, v.w, c, frt__pool_window(&v, i % oh, ox, count_pad),
                   y + (i * ow + ox) * c);
    }
  }
  return FRT_OK;
}

FRT_KERNEL(avg_pool2d) = {
  .name = "own",
  .channels_last = true,
  .can = frt__planes_can,
  .run = run_avg_pool2d,
};

// Gradient of means of windows, NHWC.
static frt_status run_avg_pool2d_grad(const frt_step *s, void *const *in, void *const *out,
                                      void *scratch)
{
  (void)scratch;
  const frt_shape *ys = &s->in[0]->shape, *xs = &s->out[0]->shape;
  const int64_t oh = ys->dim[2], ow = ys->dim[3];
  const bool count_pad = s->attr[FRT_POOL_COUNT_PAD] != 0;
  frt_pool v;
  FRT_TRY(frt__pool_init(&v, "avg_pool2d_grad", xs, s->attr));
#pragma omp parallel for schedule(static) if (frt__numel(xs) >= FRT_SMALL_MAP)
  for (int64_t i = 0; i < frt__blocks(xs); i++) {
    const frt_block b = frt__block_at(xs, i);
    const float *dy = (const float *)in[0] + frt__block_start(&b, oh * ow);
    float *dx = (float *)out[0] + frt__block_start(&b, v.h * v.w);
    frt__block_clear(dx, &b, v.h * v.w);
    for (int64_t o = 0; o < oh * ow; o++) {
      frt__share_at(dx, v.w, &b, frt__pool_window(&v, o / ow, o % ow, count_pad), dy + o * b.step);
    }
  }
  return FRT_OK;
}

FRT_KERNEL(avg_pool2d_grad) = {
  .name = "own",
  .channels_last = true,
  .can = frt__planes_can,
  .run = run_avg_pool2d_grad,
};

// Means of as many windows as asked for, NHWC; one window is a plain mean.
static bool can_adaptive_avg_pool2d(const frt_step *s)
{
  const frt_shape *y = &s->out[0]->shape;
  return frt__planes_can(s) && (!frt__bf16(s->in[0]) || (y->dim[2] == 1 && y->dim[3] == 1));
}

static frt_status plan_adaptive_avg_pool2d(frt_step *s)
{
  const frt_shape *x = &s->in[0]->shape, *y = &s->out[0]->shape;
  if (y->dim[2] == 1 && y->dim[3] == 1) {
    s->scratch = frt__kernels()->reduce_rows_scratch(x->dim[0], x->dim[2] * x->dim[3], x->dim[1]);
  }
  return FRT_OK;
}

static frt_status run_adaptive_avg_pool2d(const frt_step *s, void *const *in, void *const *out,
                                          void *scratch)
{
  const frt_shape *xs = &s->in[0]->shape, *ys = &s->out[0]->shape;
  const int64_t c = xs->dim[1], pixels = xs->dim[2] * xs->dim[3], oh = ys->dim[2], ow = ys->dim[3];
  const float *x = in[0];
  float *y = out[0];
  if (oh == 1 && ow == 1) {
    frt__kernels()->reduce_rows(NULL, frt__bf16(s->in[0]), x, NULL, xs->dim[0], pixels, c,
                                (float)(1.0 / (double)pixels), y, scratch);
    return FRT_OK;
  }
#pragma omp parallel for schedule(static) if (frt__numel(xs) >= FRT_SMALL_MAP)
  for (int64_t i = 0; i < xs->dim[0] * oh; i++) {
    for (int64_t ox = 0; ox < ow; ox++) {
      frt__mean_at(x + i / oh * pixels * c, xs->dim[3], c,
                   frt__adaptive_window(xs, oh, ow, i % oh, ox), y + (i * ow + ox) * c);
    }
  }
  return FRT_OK;
}

FRT_KERNEL(adaptive_avg_pool2d) = {
  .name = "own",
  .channels_last = true,
  .can = can_adaptive_avg_pool2d,
  .plan = plan_adaptive_avg_pool2d,
  .run = run_adaptive_avg_pool2d,
  .bf16_in = 1,
};

// Gradient of adaptive means, NHWC.
static frt_status run_adaptive_avg_pool2d_grad(const frt_step *s, void *const *in, void *const *out,
                                               void *scratch)
{
  (void)scratch;
  const frt_shape *ys = &s->in[0]->shape, *xs = &s->out[0]->shape;
  const int64_t oh = ys->dim[2], ow = ys->dim[3], pixels = xs->dim[2] * xs->dim[3];
#pragma omp parallel for schedule(static) if (frt__numel(xs) >= FRT_SMALL_MAP)
  for (int64_t i = 0; i < frt__blocks(xs); i++) {
    const frt_block b = frt__block_at(xs, i);
    const float *dy = (const float *)in[0] + frt__block_start(&b, oh * ow);
    float *dx = (float *)out[0] + frt__block_start(&b, pixels);
    frt__block_clear(dx, &b, pixels);
    for (int64_t o = 0; o < oh * ow; o++) {
      frt__share_at(dx, xs->dim[3], &b, frt__adaptive_window(xs, oh, ow, o / ow, o % ow),
                    dy + o * b.step);
    }
  }
  return FRT_OK;
}

FRT_KERNEL(adaptive_avg_pool2d_grad) = {
  .name = "own",
  .channels_last = true,
  .can = frt__planes_can,
  .run = run_adaptive_avg_pool2d_grad,
};
