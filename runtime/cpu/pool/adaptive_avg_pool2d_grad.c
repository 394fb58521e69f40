// adaptive_avg_pool2d_grad.c -- gradient of adaptive means, NHWC.
#include "cpu/pool/planes.h"

static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
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
  .run = run,
};
