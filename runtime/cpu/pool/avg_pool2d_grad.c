// avg_pool2d_grad.c -- gradient of means of windows, NHWC.
#include "cpu/pool/planes.h"

static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
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
  .run = run,
};
