// winograd.c -- 3x3 convolutions of stride 1, forward and by the input, by Winograd's F(4x4, 3x3):
// blocks of tiles are transformed, multiplied with the transformed filters in 36 products and
// transformed back while they are in the second cache.
//
// from  Lavin and Gray 2016 (arXiv:1509.09308); points as Intel's oneDNN 2.x has them
#include "cpu/kernels/winograd.h"
#include "cpu/kernels/moments.h"
#include "cpu/kernels/pack.h"

// Tiles of a block at most; tiles per thread below which threads share columns instead of tiles;
// channels of filters that are turned at a time; outputs of a batch of statistics from which on it
// is closed.
enum { BLOCK = 56, FEW = 24, SOME = 4, COUNTED = 48 };

// Scratch: V of a block per thread (of all tiles where threads share columns), then per thread M of
// a block and one panel, then statistics.
typedef struct wino {
  wino_map map;
  int64_t block, depth, v_step, m_step; // depth: padded c
  int32_t threads;
  bool by_columns;
  size_t v_bytes, m_bytes;
} wino;

static wino wino_init(const frt_winograd *g)
{
  wino w = {.map = wino_tiles(g->n, g->oh, g->ow), .depth = tile_padded(g->c)};
  w.threads = frt__team(g->n * g->oh * g->ow * g->o);
  const int64_t share = (w.map.count + w.threads - 1) / w.threads;
  w.by_columns = w.threads > 1 && share < FEW && tile_panels(g->o) >= w.threads;
  const int64_t all = w.by_columns ? w.map.count : share, blocks = (all + BLOCK - 1) / BLOCK;
  w.block = (all + blocks - 1) / blocks;
  w.v_step = (w.by_columns ? all : w.block) * w.depth + 16; // points in sets of their own
  w.m_step = w.block * TILE_COLS + 16;
  w.v_bytes = frt__round64((size_t)(WINO_POINTS * w.v_step) * sizeof(float));
  w.m_bytes = frt__round64((size_t)(WINO_POINTS * w.m_step) * sizeof(float));
  return w;
}

int32_t FRT_K(winograd_team)(const frt_winograd *g)
{
  return wino_init(g).threads;
}
size_t FRT_K(winograd_scratch)(const frt_winograd *g)
{
  const wino w = wino_init(g);
  const size_t threads = (size_t)w.threads;
  return (w.by_columns ? 1 : threads) * w.v_bytes + threads * w.m_bytes;
}

// --- filters ------------------------------------------------------------------------------------
// Floats from point to point of a panel, points in sets of their own; where panel p begins.
FRT_INLINE int64_t point_step(int64_t c, int64_t o, int64_t p)
{
  return c * tile_vecs(o, p) * FRT_VL + 16;
}
FRT_INLINE int64_t panel_at(int64_t c, int64_t o, int64_t p)
{
  const int64_t full = o / TILE_COLS;
  const int64_t at = FRT_MIN(p, full) * WINO_POINTS * (c * TILE_COLS + 16);
  return p > full ? at + WINO_POINTS * point_step(c, o, full) : at;
}

size_t FRT_K(winograd_packed)(int64_t c, int64_t o)
{
  return (size_t)panel_at(c, o, tile_panels(o)) * sizeof(float);
}

// One channel's filters of a vector of columns in the domain; taps `step` floats apart.
FRT_INLINE void filters(const float *taps, int64_t step, float *u, int64_t u_step)
{
  vf rows[3][WINO];
#pragma GCC unroll 6
  for (int i = 0; i < 3; i++) {
    const float *row = taps + 3 * i * step;
    const vf g[3] = {v_load(row), v_load(row + step), v_load(row + 2 * step)};
    wino_filter(g, rows[i]);
  }
#pragma GCC unroll 6
  for (int j = 0; j < WINO; j++) {
    const vf g[3] = {rows[0][j], rows[1][j], rows[2][j]};
    vf to[WINO];
    wino_filter(g, to);
#pragma GCC unroll 6
    for (int i = 0; i < WINO; i++) {
      v_store(u + (i * WINO + j) * u_step, to[i]);
    }
  }
}

// Channels [k, k + n) of a block as taps[channel][tap][column].
static void turn(const pack_block *b, int64_t k, int64_t n, int64_t cols, bool turned, float *taps)
{
  const int64_t first = turned ? 8 : 0, next = turned ? -TILE_COLS : TILE_COLS;
  for (int64_t i = 0; i < n; i++) {
    const float *from = b->at + (k + i) * b->by_chan;
    float *to = taps + (i * 9 + first) * TILE_COLS;
    for (int64_t l = 0; l < cols; l++, from += b->by_col) {
#pragma GCC unroll 9
      for (int t = 0; t < 9; t++) {
        to[t * next + l] = from[t];
      }
    }
  }
}

// u[panel][point][c][column] of w [o][c][9]; turned: of w [c][o][9], taps in reverse.
void FRT_K(winograd_pack)(int64_t c, int64_t o, bool turned, const float *w, float *u)
{
  const int64_t panels = tile_panels(o);
  const pack_from f = {.w = w, .c = c, .o = o, .taps = 9, .turned = turned};
  const int64_t each = pack_channels(&f), blocks = (c + each - 1) / each;
  const int32_t threads = frt__team(c * o);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t i = 0; i < panels * blocks; i++) {
    const int64_t p = i / blocks, first = i % blocks * each, n = FRT_MIN(each, c - first);
    const int64_t vecs = tile_vecs(o, p), width = vecs * FRT_VL, cols = tile_cols(o, p);
    float room[TILE_COLS * PACK_STEP];
    const pack_block b = pack_fetch(&f, p * TILE_COLS, cols, first, n, room);
    float taps[SOME * 9 * TILE_COLS] = {0}, *to = u + panel_at(c, o, p) + first * width;
    for (int64_t k = 0; k < n; k++, to += width) {
      if (k % SOME == 0) {
        turn(&b, k, FRT_MIN(SOME, n - k), cols, turned, taps);
      }
      for (int64_t v = 0; v < vecs; v++) {
        filters(taps + k % SOME * 9 * TILE_COLS + v * FRT_VL, TILE_COLS, to + v * FRT_VL,
                point_step(c, o, p));
      }
    }
  }
}

// --- what is read -------------------------------------------------------------------------------
FRT_INLINE void read_tile(const int act, const bool loads, const frt_load *l, int64_t c,
                          const float *const *from, float *v, int64_t step)
{
  for (int64_t j = 0; j < c; j += FRT_VL) {
    const int64_t lanes = c - j;
    load_norm norm = {0};
    if (loads) {
      norm = load_norm_at(l, j, lanes);
    }
    vf rows[WINO][WINO];
#pragma GCC unroll 6
    for (int i = 0; i < WINO; i++) {
      vf d[WINO];
#pragma GCC unroll 6
      for (int k = 0; k < WINO; k++) {
        const float *at = from[i * WINO + k];
        vf x = at ? load_lanes(at + j, lanes) : v_zero();
        d[k] = loads && at ? load_value(act, x, norm) : x;
      }
      wino_read(d, rows[i]);
    }
#pragma GCC unroll 6
    for (int k = 0; k < WINO; k++) {
      vf d[WINO], to[WINO];
#pragma GCC unroll 6
      for (int i = 0; i < WINO; i++) {
        d[i] = rows[i][k];
      }
      wino_read(d, to);
#pragma GCC unroll 6
      for (int i = 0; i < WINO; i++) {
        v_store(v + (i * WINO + k) * step + j, to[i]);
      }
    }
  }
}
static void read_loaded(const int act, const frt_load *l, int64_t c, const float *const *from,
                        float *v, int64_t step)
{
  read_tile(act, true, l, c, from, v, step);
}

void FRT_K(winograd_read)(const frt_winograd *g, const frt_load *load, const float *x,
                          int64_t first, int64_t tiles, float *v, int64_t step)
{
  const wino_map m = wino_tiles(g->n, g->oh, g->ow);
  const int64_t depth = tile_padded(g->c);
  for (int64_t t = 0; t < tiles; t++) {
    const float *from[WINO_POINTS];
    wino_window(g, &m, x, first + t, from);
    float *to = v + t * depth;
    if (load) {
      FRT_BY_ACT(load->act, read_loaded, load, g->c, from, to, step)
    } else {
      read_tile(FRT_ACT_NONE, false, NULL, g->c, from, to, step);
    }
  }
}

// --- the products -------------------------------------------------------------------------------
// m[point][tile][column] of panel `at`.
static void multiply(const frt_winograd *g, const wino *w, const float *v, int64_t tiles,
                     const float *u, int64_t at, float *m)
{
  const int64_t n = tile_count(tiles), vecs = tile_vecs(g->o, at), width = vecs * FRT_VL;
  const int64_t c = g->c, step = point_step(c, g->o, at);
  u += panel_at(c, g->o, at);
  for (int64_t p = 0; p < WINO_POINTS; p++, v += w->v_step, u += step, m += w->m_step) {
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

// --- what is made -------------------------------------------------------------------------------
// What a thread works on.
typedef struct wino_job {
  const frt_load *load;
  const float *x, *u, *bias, *residual;
  float *y, *v, *m; // v and m of the thread, or v of all
  double *part;     // NULL: no statistics
} wino_job;

// Where a tile's outputs of one vector of channels lie.
typedef struct wino_place {
  int64_t at, row, pixel, rows, cols, lanes; // floats; outputs that exist
} wino_place;

// A tile's first output.
FRT_INLINE vf first_output(const float *m, int64_t step)
{
  vf d[WINO], s[WINO], y[WINO_OUT];
#pragma GCC unroll 6
  for (int j = 0; j < WINO; j++) {
#pragma GCC unroll 6
    for (int i = 0; i < WINO; i++) {
      d[i] = v_load(m + (i * WINO + j) * step);
    }
    wino_make(d, y);
    s[j] = y[0];
  }
  wino_make(s, y);
  return y[0];
}

// A tile's outputs of one vector of channels: transformed back, bias, residual, activation, stored,
// counted.
FRT_INLINE void make_tile(const int act, const float *m, int64_t step, vf bias,
                          const float *residual, float *y, const wino_place *to, moments_sum *sum)
{
  vf half[WINO_OUT][WINO];
#pragma GCC unroll 6
  for (int j = 0; j < WINO; j++) {
    vf d[WINO], column[WINO_OUT];
#pragma GCC unroll 6
    for (int i = 0; i < WINO; i++) {
      d[i] = v_load(m + (i * WINO + j) * step);
    }
    wino_make(d, column);
#pragma GCC unroll 6
    for (int i = 0; i < WINO_OUT; i++) {
      half[i][j] = column[i];
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < WINO_OUT; i++) {
    vf row[WINO_OUT];
    wino_make(half[i], row);
#pragma GCC unroll 4
    for (int j = 0; j < WINO_OUT; j++) {
      if (i >= to->rows || j >= to->cols) {
        continue;
      }
      const int64_t at = to->at + i * to->row + j * to->pixel;
      vf v = row[j] + bias;
      if (residual) {
        v += load_lanes(residual + at, to->lanes);
      }
      v = v_act(act, v);
      v_put_some(false, y, at, v, to->lanes);
      if (sum) {
        moments_take(sum, v);
      }
    }
  }
}

// Tiles [first, first + tiles) of one panel.
static void make(const int act, const frt_winograd *g, const wino *w, const wino_job *j,
                 int64_t first, int64_t tiles, int64_t panel)
{
  const int64_t vecs = tile_vecs(g->o, panel), width = vecs * FRT_VL;
  for (int64_t v = 0; v < vecs; v++) {
    const int64_t c = panel * TILE_COLS + v * FRT_VL, lanes = FRT_MIN(FRT_VL, g->o - c);
    const vf bias = j->bias ? load_lanes(j->bias + c, lanes) : v_zero();
    moments_sum sum = {0};
    int64_t counted = 0;
    for (int64_t t = 0; t < tiles; t++) {
      const int64_t at = first + t, n = at / (w->map.rows * w->map.cols);
      const int64_t r = at / w->map.cols % w->map.rows * WINO_OUT, q = at % w->map.cols * WINO_OUT;
      const wino_place to = {.at = ((n * g->oh + r) * g->ow + q) * g->o + c,
                             .row = g->ow * g->o,
                             .pixel = g->o,
                             .rows = FRT_MIN(WINO_OUT, g->oh - r),
                             .cols = FRT_MIN(WINO_OUT, g->ow - q),
                             .lanes = lanes};
      const float *from = j->m + t * width + v * FRT_VL;
      if (!j->part) {
        make_tile(act, from, w->m_step, bias, j->residual, j->y, &to, NULL);
        continue;
      }
      if (counted == 0) { // sums are shifted by the first output
        sum = moments_start(first_output(from, w->m_step) + bias);
      }
      make_tile(act, from, w->m_step, bias, NULL, j->y, &to, &sum);
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

// Tiles [from, to) of panels [first, last), block by block.
static void blocks(const frt_winograd *g, const wino *w, wino_job j, int64_t from, int64_t to,
                   int64_t first, int64_t last)
{
  for (int64_t b = from; b < to; b += w->block) {
    const int64_t tiles = FRT_MIN(w->block, to - b);
    if (!w->by_columns) {
      FRT_K(winograd_read)(g, j.load, j.x, b, tiles, j.v, w->v_step);
    }
    for (int64_t p = first; p < last; p++) {
      multiply(g, w, w->by_columns ? j.v + b * w->depth : j.v, tiles, j.u, p, j.m);
      FRT_BY_ACT(g->act, make, g, w, &j, b, tiles, p)
    }
  }
}

void FRT_K(winograd)(const frt_winograd *g, const frt_load *load, const float *x, const float *u,
                     const float *bias, const float *residual, float *y, double *moments,
                     void *scratch)
{
  const wino w = wino_init(g);
  const int64_t panels = tile_panels(g->o), count = w.map.count;
  const size_t each = FRT_K(moments_bytes)(g->o) / sizeof(double);
  char *m_at = (char *)scratch + (w.by_columns ? 1 : (size_t)w.threads) * w.v_bytes;
  if (w.by_columns) {
    float *v = scratch;
#pragma omp parallel for num_threads(w.threads) schedule(static)
    for (int32_t t = 0; t < w.threads; t++) {
      int64_t from, to;
      frt__share(count, 1, t, w.threads, &from, &to);
      FRT_K(winograd_read)(g, load, x, from, to - from, v + from * w.depth, w.v_step);
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
      .v = (float *)((char *)scratch + (w.by_columns ? 0 : (size_t)t * w.v_bytes)),
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
