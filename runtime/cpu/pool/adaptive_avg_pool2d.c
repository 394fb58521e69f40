// adaptive_avg_pool2d.c -- means of as many windows as asked for, NHWC; one window is a plain mean.
#include "cpu/kernels.h"
#include "cpu/pool/planes.h"

static bool can(const frt_step *s)
{
  const frt_shape *y = &s->out[0]->shape;
  return frt__planes_can(s) && (!frt__bf16(s->in[0]) || (y->dim[2] == 1 && y->dim[3] == 1));
}

static frt_status plan(frt_step *s)
{
  const frt_shape *x = &s->in[0]->shape, *y = &s->out[0]->shape;
  if (y->dim[2] == 1 && y->dim[3] == 1) {
    s->scratch = frt__kernels()->reduce_rows_scratch(x->dim[0], x->dim[2] * x->dim[3], x->dim[1]);
  }
  return FRT_OK;
}

static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
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
  .can = can,
  .plan = plan,
  .run = run,
  .bf16_in = 1,
};
