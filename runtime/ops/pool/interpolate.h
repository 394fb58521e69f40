// interpolate.h -- where an interpolated pixel looks along one side, and with which weights.
#pragma once
#include "ops/pool/pool.h"

enum { FRT_RESIZE_MODE, FRT_RESIZE_H, FRT_RESIZE_W, FRT_RESIZE_ATTRS };
enum { FRT_NEAREST, FRT_BILINEAR, FRT_BICUBIC };
// clang-format off
#define FRT_RESIZE_ATTR_ROWS(of)                                                                   \
  {"mode", 1, FRT_BILINEAR, FRT_NEAREST, FRT_BICUBIC, "0 nearest, 1 bilinear, 2 bicubic"},         \
  FRT_ADAPTIVE_ATTR_ROWS(of)
// clang-format on

typedef struct frt_taps {
  int32_t n;
  int64_t at[4];
  double weight[4];
} frt_taps;

// Keys' cubic, a = -0.75, at a distance of d pixels.
static inline double frt__cubic(double d)
{
  double a = -0.75, x = fabs(d);
  return x <= 1  ? ((a + 2) * x - (a + 3)) * x * x + 1
         : x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
                 : 0;
}

// Pixel i of `to` made from `from` pixels; centres at i + 1/2 (align_corners = false), no
// antialiasing.
static inline frt_taps frt__taps(int32_t mode, int64_t from, int64_t to, int64_t i)
{
  frt_taps t = {.n = 1, .at = {i * from / to}, .weight = {1}};
  double src = ((double)i + 0.5) * (double)from / (double)to - 0.5;
  if (mode == FRT_BILINEAR) {
    src = fmax(src, 0);
    t.n = 2;
    t.at[0] = FRT_MIN((int64_t)src, from - 1);
    t.at[1] = FRT_MIN(t.at[0] + 1, from - 1);
    t.weight[1] = src - (double)t.at[0];
    t.weight[0] = 1 - t.weight[1];
  } else if (mode == FRT_BICUBIC) {
    int64_t first = (int64_t)floor(src) - 1;
    t.n = 4;
    for (int32_t k = 0; k < 4; k++) {
      t.at[k] = FRT_MAX(FRT_MIN(first + k, from - 1), 0);
      t.weight[k] = frt__cubic(src - (double)(first + k));
    }
  }
  return t;
}

static inline frt_status frt__infer_resize(const char *op, const char *what, const frt_infer *c)
{
  return frt__infer_plane(op, what, c, c->attr[FRT_RESIZE_H], c->attr[FRT_RESIZE_W]);
}
