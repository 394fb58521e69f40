// winograd_weight.c -- gradients of 3x3 convolutions of stride 1 by their weights, by Winograd: x
// and dy of a chunk of tiles in the domain of the points, 36 products over its tiles, back to 3x3.
#include "cpu/kernels/winograd.h"

// Bytes of a chunk in the domain; rows (outputs) and panels of an item, whose products stay in the
// second cache.
enum { CHUNK = 10 << 20, ITEM_ROWS = 64, ITEM_PANELS = 2 };

// Scratch: x and dy of a chunk in the domain, then per thread an item's products.
typedef struct wino_weight {
  wino_map map;
  int64_t chunk, x_depth, dy_depth, x_step, dy_step;
  int64_t row_items, col_items, rows, panels, m_step; // items, and an item's rows and panels
  int32_t threads;
  size_t x_bytes, dy_bytes, m_bytes;
} wino_weight;

static wino_weight weight_init(const frt_winograd *g)
{
  wino_weight w = {.map = wino_tiles(g->n, g->oh, g->ow)};
  w.x_depth = tile_padded(g->c);
  w.dy_depth = tile_padded(g->o);
  w.threads = frt__team(g->n * g->oh * g->ow * g->o);
  const int64_t each = WINO_POINTS * (int64_t)sizeof(float) * (w.x_depth + w.dy_depth);
  const int64_t chunks = (w.map.count * each + CHUNK - 1) / CHUNK;
  w.chunk = (w.map.count + chunks - 1) / chunks;
  w.x_step = w.chunk * w.x_depth + 16; // points in sets of their own
  w.dy_step = w.chunk * w.dy_depth + 16;
  w.row_items = (g->o + ITEM_ROWS - 1) / ITEM_ROWS;
  w.rows = (g->o + w.row_items - 1) / w.row_items;
  const int64_t panels = tile_panels(g->c);
  w.panels = panels * w.row_items >= 2 * ITEM_PANELS * w.threads ? ITEM_PANELS : 1;
  w.col_items = (panels + w.panels - 1) / w.panels;
  w.m_step = w.rows * w.panels * TILE_COLS + 16;
  w.x_bytes = frt__round64((size_t)(WINO_POINTS * w.x_step) * sizeof(float));
  w.dy_bytes = frt__round64((size_t)(WINO_POINTS * w.dy_step) * sizeof(float));
  w.m_bytes = frt__round64((size_t)(WINO_POINTS * w.m_step) * sizeof(float));
  return w;
}

size_t FRT_K(winograd_weight_scratch)(const frt_winograd *g)
{
  const wino_weight w = weight_init(g);
  return w.x_bytes + w.dy_bytes + (size_t)w.threads * w.m_bytes;
}

// Tiles [first, first + tiles) of dy in the domain: v[point][tile][o].
static void read_dy(const frt_winograd *g, const wino_weight *w, const float *dy, int64_t first,
                    int64_t tiles, float *v)
{
  for (int64_t t = 0; t < tiles; t++, v += w->dy_depth) {
    const int64_t at = first + t, n = at / (w->map.rows * w->map.cols);
    const int64_t r = at / w->map.cols % w->map.rows * WINO_OUT, q = at % w->map.cols * WINO_OUT;
    const float *from = dy + ((n * g->oh + r) * g->ow + q) * g->o;
    for (int64_t j = 0; j < g->o; j += FRT_VL) {
      vf rows[WINO_OUT][WINO];
#pragma GCC unroll 6
      for (int i = 0; i < WINO_OUT; i++) {
        vf d[WINO_OUT];
#pragma GCC unroll 6
        for (int k = 0; k < WINO_OUT; k++) {
          const bool in = r + i < g->oh && q + k < g->ow;
          d[k] = in ? load_lanes(from + (i * g->ow + k) * g->o + j, g->o - j) : v_zero();
        }
        wino_read_dy(d, rows[i]);
      }
#pragma GCC unroll 6
      for (int k = 0; k < WINO; k++) {
        const vf d[WINO_OUT] = {rows[0][k], rows[1][k], rows[2][k], rows[3][k]};
        vf to[WINO];
        wino_read_dy(d, to);
#pragma GCC unroll 6
        for (int i = 0; i < WINO; i++) {
          v_store(v + (i * WINO + k) * w->dy_step + j, to[i]);
        }
      }
    }
  }
}

// m[point][row][column] of an item: sums over the chunk's tiles.
static void multiply(const wino_weight *w, const float *x, const float *dy, int64_t tiles,
                     int64_t rows, int64_t cols, float *m)
{
  const int64_t n = tile_count(rows), width = w->panels * TILE_COLS;
  for (int64_t p = 0; p < WINO_POINTS; p++, x += w->x_step, dy += w->dy_step, m += w->m_step) {
    for (int64_t j = 0; j < tile_panels(cols); j++) {
      for (int64_t i = 0; i < n; i++) {
        const int64_t from = rows * i / n, count = rows * (i + 1) / n - from;
        FRT_K(tile_turned)
        [tile_vecs(cols, j) - 1][count - 1](tiles, dy + from, w->dy_depth, x + j * TILE_COLS,
                                            w->x_depth, false, m + from * width + j * TILE_COLS,
                                            width);
      }
    }
  }
}

// One output's filters of a vector of channels: back from the domain, stored to or added to dw.
FRT_INLINE void filters_back(const float *m, int64_t step, int64_t lanes, bool add, float *dw)
{
  vf half[3][WINO];
#pragma GCC unroll 6
  for (int j = 0; j < WINO; j++) {
    vf u[WINO], g[3];
#pragma GCC unroll 6
    for (int i = 0; i < WINO; i++) {
      u[i] = v_load(m + (i * WINO + j) * step);
    }
    wino_filter_grad(u, g);
    half[0][j] = g[0];
    half[1][j] = g[1];
    half[2][j] = g[2];
  }
  float taps[9][FRT_VL];
#pragma GCC unroll 3
  for (int i = 0; i < 3; i++) {
    vf g[3];
    wino_filter_grad(half[i], g);
    v_store(taps[3 * i], g[0]);
    v_store(taps[3 * i + 1], g[1]);
    v_store(taps[3 * i + 2], g[2]);
  }
  for (int64_t l = 0; l < lanes; l++, dw += 9) {
    for (int t = 0; t < 9; t++) {
      dw[t] = add ? dw[t] + taps[t][l] : taps[t][l];
    }
  }
}

static void item(const frt_winograd *g, const wino_weight *w, int64_t at, const float *x,
                 const float *dy, int64_t tiles, bool add, float *dw, float *m)
{
  const int64_t o = at % w->row_items * w->rows, rows = FRT_MIN(w->rows, g->o - o);
  const int64_t wide = w->panels * TILE_COLS, c = at / w->row_items * wide;
  const int64_t cols = FRT_MIN(wide, g->c - c);
  if (rows <= 0) {
    return;
  }
  multiply(w, x + c, dy + o, tiles, rows, cols, m);
  for (int64_t i = 0; i < rows; i++) {
    for (int64_t j = 0; j < cols; j += FRT_VL) {
      filters_back(m + i * wide + j, w->m_step, FRT_MIN(FRT_VL, cols - j), add,
                   dw + ((o + i) * g->c + c + j) * 9);
    }
  }
}

void FRT_K(winograd_weight)(const frt_winograd *g, const frt_load *load, const float *x,
                            const float *dy, float *dw, void *scratch)
{
  const wino_weight w = weight_init(g);
  float *vx = scratch, *vdy = (float *)((char *)scratch + w.x_bytes);
  char *m = (char *)vdy + w.dy_bytes;
  for (int64_t first = 0; first < w.map.count; first += w.chunk) {
    const int64_t tiles = FRT_MIN(w.chunk, w.map.count - first);
#pragma omp parallel for num_threads(w.threads) schedule(static)
    for (int32_t t = 0; t < w.threads; t++) {
      int64_t from, to;
      frt__share(tiles, 1, t, w.threads, &from, &to);
      FRT_K(winograd_read)
      (g, load, x, first + from, to - from, vx + from * w.x_depth, w.x_step);
      read_dy(g, &w, dy, first + from, to - from, vdy + from * w.dy_depth);
    }
#pragma omp parallel for num_threads(w.threads) schedule(static)
    for (int32_t t = 0; t < w.threads; t++) {
      int64_t from, to;
      frt__share(w.row_items * w.col_items, 1, t, w.threads, &from, &to);
      for (int64_t i = from; i < to; i++) {
        item(g, &w, i, vx, vdy, tiles, first > 0, dw, (float *)(m + (size_t)t * w.m_bytes));
      }
    }
  }
}
