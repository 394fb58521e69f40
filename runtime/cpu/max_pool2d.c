// max_pool2d.c -- the largest number of each window, NHWC; NaN when one is.
#include "cpu/planes.h"

static void largest_at(const float *map, int64_t width, int64_t c, frt_window k, float *y)
{
  memcpy(y, map + (k.y0 * width + k.x0) * c, sizeof *y * (size_t)c);
  for (int64_t py = k.y0; py < k.y1; py++) {
    for (int64_t px = k.x0; px < k.x1; px++) {
      const float *x = map + (py * width + px) * c;
      for (int64_t i = 0; i < c; i++) {
        y[i] = x[i] > y[i] || x[i] != x[i] ? x[i] : y[i];
      }
    }
  }
}

static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  (void)scratch;
  const frt_shape *xs = &s->in[0]->shape, *ys = &s->out[0]->shape;
  const int64_t c = xs->dim[1], oh = ys->dim[2], ow = ys->dim[3];
  const float *x = in[0];
  float *y = out[0];
  frt_pool v;
  FRT_TRY(frt__pool_init(&v, "max_pool2d", xs, s->attr));
#pragma omp parallel for schedule(static) if (frt__numel(xs) >= FRT_SMALL_MAP)
  for (int64_t i = 0; i < xs->dim[0] * oh; i++) {
    for (int64_t ox = 0; ox < ow; ox++) {
      largest_at(x + i / oh * v.h * v.w * c, v.w, c, frt__pool_window(&v, i % oh, ox, false),
                 y + (i * ow + ox) * c);
    }
  }
  return FRT_OK;
}

FRT_KERNEL(max_pool2d) = {
  .name = "own",
  .channels_last = true,
  .can = frt__planes_can,
  .run = run,
};
