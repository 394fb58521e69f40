// max_pool2d_grad.c -- gradient of the largest number of each window, NHWC: to the first one in
// row-major order, found again from x.
#include "cpu/planes.h"

// Where a pixel beats what was the largest so far, for n channels.
static void take_pixel(const float *restrict x, int64_t n, int32_t pixel, float *restrict top,
                       int32_t *restrict at)
{
#pragma omp simd
  for (int64_t i = 0; i < n; i++) {
    const float v = x[i], t = top[i];
    const int32_t more = (v > t) | ((v != v) & (t == t));
    top[i] = more ? v : t;
    at[i] = more ? pixel : at[i];
  }
}

static void first_largest(const float *map, int64_t width, const frt_block *b, frt_window k,
                          int32_t *at)
{
  float top[FRT_CHANNELS];
  const int32_t start = (int32_t)(k.y0 * width + k.x0);
  for (int64_t i = 0; i < b->n; i++) {
    top[i] = map[start * b->step + i];
    at[i] = start;
  }
  for (int64_t py = k.y0; py < k.y1; py++) {
    for (int64_t px = k.x0; px < k.x1; px++) {
      const int32_t pixel = (int32_t)(py * width + px);
      take_pixel(map + pixel * b->step, b->n, pixel, top, at);
    }
  }
}

static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  (void)scratch;
  const frt_shape *xs = &s->in[0]->shape, *ys = &s->in[1]->shape;
  const int64_t oh = ys->dim[2], ow = ys->dim[3];
  frt_pool v;
  FRT_TRY(frt__pool_init(&v, "max_pool2d_grad", xs, s->attr));
#pragma omp parallel for schedule(static) if (frt__numel(xs) >= FRT_SMALL_MAP)
  for (int64_t i = 0; i < frt__blocks(xs); i++) {
    int32_t at[FRT_CHANNELS];
    const frt_block b = frt__block_at(xs, i);
    const float *x = (const float *)in[0] + frt__block_start(&b, v.h * v.w);
    const float *dy = (const float *)in[1] + frt__block_start(&b, oh * ow);
    float *dx = (float *)out[0] + frt__block_start(&b, v.h * v.w);
    frt__block_clear(dx, &b, v.h * v.w);
    for (int64_t o = 0; o < oh * ow; o++) {
      first_largest(x, v.w, &b, frt__pool_window(&v, o / ow, o % ow, false), at);
      for (int64_t c = 0; c < b.n; c++) {
        dx[at[c] * b.step + c] += dy[o * b.step + c];
      }
    }
  }
  return FRT_OK;
}

FRT_KERNEL(max_pool2d_grad) = {
  .name = "own",
  .channels_last = true,
  .can = frt__planes_can,
  .run = run,
};
