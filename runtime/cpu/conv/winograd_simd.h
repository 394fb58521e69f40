// winograd.h -- what the Winograd kernels share: F(4x4, 3x3) with the points 0, +-a, +-b and
// infinity on maps of f32, F(2x2, 3x3) with 0, +-1 and infinity on maps stored as bf16, where
// products take numbers of 8 bits that larger points would wear out. Maps are cut into tiles of
// 4 x 4 (2 x 2) outputs that read 6 x 6 (4 x 4) inputs; in the domain of the points a convolution
// is 36 (16) products.
#pragma once
#include "cpu/conv/bf16_simd.h"
#include "cpu/conv/tile_simd.h"
#include "cpu/norm/load_simd.h"

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

// Inputs along a side of a tile at most; outputs.
enum { WINO = 6, WINO_OUT = 4 };
FRT_INLINE int wino_side(const bool bf16)
{
  return bf16 ? 4 : 6;
}
FRT_INLINE int wino_out(const bool bf16)
{
  return bf16 ? 2 : 4;
}
FRT_INLINE int wino_points(const bool bf16)
{
  return bf16 ? 16 : 36;
}

// What is read, in the domain (B^T).
FRT_INLINE void wino_read(const bool bf16, const vf *d, vf *v)
{
  if (bf16) {
    v[0] = d[0] - d[2];
    v[1] = d[1] + d[2];
    v[2] = d[2] - d[1];
    v[3] = d[1] - d[3];
    return;
  }
  vf p = v_fma(v_set(-WINO_B2), d[2], d[4]), q = WINO_A * v_fma(v_set(-WINO_B2), d[1], d[3]);
  vf r = v_fma(v_set(-WINO_A2), d[2], d[4]), s = WINO_B * v_fma(v_set(-WINO_A2), d[1], d[3]);
  v[0] = v_fma(v_set(WINO_PRODUCT), d[0], v_fma(v_set(-WINO_SUM), d[2], d[4]));
  v[1] = p + q;
  v[2] = p - q;
  v[3] = r + s;
  v[4] = r - s;
  v[5] = v_fma(v_set(WINO_PRODUCT), d[1], v_fma(v_set(-WINO_SUM), d[3], d[5]));
}
// Back to outputs (A^T).
FRT_INLINE void wino_make(const bool bf16, const vf *m, vf *y)
{
  vf p = m[1] + m[2], q = m[1] - m[2];
  if (bf16) {
    y[0] = m[0] + p;
    y[1] = q - m[3];
    return;
  }
  vf r = m[3] + m[4], s = m[3] - m[4];
  y[0] = m[0] + p + r;
  y[1] = v_fma(v_set(WINO_A), q, WINO_B * s);
  y[2] = v_fma(v_set(WINO_A2), p, WINO_B2 * r);
  y[3] = v_fma(v_set(WINO_A3), q, v_fma(v_set(WINO_B3), s, m[5]));
}
// A gradient by the outputs, in the domain (A).
FRT_INLINE void wino_read_dy(const bool bf16, const vf *d, vf *v)
{
  v[0] = d[0];
  if (bf16) {
    v[1] = d[0] + d[1];
    v[2] = d[0] - d[1];
    v[3] = -d[1];
    return;
  }
  vf p = v_fma(v_set(WINO_A2), d[2], d[0]), q = v_fma(v_set(WINO_A3), d[3], WINO_A * d[1]);
  vf r = v_fma(v_set(WINO_B2), d[2], d[0]), s = v_fma(v_set(WINO_B3), d[3], WINO_B * d[1]);
  v[1] = p + q;
  v[2] = p - q;
  v[3] = r + s;
  v[4] = r - s;
  v[5] = d[3];
}
// Three numbers of a filter, in the domain (G), and back (G^T).
#define WINO_NA (1 / (2 * WINO_A2 * (WINO_A2 - WINO_B2)))
#define WINO_NB (1 / (2 * WINO_B2 * (WINO_B2 - WINO_A2)))
FRT_INLINE void wino_filter(const bool bf16, const vf *g, vf *u)
{
  if (bf16) {
    vf p = 0.5f * (g[0] + g[2]), q = 0.5f * g[1];
    u[0] = g[0];
    u[1] = p + q;
    u[2] = p - q;
    u[3] = g[2];
    return;
  }
  vf p = WINO_NA * v_fma(v_set(WINO_A2), g[2], g[0]), q = (WINO_NA * WINO_A) * g[1];
  vf r = WINO_NB * v_fma(v_set(WINO_B2), g[2], g[0]), s = (WINO_NB * WINO_B) * g[1];
  u[0] = (1 / WINO_PRODUCT) * g[0];
  u[1] = p + q;
  u[2] = p - q;
  u[3] = r + s;
  u[4] = r - s;
  u[5] = g[2];
}
FRT_INLINE void wino_filter_grad(const bool bf16, const vf *u, vf *g)
{
  if (bf16) {
    vf p = 0.5f * (u[1] + u[2]);
    g[0] = u[0] + p;
    g[1] = 0.5f * (u[1] - u[2]);
    g[2] = p + u[3];
    return;
  }
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

FRT_INLINE wino_map wino_tiles(const frt_conv_shape *g)
{
  const int out = wino_out(g->bf16);
  const int64_t rows = (g->oh + out - 1) / out, cols = (g->ow + out - 1) / out;
  return (wino_map){rows, cols, g->n * rows * cols};
}
// Where tile `at` begins: its photo, its first output.
typedef struct wino_place {
  int64_t n, y, x;
} wino_place;
FRT_INLINE wino_place wino_at(const bool bf16, const wino_map *m, int64_t at)
{
  return (wino_place){at / (m->rows * m->cols), at / m->cols % m->rows * wino_out(bf16),
                      at % m->cols * wino_out(bf16)};
}

// Where the numbers of tile `at` lie in x [n, h, w, c]; NULL: in the padding.
FRT_INLINE void wino_window(const bool bf16, const bool bf16_x, const frt_conv_shape *g,
                            const wino_map *m, const void *x, int64_t at, const void **from)
{
  const wino_place p = wino_at(bf16, m, at);
  for (int64_t i = 0; i < wino_side(bf16); i++) {
    for (int64_t j = 0; j < wino_side(bf16); j++) {
      const int64_t r = p.y - g->top + i, q = p.x - g->left + j;
      const bool in = r >= 0 && r < g->h && q >= 0 && q < g->w;
      from[i * wino_side(bf16) + j] =
        in ? v_at(bf16_x, x, ((p.n * g->h + r) * g->w + q) * g->c) : NULL;
    }
  }
}

// Floats (bf16: numbers) of a tile's channels in the domain.
FRT_INLINE int64_t wino_depth(const bool bf16, int64_t c)
{
  return bf16 ? frt__bf16_up(c, 32) : tile_padded(c);
}
// Column k of the second step of a transform, of numbers whose rows are through the first.
#define WINO_COLUMN(bf16, transform, rows, n, k, to)                                               \
  do {                                                                                             \
    vf column_[WINO];                                                                              \
    _Pragma("GCC unroll 6") for (int i_ = 0; i_ < (n); i_++)                                       \
    {                                                                                              \
      column_[i_] = (rows)[i_][k];                                                                 \
    }                                                                                              \
    transform(bf16, column_, to);                                                                  \
  } while (0)

// Tiles [first, first + tiles) of x, computed as `load` says, in the domain: v[point][tile][c], a
// point `step` numbers after the other, rows of wino_depth(c).
void FRT_K(winograd_read)(const frt_conv_shape *g, const frt_load *load, const void *x,
                          int64_t first, int64_t tiles, void *v, int64_t step);
// Of gradients by the weights, dy: v[point][tile][o].
void FRT_K(winograd_read_dy)(const frt_conv_shape *g, const void *dy, int64_t first, int64_t tiles,
                             void *v, int64_t step);
// Tiles [from, to) (from even) of a chunk that begins at tile `first`, as bf16, by pairs as the
// sides of products over k tiles want them (bf16.h): x as the right one,
// v[point][panel][k / 2][columns][2], dy as the left one, v[point][o / 8][k / 2][8][2]. What is
// missing of a last pair is zero.
void FRT_K(winograd_read_pairs)(const frt_conv_shape *g, const frt_load *load, const void *x,
                                int64_t first, int64_t from, int64_t to, int64_t k, uint16_t *v,
                                int64_t step);
void FRT_K(winograd_read_dy_pairs)(const frt_conv_shape *g, const void *dy, int64_t first,
                                   int64_t from, int64_t to, int64_t k, uint16_t *v, int64_t step);

// Packed filters: panels of wino_width columns, of each all points. Numbers from point to point,
// points in sets of their own; where panel p begins.
FRT_INLINE int64_t wino_panels(const bool bf16, int64_t o)
{
  return bf16 ? frt__bf16_panels(o) : tile_panels(o);
}
FRT_INLINE int64_t wino_column(const bool bf16, int64_t o, int64_t p)
{
  return bf16 ? frt__bf16_panel_at(o, p) : FRT_MIN(o, p * TILE_COLS);
}
FRT_INLINE int64_t wino_cols(const bool bf16, int64_t o, int64_t p)
{
  return wino_column(bf16, o, p + 1) - wino_column(bf16, o, p);
}
FRT_INLINE int64_t wino_width(const bool bf16, int64_t o, int64_t p)
{
  return tile_padded(wino_cols(bf16, o, p));
}
FRT_INLINE int64_t wino_filter_step(const bool bf16, int64_t c, int64_t o, int64_t p)
{
  return (bf16 ? frt__bf16_even(c) : c) * wino_width(bf16, o, p) + (bf16 ? 32 : 16);
}
FRT_INLINE int64_t wino_panel_at(const bool bf16, int64_t c, int64_t o, int64_t p)
{
  const int64_t pad = bf16 ? 32 : 16, depth = bf16 ? frt__bf16_even(c) : c;
  return wino_points(bf16) * (depth * tile_padded(wino_column(bf16, o, p)) + p * pad);
}
