// interpolate_grad.c -- gradient of resizing, NHWC: every output pixel's share to what it was made
// of.
#include "cpu/pool/planes.h"
#include "ops/pool/interpolate.h"

static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
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
  .run = run,
};
