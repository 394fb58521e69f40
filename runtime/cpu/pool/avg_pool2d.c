// avg_pool2d.c -- means of windows, NHWC.
#include "cpu/pool/planes.h"

static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
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
  .run = run,
};
