// winograd_pack.c -- filters in the domain of Winograd's points, in panels of columns as its
// products want them.
#include "cpu/conv/pack_simd.h"
#include "cpu/conv/winograd_simd.h"
#include "cpu/transpose_simd.h"

// Channels whose filters are transposed at a time; even.
enum { SOME = 16 };

// Dense 3x3 of stride 1 by Winograd. Plain weights [o,c,3,3] are packed first (winograd_packed
// bytes); transposed: of weights [c,o,3,3] for the gradient by the input. load may be NULL
// (ungated), bias and residual (f32, shape of y, added before the activation; not where bf16)
// too; moments: NULL, or zeroed parts of y's statistics, winograd_team of them.
FRT_SIMD size_t FRT_K(winograd_packed)(const frt_conv_shape *g)
{
  const int64_t panels = wino_panels(g->bf16, g->o);
  return (size_t)wino_panel_at(g->bf16, g->c, g->o, panels) * (g->bf16 ? 2 : 4);
}

// One channel's filters of a vector of columns in the domain, but for the last step: rows[tap][..].
FRT_INLINE void rows_of(const bool bf16, const float *taps, int64_t step, vf rows[][WINO])
{
#pragma GCC unroll 3
  for (int i = 0; i < 3; i++) {
    const float *row = taps + 3 * i * step;
    const vf g[3] = {v_load(row), v_load(row + step), v_load(row + 2 * step)};
    wino_filter(bf16, g, rows[i]);
  }
}

// A vector of columns of numbers [from, from + n) of each, `step` floats from column to column,
// transposed: to[i] those of number from + i.
FRT_INLINE void transpose_columns(const float *x, int64_t step, int64_t cols, int64_t n, vf *to)
{
#pragma GCC unroll 16
  for (int l = 0; l < FRT_VL; l++) {
    to[l] = l >= cols ? v_zero() : n < FRT_VL ? v_load_n(x + l * step, n) : v_load(x + l * step);
  }
  v_transpose(to);
}

// Channels [k, k + n) of a block as taps[channel][tap][column].
static void transform(const pack_block *b, int64_t k, int64_t n, int64_t cols, bool transposed,
                      float *taps)
{
  // By the input a channel's columns lie side by side, else a column's channels.
  const int64_t runs = transposed ? n : 1, run = transposed ? 9 : 9 * n;
  for (int64_t v = 0; v < cols; v += FRT_VL) {
    for (int64_t i = 0; i < runs; i++) {
      const float *from = b->at + (k + i) * b->by_chan + v * b->by_col;
      for (int64_t q = 0; q < run; q += FRT_VL) {
        vf x[FRT_VL];
        transpose_columns(from + q, b->by_col, cols - v, run - q, x);
        for (int64_t l = 0; l < FRT_MIN(FRT_VL, run - q); l++) {
          const int64_t tap = transposed ? i * 9 + 8 - q - l : q + l;
          v_store(taps + tap * TILE_COLS + v, x[l]);
        }
      }
    }
  }
}

// u[panel][point][c][column], a channel's vector of columns from the taps.
static void filters(const float *taps, float *u, int64_t step)
{
  vf rows[3][WINO];
  rows_of(false, taps, TILE_COLS, rows);
#pragma GCC unroll 6
  for (int k = 0; k < WINO; k++) {
    vf to[WINO];
    WINO_COLUMN(false, wino_filter, rows, 3, k, to);
#pragma GCC unroll 6
    for (int i = 0; i < WINO; i++) {
      v_store(u + (i * WINO + k) * step, to[i]);
    }
  }
}

// u[panel][point][c / 2][column][2], those of two channels.
static void filter_pairs(const float *taps, uint16_t *u, int64_t step)
{
#if FRT_BF16
  vf a[3][WINO], b[3][WINO];
  rows_of(true, taps, TILE_COLS, a);
  rows_of(true, taps + 9 * TILE_COLS, TILE_COLS, b);
#pragma GCC unroll 4
  for (int k = 0; k < 4; k++) {
    vf x[WINO], y[WINO];
    WINO_COLUMN(true, wino_filter, a, 3, k, x);
    WINO_COLUMN(true, wino_filter, b, 3, k, y);
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
      _mm512_storeu_si512(u + (i * 4 + k) * step, v_pairs(x[i], y[i]));
    }
  }
#else
  (void)taps, (void)u, (void)step;
#endif
}

// Channels [first, first + n) of columns [col, col + cols) of a panel, no more than TILE_COLS.
static void block(const frt_conv_shape *g, const pack_from *f, int64_t panel, int64_t col,
                  int64_t cols, int64_t first, int64_t n, void *u)
{
  float room[TILE_COLS * PACK_STEP], taps[SOME * 9 * TILE_COLS] = {0};
  const pack_block b = pack_fetch(f, col, cols, first, n, room);
  const int64_t step = wino_filter_step(g->bf16, g->c, g->o, panel);
  const int64_t width = wino_width(g->bf16, g->o, panel);
  const int64_t at = wino_panel_at(g->bf16, g->c, g->o, panel) + first * width;
  const int64_t in = col - wino_column(g->bf16, g->o, panel);
  for (int64_t k = 0; k < n; k++) {
    const float *from = taps + k % SOME * 9 * TILE_COLS;
    if (k % SOME == 0) {
      if (n - k < SOME) {
        memset(taps, 0, sizeof taps);
      }
      transform(&b, k, FRT_MIN(SOME, n - k), cols, f->transposed, taps);
    }
    for (int64_t v = 0; v < cols; v += FRT_VL) {
      if (!g->bf16) {
        filters(from + v, (float *)u + at + k * width + in + v, step);
      } else if (k % 2 == 0) {
        filter_pairs(from + v, (uint16_t *)u + at + k * width + 2 * (in + v), step);
      }
    }
  }
}

// Of w [o][c][9]; transposed: of w [c][o][9], taps in reverse.
FRT_SIMD void FRT_K(winograd_pack)(const frt_conv_shape *g, bool transposed, const float *w,
                                   void *u)
{
  const pack_from f = {.w = w, .c = g->c, .o = g->o, .taps = 9, .transposed = transposed};
  const int64_t each = pack_channels(&f) & ~(int64_t)1, blocks = (g->c + each - 1) / each;
  const int64_t panels = wino_panels(g->bf16, g->o);
  const int32_t threads = frt__team(g->c * g->o);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t i = 0; i < panels * blocks; i++) {
    const int64_t p = i / blocks, first = i % blocks * each, n = FRT_MIN(each, g->c - first);
    const int64_t end = wino_column(g->bf16, g->o, p + 1);
    for (int64_t j = wino_column(g->bf16, g->o, p); j < end; j += TILE_COLS) {
      block(g, &f, p, j, FRT_MIN(TILE_COLS, end - j), first, n, u);
    }
  }
}
