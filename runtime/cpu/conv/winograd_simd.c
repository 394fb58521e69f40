// winograd.c -- 3x3 convolutions of stride 1, forward and by the input, by Winograd: blocks of
// tiles are transformed, multiplied with the transformed filters point by point and transformed
// back while they are in the second cache.
//
// from  Lavin and Gray 2016 (arXiv:1509.09308); points as Intel's oneDNN 2.x has them
#include "cpu/conv/winograd_simd.h"
#include "cpu/norm/moments_simd.h"

// Tiles of a block at most; tiles per thread below which threads share columns instead of tiles;
// outputs of a batch of statistics from which on it is closed; columns of a panel of bf16 at most.
enum { BLOCK = 56, BF16_BLOCK = 64, FEW = 24, COUNTED = 48, BF16_COLS = 48 };

// Scratch: V of a block per thread (of all tiles where threads share columns), then per thread M of
// a block and one panel.
typedef struct wino {
  wino_map map;
  int64_t block, depth, v_step, m_step; // steps in numbers
  int32_t threads;
  bool by_columns;
  size_t v_bytes, m_bytes;
} wino;

static wino wino_init(const frt_conv_shape *g)
{
  wino w = {.map = wino_tiles(g), .depth = wino_depth(g->bf16, g->c)};
  w.threads = frt__team(g->n * g->oh * g->ow * g->o);
  const int64_t share = (w.map.count + w.threads - 1) / w.threads;
  w.by_columns = w.threads > 1 && share < FEW && wino_panels(g->bf16, g->o) >= w.threads;
  const int64_t all = w.by_columns ? w.map.count : share, most = g->bf16 ? BF16_BLOCK : BLOCK;
  const int64_t blocks = (all + most - 1) / most, points = wino_points(g->bf16);
  w.block = frt__bf16_up((all + blocks - 1) / blocks, g->bf16 ? FRT_BF16_ROWS : 1);
  // Points in sets of their own.
  w.v_step = (w.by_columns ? all : w.block) * w.depth + (g->bf16 ? 32 : 16);
  w.m_step = w.block * (g->bf16 ? BF16_COLS : TILE_COLS) + 16;
  w.v_bytes = frt__round64((size_t)(points * w.v_step) * (g->bf16 ? 2 : 4));
  w.m_bytes = frt__round64((size_t)(points * w.m_step) * sizeof(float));
  return w;
}

FRT_SIMD int32_t FRT_K(winograd_team)(const frt_conv_shape *g)
{
  return wino_init(g).threads;
}
FRT_SIMD size_t FRT_K(winograd_scratch)(const frt_conv_shape *g)
{
  const wino w = wino_init(g);
  const size_t threads = (size_t)w.threads;
  return (w.by_columns ? 1 : threads) * w.v_bytes + threads * w.m_bytes;
}

// --- the products -------------------------------------------------------------------------------
// What a thread works on.
typedef struct wino_job {
  const frt_load *load;
  const void *x, *u;
  const float *bias, *residual;
  void *y, *v; // v of the thread, or of all
  float *m;
  double *part; // NULL: no statistics
} wino_job;

// m[point][tile][column] of panel `at`, of tiles from `first` on in v.
static void multiply(const frt_conv_shape *g, const wino *w, const wino_job *j, int64_t first,
                     int64_t tiles, int64_t at)
{
  const int64_t n = tile_count(tiles), vecs = tile_vecs(g->o, at), width = vecs * FRT_VL;
  const int64_t c = g->c, step = wino_filter_step(false, c, g->o, at);
  const float *u = (const float *)j->u + wino_panel_at(false, c, g->o, at);
  const float *v = (const float *)j->v + first * w->depth;
  float *m = j->m;
  for (int64_t p = 0; p < wino_points(false); p++, v += w->v_step, u += step, m += w->m_step) {
    for (int64_t i = 0; i < n; i++) {
      const int64_t from = tiles * i / n, rows = tiles * (i + 1) / n - from;
      const float *a[TILE_ROWS], *ahead = n > 1 ? u + step + i % 2 * c * 16 : u;
      for (int64_t r = 0; r < rows; r++) {
        a[r] = v + (from + r) * w->depth;
      }
      FRT_K(tile)[vecs - 1][rows - 1](1, c, a, u, ahead, false, m + from * width, width);
    }
  }
}
static void multiply_bf16(const frt_conv_shape *g, const wino *w, const wino_job *j, int64_t first,
                          int64_t tiles, int64_t at)
{
  const int64_t step = wino_filter_step(true, g->c, g->o, at), width = wino_width(true, g->o, at);
  const uint16_t *u = (const uint16_t *)j->u + wino_panel_at(true, g->c, g->o, at);
  const uint16_t *v = (const uint16_t *)j->v + first * w->depth, *a[BF16_BLOCK];
  float *m = j->m;
  for (int64_t p = 0; p < wino_points(true); p++, v += w->v_step, u += step, m += w->m_step) {
    for (int64_t r = 0; r < frt__bf16_up(tiles, FRT_BF16_ROWS); r++) {
      a[r] = v + FRT_MIN(r, tiles - 1) * w->depth;
    }
    FRT_K(bf16_product)
    (&(frt_bf16_product){
      .rows = tiles,
      .n = width,
      .k = frt__bf16_even(g->c),
      .segments = 1,
      .a = a,
      .b = u,
      .c = m,
      .ldc = width,
      .read = {(const char *)(u + step)},
      .read_bytes = {step * 2},
    });
  }
}

// --- what is made -------------------------------------------------------------------------------
// Where a tile's outputs of one vector of channels lie.
typedef struct wino_outputs {
  int64_t at, row, pixel, rows, cols, lanes; // numbers; outputs that exist
} wino_outputs;

FRT_INLINE void make_column(const bool bf16, const float *m, int64_t step, const int j, vf *y)
{
  vf d[WINO];
#pragma GCC unroll 6
  for (int i = 0; i < wino_side(bf16); i++) {
    d[i] = v_load(m + (i * wino_side(bf16) + j) * step);
  }
  wino_make(bf16, d, y);
}
// A tile's first output.
FRT_INLINE vf first_output(const bool bf16, const float *m, int64_t step)
{
  vf s[WINO], y[WINO_OUT];
#pragma GCC unroll 6
  for (int j = 0; j < wino_side(bf16); j++) {
    make_column(bf16, m, step, j, y);
    s[j] = y[0];
  }
  wino_make(bf16, s, y);
  return y[0];
}

// A tile's outputs of one vector of channels: transformed back, bias, residual, activation, stored,
// counted.
FRT_INLINE void make_tile(const int act, const bool bf16, const bool bf16_y, const float *m,
                          int64_t step, vf bias, const float *residual, void *y,
                          const wino_outputs *to, moments_sum *sum)
{
  const int side = wino_side(bf16), out = wino_out(bf16);
  vf rows[WINO_OUT][WINO];
#pragma GCC unroll 6
  for (int j = 0; j < side; j++) {
    vf column[WINO_OUT];
    make_column(bf16, m, step, j, column);
#pragma GCC unroll 6
    for (int i = 0; i < out; i++) {
      rows[i][j] = column[i];
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < out; i++) {
    vf row[WINO_OUT];
    wino_make(bf16, rows[i], row);
#pragma GCC unroll 4
    for (int j = 0; j < out; j++) {
      if (i >= to->rows || j >= to->cols) {
        continue;
      }
      const int64_t at = to->at + i * to->row + j * to->pixel;
      vf v = row[j] + bias;
      if (residual) {
        v += load_lanes(residual + at, to->lanes);
      }
      v = v_act(act, v);
      v_put_some(bf16_y, y, at, v, to->lanes);
      if (sum) {
        moments_take(sum, v);
      }
    }
  }
}

// Tiles [first, first + tiles) of one panel.
FRT_INLINE void make(const int act, const bool bf16, const bool bf16_y, const frt_conv_shape *g,
                     const wino *w, const wino_job *j, int64_t first, int64_t tiles, int64_t panel)
{
  const int64_t width = wino_width(bf16, g->o, panel), column = wino_column(bf16, g->o, panel);
  const int out = wino_out(bf16);
  for (int64_t v = 0; v < width; v += FRT_VL) {
    const int64_t c = column + v, lanes = FRT_MIN(FRT_VL, g->o - c);
    const vf bias = j->bias ? load_lanes(j->bias + c, lanes) : v_zero();
    moments_sum sum = {v_zero(), v_zero(), v_zero()};
    int64_t counted = 0;
    for (int64_t t = 0; t < tiles; t++) {
      const wino_place p = wino_at(bf16, &w->map, first + t);
      const wino_outputs to = {.at = ((p.n * g->oh + p.y) * g->ow + p.x) * g->o + c,
                               .row = g->ow * g->o,
                               .pixel = g->o,
                               .rows = FRT_MIN(out, g->oh - p.y),
                               .cols = FRT_MIN(out, g->ow - p.x),
                               .lanes = lanes};
      const float *from = j->m + t * width + v;
      if (!j->part) {
        make_tile(act, bf16, bf16_y, from, w->m_step, bias, j->residual, j->y, &to, NULL);
        continue;
      }
      if (counted == 0) { // sums are shifted by the first output
        sum = moments_start(first_output(bf16, from, w->m_step) + bias);
      }
      make_tile(act, bf16, bf16_y, from, w->m_step, bias, NULL, j->y, &to, &sum);
      counted += to.rows * to.cols;
      if (counted > COUNTED || t + 1 == tiles) {
        double *part = j->part + c;
        const double all =
          moments_merge(&sum, counted, lanes, part[0], part + g->o, part + 2 * g->o);
        for (int64_t l = 0; l < lanes; l++) {
          part[l] = all;
        }
        counted = 0;
      }
    }
  }
}
static void make_f32(const int act, const frt_conv_shape *g, const wino *w, const wino_job *j,
                     int64_t first, int64_t tiles, int64_t panel)
{
  make(act, false, false, g, w, j, first, tiles, panel);
}
static void make_bf16(const int act, const frt_conv_shape *g, const wino *w, const wino_job *j,
                      int64_t first, int64_t tiles, int64_t panel)
{
  if (g->bf16_y) {
    make(act, true, true, g, w, j, first, tiles, panel);
  } else {
    make(act, true, false, g, w, j, first, tiles, panel);
  }
}

// Tiles [from, to) of panels [first, last), block by block.
static void blocks(const frt_conv_shape *g, const wino *w, wino_job j, int64_t from, int64_t to,
                   int64_t first, int64_t last)
{
  for (int64_t b = from; b < to; b += w->block) {
    const int64_t tiles = FRT_MIN(w->block, to - b);
    if (!w->by_columns) {
      FRT_K(winograd_read)(g, j.load, j.x, b, tiles, j.v, w->v_step);
    }
    for (int64_t p = first; p < last; p++) {
      if (g->bf16) {
        multiply_bf16(g, w, &j, w->by_columns ? b : 0, tiles, p);
        FRT_BY_ACT(g->act, make_bf16, g, w, &j, b, tiles, p);
      } else {
        multiply(g, w, &j, w->by_columns ? b : 0, tiles, p);
        FRT_BY_ACT(g->act, make_f32, g, w, &j, b, tiles, p);
      }
    }
  }
}

FRT_SIMD void FRT_K(winograd)(const frt_conv_shape *g, const frt_load *load, const void *x,
                              const void *u, const float *bias, const float *residual, void *y,
                              double *moments, void *scratch)
{
  const wino w = wino_init(g);
  const int64_t panels = wino_panels(g->bf16, g->o), count = w.map.count;
  const size_t each = FRT_K(moments_bytes)(g->o) / sizeof(double);
  char *m_at = (char *)scratch + (w.by_columns ? 1 : (size_t)w.threads) * w.v_bytes;
  if (w.by_columns) {
#pragma omp parallel for num_threads(w.threads) schedule(static)
    for (int32_t t = 0; t < w.threads; t++) {
      int64_t from, to;
      frt__share(count, 1, t, w.threads, &from, &to);
      FRT_K(winograd_read)
      (g, load, x, from, to - from, v_at_out(g->bf16, scratch, from * w.depth), w.v_step);
    }
  }
#pragma omp parallel for num_threads(w.threads) schedule(static)
  for (int32_t t = 0; t < w.threads; t++) {
    const wino_job j = {
      .load = load,
      .x = x,
      .u = u,
      .bias = bias,
      .residual = residual,
      .y = y,
      .v = (char *)scratch + (w.by_columns ? 0 : (size_t)t * w.v_bytes),
      .m = (float *)(m_at + (size_t)t * w.m_bytes),
      .part = moments ? moments + (size_t)t * each : NULL,
    };
    int64_t from = 0, to = count, first = 0, last = panels;
    if (w.by_columns) {
      frt__share(panels, 1, t, w.threads, &first, &last);
    } else {
      frt__share(count, 1, t, w.threads, &from, &to);
    }
    blocks(g, &w, j, from, to, first, last);
  }
}
