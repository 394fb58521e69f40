// winograd.h -- what the Winograd kernels share: F(4x4, 3x3) with the points 0, +-a, +-b and
// infinity. Maps are cut into tiles of 4 x 4 outputs that read 6 x 6 inputs; in the domain of the
// points a convolution is 36 products.
#pragma once
#include "cpu/kernels/load.h"
#include "cpu/kernels/tile.h"

// a, b and their powers: small numerators of powers of two, so that the transforms of what is read
// are nearly exact.
#define WINO_A 0.625f
#define WINO_B 1.5f
#define WINO_A2 0.390625f
#define WINO_B2 2.25f
#define WINO_A3 0.244140625f
#define WINO_B3 3.375f
#define WINO_SUM 2.640625f       // a^2 + b^2
#define WINO_PRODUCT 0.87890625f // a^2 b^2

enum { WINO = 6, WINO_OUT = 4, WINO_POINTS = WINO * WINO };

// Six numbers of what is read, in the domain (B^T).
FRT_INLINE void wino_read(const vf *d, vf *v)
{
  vf p = v_fma(v_set(-WINO_B2), d[2], d[4]), q = WINO_A * v_fma(v_set(-WINO_B2), d[1], d[3]);
  vf r = v_fma(v_set(-WINO_A2), d[2], d[4]), s = WINO_B * v_fma(v_set(-WINO_A2), d[1], d[3]);
  v[0] = v_fma(v_set(WINO_PRODUCT), d[0], v_fma(v_set(-WINO_SUM), d[2], d[4]));
  v[1] = p + q;
  v[2] = p - q;
  v[3] = r + s;
  v[4] = r - s;
  v[5] = v_fma(v_set(WINO_PRODUCT), d[1], v_fma(v_set(-WINO_SUM), d[3], d[5]));
}
// Back to four outputs (A^T).
FRT_INLINE void wino_make(const vf *m, vf *y)
{
  vf p = m[1] + m[2], q = m[1] - m[2], r = m[3] + m[4], s = m[3] - m[4];
  y[0] = m[0] + p + r;
  y[1] = v_fma(v_set(WINO_A), q, WINO_B * s);
  y[2] = v_fma(v_set(WINO_A2), p, WINO_B2 * r);
  y[3] = v_fma(v_set(WINO_A3), q, v_fma(v_set(WINO_B3), s, m[5]));
}
// Four numbers of a gradient by the outputs, in the domain (A).
FRT_INLINE void wino_read_dy(const vf *d, vf *v)
{
  vf p = v_fma(v_set(WINO_A2), d[2], d[0]), q = v_fma(v_set(WINO_A3), d[3], WINO_A * d[1]);
  vf r = v_fma(v_set(WINO_B2), d[2], d[0]), s = v_fma(v_set(WINO_B3), d[3], WINO_B * d[1]);
  v[0] = d[0];
  v[1] = p + q;
  v[2] = p - q;
  v[3] = r + s;
  v[4] = r - s;
  v[5] = d[3];
}
// Three numbers of a filter, in the domain (G), and back (G^T).
#define WINO_NA (1 / (2 * WINO_A2 * (WINO_A2 - WINO_B2)))
#define WINO_NB (1 / (2 * WINO_B2 * (WINO_B2 - WINO_A2)))
FRT_INLINE void wino_filter(const vf *g, vf *u)
{
  vf p = WINO_NA * v_fma(v_set(WINO_A2), g[2], g[0]), q = (WINO_NA * WINO_A) * g[1];
  vf r = WINO_NB * v_fma(v_set(WINO_B2), g[2], g[0]), s = (WINO_NB * WINO_B) * g[1];
  u[0] = (1 / WINO_PRODUCT) * g[0];
  u[1] = p + q;
  u[2] = p - q;
  u[3] = r + s;
  u[4] = r - s;
  u[5] = g[2];
}
FRT_INLINE void wino_filter_grad(const vf *u, vf *g)
{
  vf p = WINO_NA * (u[1] + u[2]), q = (WINO_NA * WINO_A) * (u[1] - u[2]);
  vf r = WINO_NB * (u[3] + u[4]), s = (WINO_NB * WINO_B) * (u[3] - u[4]);
  g[0] = v_fma(v_set(1 / WINO_PRODUCT), u[0], p + r);
  g[1] = q + s;
  g[2] = v_fma(v_set(WINO_A2), p, v_fma(v_set(WINO_B2), r, u[5]));
}

// The tiles of a map of oh x ow outputs.
typedef struct wino_map {
  int64_t rows, cols, count; // of n photos
} wino_map;

FRT_INLINE wino_map wino_tiles(int64_t n, int64_t oh, int64_t ow)
{
  const int64_t rows = (oh + WINO_OUT - 1) / WINO_OUT, cols = (ow + WINO_OUT - 1) / WINO_OUT;
  return (wino_map){rows, cols, n * rows * cols};
}

// Where the 6 x 6 numbers of tile `at` lie in x [n, h, w, c]; NULL: in the padding.
FRT_INLINE void wino_window(const frt_winograd *g, const wino_map *m, const float *x, int64_t at,
                            const float **from)
{
  const int64_t n = at / (m->rows * m->cols);
  const int64_t top = at / m->cols % m->rows * WINO_OUT - g->top;
  const int64_t left = at % m->cols * WINO_OUT - g->left;
  for (int64_t i = 0; i < WINO; i++) {
    for (int64_t j = 0; j < WINO; j++) {
      const int64_t r = top + i, q = left + j;
      const bool in = r >= 0 && r < g->h && q >= 0 && q < g->w;
      from[i * WINO + j] = in ? x + ((n * g->h + r) * g->w + q) * g->c : NULL;
    }
  }
}

// Tiles [first, first + tiles) of x, computed as `load` says, in the domain: v[point][tile][c], a
// point `step` floats after the other, rows of tile_padded(c) floats.
void FRT_K(winograd_read)(const frt_winograd *g, const frt_load *load, const float *x,
                          int64_t first, int64_t tiles, float *v, int64_t step);
