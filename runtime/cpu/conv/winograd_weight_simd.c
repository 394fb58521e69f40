// winograd_weight.c -- gradients of 3x3 convolutions of stride 1 by their weights, by Winograd: x
// and dy of a chunk of tiles in the domain of the points, 36 products over its tiles, back to 3x3.
#include "cpu/conv/winograd_simd.h"

// Bytes of a chunk in the domain; rows (outputs) and panels of an item, whose products stay in the
// second cache.
enum { CHUNK = 10 << 20, BF16_CHUNK = 4 << 20, ITEM_ROWS = 64, ITEM_PANELS = 2 };

// Scratch: x and dy of a chunk in the domain, then per thread an item's products.
typedef struct wino_weight {
  wino_map map;
  int64_t chunk, x_depth, dy_depth, x_step, dy_step;  // steps in numbers
  int64_t row_items, col_items, rows, panels, m_step; // items, and an item's rows and panels
  int32_t threads;
  size_t x_bytes, dy_bytes, m_bytes;
} wino_weight;

static wino_weight weight_init(const frt_conv_shape *g)
{
  wino_weight w = {.map = wino_tiles(g)};
  const int64_t item = g->bf16 ? 2 : 4, points = wino_points(g->bf16), pad = g->bf16 ? 32 : 16;
  w.x_depth = tile_padded(g->c);
  w.dy_depth = tile_padded(g->o);
  w.threads = frt__team(g->n * g->oh * g->ow * g->o);
  const int64_t most = g->bf16 ? BF16_CHUNK : CHUNK;
  const int64_t each = points * item * (w.x_depth + w.dy_depth);
  const int64_t chunks = (w.map.count * each + most - 1) / most;
  w.chunk = frt__bf16_up((w.map.count + chunks - 1) / chunks, g->bf16 ? 2 : 1);
  w.x_step = w.chunk * w.x_depth + pad; // points in sets of their own
  w.dy_step = w.chunk * w.dy_depth + pad;
  w.row_items = (g->o + ITEM_ROWS - 1) / ITEM_ROWS;
  w.rows = frt__bf16_up((g->o + w.row_items - 1) / w.row_items, g->bf16 ? FRT_BF16_ROWS : 1);
  const int64_t panels = wino_panels(g->bf16, g->c);
  w.panels = panels * w.row_items >= 2 * ITEM_PANELS * w.threads ? ITEM_PANELS : 1;
  w.col_items = (panels + w.panels - 1) / w.panels;
  w.m_step = w.rows * w.panels * (g->bf16 ? 48 : TILE_COLS) + 16;
  w.x_bytes = frt__round64((size_t)(points * w.x_step * item));
  w.dy_bytes = frt__round64((size_t)(points * w.dy_step * item));
  w.m_bytes = frt__round64((size_t)(points * w.m_step) * sizeof(float));
  return w;
}

FRT_SIMD size_t FRT_K(winograd_weight_scratch)(const frt_conv_shape *g)
{
  const wino_weight w = weight_init(g);
  return w.x_bytes + w.dy_bytes + (size_t)w.threads * w.m_bytes;
}

// Rows [o, o + rows) and columns [c, c + cols) of dw, whose numbers in the domain lie in rows of
// `width`.
typedef struct wino_item {
  int64_t o, rows, c, cols, width;
} wino_item;

// m[point][row][column] of an item: sums over the chunk's tiles.
static void multiply(const wino_weight *w, const wino_item *i, const float *x, const float *dy,
                     int64_t tiles, float *m)
{
  const int64_t n = tile_count(i->rows);
  x += i->c;
  dy += i->o;
  for (int64_t p = 0; p < wino_points(false); p++) {
    for (int64_t j = 0; j < tile_panels(i->cols); j++) {
      for (int64_t r = 0; r < n; r++) {
        const int64_t from = i->rows * r / n, count = i->rows * (r + 1) / n - from;
        FRT_K(tile_transposed)
        [tile_vecs(i->cols, j) - 1][count - 1](tiles, dy + from, w->dy_depth, x + j * TILE_COLS,
                                               w->x_depth, false,
                                               m + from * i->width + j * TILE_COLS, i->width);
      }
    }
    x += w->x_step;
    dy += w->dy_step;
    m += w->m_step;
  }
}
static void multiply_bf16(const wino_weight *w, const wino_item *i, const uint16_t *x,
                          const uint16_t *dy, int64_t tiles, float *m)
{
  const int64_t k = frt__bf16_even(tiles), x_bytes = i->width * k * 2, dy_bytes = i->rows * k * 2;
  x += i->c * k;
  dy += i->o * k;
  for (int64_t p = 0; p < wino_points(true); p++) {
    const bool last = p + 1 == wino_points(true);
    FRT_K(bf16_product)
    (&(frt_bf16_product){
      .rows = i->rows,
      .n = i->width,
      .k = k,
      .segments = 1,
      .a_pairs = dy,
      .b = x,
      .c = m,
      .ldc = i->width,
      .read = {(const char *)(x + w->x_step), (const char *)(dy + w->dy_step)},
      .read_bytes = {last ? 0 : x_bytes,            last ? 0 : dy_bytes            },
    });
    x += w->x_step;
    dy += w->dy_step;
    m += w->m_step;
  }
}

// One output's filters of a vector of channels: back from the domain, stored to or added to dw.
FRT_INLINE void filters_back(const bool bf16, const float *m, int64_t step, int64_t lanes, bool add,
                             float *dw)
{
  const int side = wino_side(bf16);
  vf rows[3][WINO];
#pragma GCC unroll 6
  for (int j = 0; j < side; j++) {
    vf u[WINO], g[3];
#pragma GCC unroll 6
    for (int i = 0; i < side; i++) {
      u[i] = v_load(m + (i * side + j) * step);
    }
    wino_filter_grad(bf16, u, g);
    rows[0][j] = g[0];
    rows[1][j] = g[1];
    rows[2][j] = g[2];
  }
  float taps[9][FRT_VL];
#pragma GCC unroll 3
  for (int i = 0; i < 3; i++) {
    vf g[3];
    wino_filter_grad(bf16, rows[i], g);
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

static void item(const frt_conv_shape *g, const wino_weight *w, int64_t at, const void *x,
                 const void *dy, int64_t tiles, bool add, float *dw, float *m)
{
  const int64_t panel = at / w->row_items * w->panels;
  wino_item i = {.o = at % w->row_items * w->rows, .c = wino_column(g->bf16, g->c, panel)};
  i.rows = FRT_MIN(w->rows, g->o - i.o);
  i.cols = wino_column(g->bf16, g->c, FRT_MIN(panel + w->panels, wino_panels(g->bf16, g->c))) - i.c;
  i.width = tile_padded(i.cols);
  if (i.rows <= 0) {
    return;
  }
  if (g->bf16) {
    multiply_bf16(w, &i, x, dy, tiles, m);
  } else {
    multiply(w, &i, x, dy, tiles, m);
  }
  for (int64_t r = 0; r < i.rows; r++) {
    for (int64_t j = 0; j < i.cols; j += FRT_VL) {
      const float *from = m + r * i.width + j;
      float *to = dw + ((i.o + r) * g->c + i.c + j) * 9;
      const int64_t lanes = FRT_MIN(FRT_VL, i.cols - j);
      if (g->bf16) {
        filters_back(true, from, w->m_step, lanes, add, to);
      } else {
        filters_back(false, from, w->m_step, lanes, add, to);
      }
    }
  }
}

// A thread's share of a chunk's tiles in the domain.
static void read_share(const frt_conv_shape *g, const frt_load *load, const wino_weight *w,
                       int64_t first, int64_t tiles, int32_t t, const void *x, const void *dy,
                       void *vx, void *vdy)
{
  int64_t from, to;
  frt__share(tiles, 2, t, w->threads, &from, &to);
  if (!g->bf16) {
    FRT_K(winograd_read)
    (g, load, x, first + from, to - from, (float *)vx + from * w->x_depth, w->x_step);
    FRT_K(winograd_read_dy)
    (g, dy, first + from, to - from, (float *)vdy + from * w->dy_depth, w->dy_step);
    return;
  }
  const int64_t k = frt__bf16_even(tiles);
  FRT_K(winograd_read_pairs)(g, load, x, first, from, to, k, vx, w->x_step);
  FRT_K(winograd_read_dy_pairs)(g, dy, first, from, to, k, vdy, w->dy_step);
}

FRT_SIMD void FRT_K(winograd_weight)(const frt_conv_shape *g, const frt_load *load, const void *x,
                                     const void *dy, float *dw, void *scratch)
{
  const wino_weight w = weight_init(g);
  char *vx = scratch, *vdy = vx + w.x_bytes, *m = vdy + w.dy_bytes;
  for (int64_t first = 0; first < w.map.count; first += w.chunk) {
    const int64_t tiles = FRT_MIN(w.chunk, w.map.count - first);
#pragma omp parallel for num_threads(w.threads) schedule(static)
    for (int32_t t = 0; t < w.threads; t++) {
      read_share(g, load, &w, first, tiles, t, x, dy, vx, vdy);
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
