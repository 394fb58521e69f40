// interpolate.c -- maps at another height and width (nearest, bilinear, bicubic), and the gradient;
// NHWC.
#include "ops/pool/interpolate.h"
#include "cpu/pool/planes.h"

// Maps at another height and width (nearest, bilinear, bicubic), NHWC.
static frt_status run_interpolate(const frt_step *s, void *const *in, void *const *out,
                                  void *scratch)
{
  (void)scratch;
  const frt_shape *xs = &s->in[0]->shape, *ys = &s->out[0]->shape;
  const int32_t mode = (int32_t)s->attr[FRT_RESIZE_MODE];
  const int64_t c = xs->dim[1], h = xs->dim[2], w = xs->dim[3], oh = ys->dim[2], ow = ys->dim[3];
#pragma omp parallel for schedule(static) if (frt__numel(ys) >= FRT_SMALL_MAP)
  for (int64_t i = 0; i < xs->dim[0] * oh; i++) {
    const float *map = (const float *)in[0] + i / oh * h * w * c;
    const frt_taps ty = frt__taps(mode, h, oh, i % oh);
    for (int64_t ox = 0; ox < ow; ox++) {
      const frt_taps tx = frt__taps(mode, w, ow, ox);
      float *y = (float *)out[0] + (i * ow + ox) * c;
      memset(y, 0, sizeof *y * (size_t)c);
      for (int32_t t = 0; t < ty.n * tx.n; t++) {
        const int32_t a = t / tx.n, b = t % tx.n;
        const float weight = (float)(ty.weight[a] * tx.weight[b]);
        const float *x = map + (ty.at[a] * w + tx.at[b]) * c;
        for (int64_t k = 0; k < c; k++) {
          y[k] += weight * x[k];
        }
      }
    }
  }
  return FRT_OK;
}

FRT_KERNEL(interpolate) = {
  .name = "own",
  .channels_last = true,
  .can = frt__planes_can,
  .run = run_interpolate,
};

// Gradient of resizing, NHWC: every output pixel's share to what it was made of.
static frt_status run_interpolate_grad(const frt_step *s, void *const *in, void *const *out,
                                       void *scratch)
{
  (void)scratch;
  const frt_shape *ys = &s->in[0]->shape, *xs = &s->out[0]->shape;
  const int32_t mode = (int32_t)s->attr[FRT_RESIZE_MODE];
  const int64_t h = xs->dim[2], w = xs->dim[3], oh = ys->dim[2], ow = ys->dim[3];
#pragma omp parallel for schedule(static) if (frt__numel(ys) >= FRT_SMALL_MAP)
  for (int64_t i = 0; i < frt__blocks(xs); i++) {
    const frt_block b = frt__block_at(xs, i);
    const float *dy = (const float *)in[0] + frt__block_start(&b, oh * ow);
    float *dx = (float *)out[0] + frt__block_start(&b, h * w);
    frt__block_clear(dx, &b, h * w);
    for (int64_t o = 0; o < oh * ow; o++, dy += b.step) {
      const frt_taps ty = frt__taps(mode, h, oh, o / ow), tx = frt__taps(mode, w, ow, o % ow);
      for (int32_t t = 0; t < ty.n * tx.n; t++) {
        const float weight = (float)(ty.weight[t / tx.n] * tx.weight[t % tx.n]);
        float *x = dx + (ty.at[t / tx.n] * w + tx.at[t % tx.n]) * b.step;
        for (int64_t k = 0; k < b.n; k++) {
          x[k] += weight * dy[k];
        }
      }
    }
  }
  return FRT_OK;
}

FRT_KERNEL(interpolate_grad) = {
  .name = "own",
  .channels_last = true,
  .can = frt__planes_can,
  .run = run_interpolate_grad,
};
