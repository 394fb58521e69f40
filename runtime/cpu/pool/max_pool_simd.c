// max_pool.c -- the largest number of each window of an NHWC map, and its gradient: the place of
// each window's first largest number is noted, then every pixel adds up the windows it won.
#include "cpu/vec.h"

typedef struct window {
  int64_t y0, y1, x0, x1, tap; // pixels inside the map; tap: number of the first in the window
} window;

static window window_of(const frt_max_pool *g, int64_t oy, int64_t ox)
{
  const int64_t y = oy * g->sh - g->top, x = ox * g->sw - g->left;
  window k = {FRT_MAX(y, (int64_t)0), FRT_MIN(y + g->kh, g->h), FRT_MAX(x, (int64_t)0),
              FRT_MIN(x + g->kw, g->w), 0};
  k.tap = (k.y0 - y) * g->kw + (k.x0 - x);
  return k;
}

// One vector of channels: the largest number; *at: its tap.
FRT_INLINE vf largest(const bool bf16, const frt_max_pool *g, window k, const void *map, int64_t c,
                      int64_t lanes, vi *at)
{
  vf top = v_some(bf16, map, (k.y0 * g->w + k.x0) * g->c + c, lanes);
  vi best = (vi)v_zero() + (int32_t)k.tap;
  for (int64_t y = k.y0; y < k.y1; y++) {
    int32_t tap = (int32_t)(k.tap + (y - k.y0) * g->kw);
    for (int64_t x = k.x0; x < k.x1; x++, tap++) {
      vf v = v_some(bf16, map, (y * g->w + x) * g->c + c, lanes);
      vi more = ~(v <= top) & (top == top); // of what is not a number too
      top = v_select(more, v, top);
      best = (best & ~more) | (((vi)v_zero() + tap) & more);
    }
  }
  *at = best;
  return top;
}

// --- forward ------------------------------------------------------------------------------------
FRT_INLINE void forward(const bool bf16, const frt_max_pool *g, const void *x, void *y)
{
  const int32_t threads = frt__team(g->n * g->h * g->w * g->c);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t i = 0; i < g->n * g->oh; i++) {
    const void *map = v_at(bf16, x, i / g->oh * g->h * g->w * g->c);
    for (int64_t ox = 0; ox < g->ow; ox++) {
      const window k = window_of(g, i % g->oh, ox);
      for (int64_t c = 0; c < g->c; c += FRT_VL) {
        vi at;
        vf top = largest(bf16, g, k, map, c, g->c - c, &at);
        v_put_some(bf16, y, (i * g->ow + ox) * g->c + c, top, g->c - c);
      }
    }
  }
}
// The largest number of each window, and the gradient, to the first of them (at most 256 pixels a
// window; scratch: a byte for each number of dy).
FRT_SIMD void FRT_K(max_pool)(const frt_max_pool *g, const void *x, void *y)
{
  FRT_BY_BF16(g->bf16, forward, g, x, y);
}

// --- taps in bytes ------------------------------------------------------------------------------
typedef uint8_t v_bytes __attribute__((vector_size(FRT_VL)));
FRT_INLINE vi get_taps(const uint8_t *from, int64_t lanes)
{
  uint8_t some[FRT_VL] = {0};
  v_bytes b;
  if (lanes >= FRT_VL) {
    memcpy(&b, from, sizeof b);
  } else {
    for (int64_t l = 0; l < lanes; l++) {
      some[l] = from[l];
    }
    memcpy(&b, some, sizeof b);
  }
  return __builtin_convertvector(b, vi);
}
FRT_INLINE void put_taps(uint8_t *to, vi taps, int64_t lanes)
{
  v_bytes b = __builtin_convertvector(taps, v_bytes);
  uint8_t some[FRT_VL];
  memcpy(some, &b, sizeof b);
  if (lanes >= FRT_VL) {
    memcpy(to, &b, sizeof b);
  } else {
    for (int64_t l = 0; l < lanes; l++) {
      to[l] = some[l];
    }
  }
}

// --- gradient -----------------------------------------------------------------------------------
FRT_INLINE
void find(const bool bf16, const frt_max_pool *g, const void *x, uint8_t *taps, int64_t row)
{
  const void *map = v_at(bf16, x, row / g->oh * g->h * g->w * g->c);
  for (int64_t ox = 0; ox < g->ow; ox++) {
    const window k = window_of(g, row % g->oh, ox);
    uint8_t *to = taps + (row * g->ow + ox) * g->c;
    for (int64_t c = 0; c < g->c; c += FRT_VL) {
      const int64_t lanes = FRT_MIN(FRT_VL, g->c - c);
      vi at;
      largest(bf16, g, k, map, c, lanes, &at);
      put_taps(to + c, at, lanes);
    }
  }
}
// Output pixels whose windows reach `at`: first .. last.
static void reaching(int64_t at, int64_t before, int64_t kernel, int64_t stride, int64_t n,
                     int64_t *first, int64_t *last)
{
  const int64_t from = at + before - kernel + 1;
  *first = from <= 0 ? 0 : (from + stride - 1) / stride;
  *last = FRT_MIN((at + before) / stride, n - 1);
}
FRT_INLINE void gather(const bool bf16, const frt_max_pool *g, const void *dy, const uint8_t *taps,
                       int64_t row, void *dx)
{
  const int64_t n = row / g->h, y = row % g->h;
  int64_t y0, y1, x0, x1;
  reaching(y, g->top, g->kh, g->sh, g->oh, &y0, &y1);
  for (int64_t x = 0; x < g->w; x++) {
    reaching(x, g->left, g->kw, g->sw, g->ow, &x0, &x1);
    for (int64_t c = 0; c < g->c; c += FRT_VL) {
      const int64_t lanes = FRT_MIN(FRT_VL, g->c - c);
      vf sum = v_zero();
      for (int64_t oy = y0; oy <= y1; oy++) {
        const int64_t down = (y - oy * g->sh + g->top) * g->kw;
        for (int64_t ox = x0; ox <= x1; ox++) {
          const int64_t at = ((n * g->oh + oy) * g->ow + ox) * g->c + c;
          const int32_t tap = (int32_t)(down + x - ox * g->sw + g->left);
          vi won = get_taps(taps + at, lanes) == tap;
          sum += v_select(won, v_some(bf16, dy, at, lanes), v_zero());
        }
      }
      v_put_some(bf16, dx, ((n * g->h + y) * g->w + x) * g->c + c, sum, lanes);
    }
  }
}
FRT_INLINE void backward(const bool bf16, const frt_max_pool *g, const void *x, const void *dy,
                         void *dx, uint8_t *taps)
{
  const int32_t threads = frt__team(g->n * g->h * g->w * g->c);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t i = 0; i < g->n * g->oh; i++) {
    find(bf16, g, x, taps, i);
  }
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t i = 0; i < g->n * g->h; i++) {
    gather(bf16, g, dy, taps, i, dx);
  }
}
FRT_SIMD void FRT_K(max_pool_grad)(const frt_max_pool *g, const void *x, const void *dy, void *dx,
                                   void *scratch)
{
  FRT_BY_BF16(g->bf16, backward, g, x, dy, dx, scratch);
}
