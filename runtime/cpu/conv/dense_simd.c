// dense.c -- dense convolutions as products of rows of the map with packed weights: a row is an
// output pixel, read by pointers to its taps, so that no windows are gathered. Bias, residual,
// activation and statistics follow while a block of rows and one panel of columns are in the first
// cache.
//
// from  Dukhan 2019, the indirect convolution algorithm (arXiv:1907.02129)
#include "cpu/chain/vmath_simd.h"
#include "cpu/conv/pack_simd.h"
#include "cpu/norm/load_simd.h"
#include "cpu/norm/moments_simd.h"

// Rows of a block, bytes of what it reads.
enum { BLOCK = 8 * TILE_ROWS, BLOCK_BYTES = 384 << 10 };

// Scratch: a row of zeros, then per thread pointers to the taps of a block's rows, its loaded rows,
// its results of one panel.
typedef struct dense {
  int64_t rows, taps, block, panels;
  int32_t threads;
  bool by_columns;
  size_t zero_bytes, pointer_bytes, loaded_bytes, made_bytes;
} dense;

static dense dense_init(const frt_conv_shape *g)
{
  dense d = {.rows = g->n * g->oh * g->ow, .taps = g->kh * g->kw, .panels = tile_panels(g->o)};
  d.threads = frt__team(d.rows * g->o * g->c * d.taps / 2);
  // each thread reads all rows or all weights: the fewer bytes
  d.by_columns = d.threads > 1 && !g->loads && !g->counts && g->o > d.rows;
  const int64_t share = d.by_columns ? d.rows : (d.rows + d.threads - 1) / d.threads;
  const int64_t fit = BLOCK_BYTES / ((int64_t)sizeof(float) * g->c * FRT_MIN(d.taps, 3));
  const int64_t most = FRT_MIN(BLOCK, FRT_MAX(2, fit / TILE_ROWS) * TILE_ROWS);
  const int64_t blocks = (share + most - 1) / most;
  d.block = (share + blocks - 1) / blocks;
  d.zero_bytes = frt__round64((size_t)g->c * sizeof(float));
  // the tiles of a block may all be smaller than TILE_ROWS
  const int64_t tiles = tile_count(d.block);
  d.pointer_bytes = frt__round64((size_t)(tiles * d.taps * TILE_ROWS) * sizeof(float *));
  d.loaded_bytes = g->loads ? frt__round64((size_t)(d.block * g->c) * sizeof(float)) : 0;
  d.made_bytes = frt__round64(sizeof(float) * TILE_ROWS * TILE_COLS);
  return d;
}

FRT_SIMD int32_t FRT_K(dense_team)(const frt_conv_shape *g)
{
  return dense_init(g).threads;
}
FRT_SIMD size_t FRT_K(dense_scratch)(const frt_conv_shape *g)
{
  const dense d = dense_init(g);
  return d.zero_bytes + (size_t)d.threads * (d.pointer_bytes + d.loaded_bytes + d.made_bytes);
}

// --- weights ------------------------------------------------------------------------------------
// Dense convolutions as products. Plain weights [o,c,kh,kw] are packed first (dense_packed
// bytes); transposed: of weights [c,o,kh,kw] in reverse, for the gradient by the input of stride 1.
// load, bias, residual (shape of y, added before the activation) may be NULL; moments: NULL, or
// zeroed parts of y's statistics, dense_team of them.
FRT_SIMD size_t FRT_K(dense_packed)(const frt_conv_shape *g)
{
  return (size_t)(g->kh * g->kw * g->c * tile_padded(g->o)) * sizeof(float);
}

// packed[panel][tap][c][column] of w [o][c][taps]; transposed: of w [c][o][taps], taps in reverse.
FRT_SIMD void FRT_K(dense_pack)(const frt_conv_shape *g, bool transposed, const float *w,
                                float *packed)
{
  const int64_t taps = g->kh * g->kw, panels = tile_panels(g->o);
  const pack_from f = {.w = w, .c = g->c, .o = g->o, .taps = taps, .transposed = transposed};
  const int64_t each = pack_channels(&f), blocks = (g->c + each - 1) / each;
  const int32_t threads = frt__team(taps * g->c * g->o);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t i = 0; i < panels * blocks; i++) {
    const int64_t p = i / blocks, first = i % blocks * each, n = FRT_MIN(each, g->c - first);
    const int64_t cols = tile_cols(g->o, p), width = tile_vecs(g->o, p) * FRT_VL;
    float room[TILE_COLS * PACK_STEP];
    const pack_block b = pack_fetch(&f, p * TILE_COLS, cols, first, n, room);
    float *to = packed + p * TILE_COLS * taps * g->c + first * width;
    for (int64_t t = 0; t < taps; t++, to += g->c * width) {
      const float *from = b.at + (transposed ? taps - 1 - t : t);
      for (int64_t k = 0; k < n; k++, from += b.by_chan) {
        float *row = to + k * width;
        if (b.by_col == 1) {
          memcpy(row, from, sizeof *row * (size_t)cols);
        } else {
          for (int64_t l = 0; l < cols; l++) {
            row[l] = from[l * b.by_col];
          }
        }
        for (int64_t l = cols; l < width; l++) {
          row[l] = 0;
        }
      }
    }
  }
}

// --- a block ------------------------------------------------------------------------------------
// Pointers to the taps of a tile's rows.
static void point(const frt_conv_shape *g, const float *x, const float *zero, int64_t row,
                  int64_t rows, const float **to)
{
  if (g->in_rows) {
    for (int64_t r = 0; r < rows; r++) {
      to[r] = x + (row + r) * g->c;
    }
    return;
  }
  int64_t n = row / (g->oh * g->ow), oy = row / g->ow % g->oh, ox = row % g->ow;
  for (int64_t r = 0; r < rows; r++, to++) {
    const int64_t top = oy * g->stride_h - g->top, left = ox * g->stride_w - g->left;
    const float **tap = to;
    for (int64_t i = top; i < top + g->kh * g->dil_h; i += g->dil_h) {
      for (int64_t j = left; j < left + g->kw * g->dil_w; j += g->dil_w, tap += TILE_ROWS) {
        const bool in = i >= 0 && i < g->h && j >= 0 && j < g->w;
        *tap = in ? x + ((n * g->h + i) * g->w + j) * g->c : zero;
      }
    }
    if (++ox == g->ow) {
      ox = 0;
      if (++oy == g->oh) {
        oy = 0;
        n++;
      }
    }
  }
}

// A tile: bias, residual, activation, to its place in y.
FRT_INLINE void finish(const int act, const float *made, int64_t rows, int64_t cols, int64_t o,
                       const float *bias, const float *residual, float *y)
{
  const int64_t width = tile_padded(cols);
  for (int64_t r = 0; r < rows; r++, made += width, y += o) {
    for (int64_t v = 0; v < cols; v += FRT_VL) {
      const int64_t lanes = cols - v;
      vf s = v_load(made + v);
      if (bias) {
        s += load_lanes(bias + v, lanes);
      }
      if (residual) {
        s += load_lanes(residual + r * o + v, lanes);
      }
      s = v_any_act(act, s);
      v_put_some(false, y, v, s, lanes);
    }
  }
}

// What finish() will touch, asked for while the tile is computed.
FRT_INLINE void expect(int64_t rows, int64_t cols, int64_t o, const float *residual, float *y)
{
  for (int64_t r = 0; r < rows; r++) {
    for (int64_t v = 0; v < cols; v += 16) {
      __builtin_prefetch(y + r * o + v, 1, 3);
      if (residual) {
        __builtin_prefetch(residual + r * o + v, 0, 3);
      }
    }
  }
}

typedef struct dense_job {
  const frt_load *load;
  const float *x, *packed, *bias, *residual, *zero;
  float *y;
  double *part;          // NULL: no statistics
  const float **pointer; // of the thread
  float *loaded, *made;
} dense_job;

// Panel by panel, a block's tiles; where threads share columns, the t-th's share of them.
static void block(const frt_conv_shape *g, const dense *d, const dense_job *j, int64_t row,
                  int64_t rows, int32_t t)
{
  const int64_t n = tile_count(rows), depth = d->taps * g->c;
  const float *x = j->x;
  if (j->load) {
    FRT_K(load_rows)(j->load, false, x + row * g->c, row, rows, g->c, j->loaded);
    x = j->loaded - row * g->c;
  }
  for (int64_t i = 0; i < n; i++) {
    const int64_t from = rows * i / n, to = rows * (i + 1) / n;
    point(g, x, j->zero, row + from, to - from, j->pointer + i * d->taps * TILE_ROWS);
  }
  const bool plain = !j->bias && !j->residual && g->act == FRT_ACT_NONE;
  int64_t from = 0, to = n * d->panels;
  if (d->by_columns) {
    frt__share(n * d->panels, 1, t, d->threads, &from, &to);
  }
  for (int64_t at = from; at < to; at++) {
    const int64_t p = at / n, i = at % n, c = p * TILE_COLS, cols = tile_cols(g->o, p);
    const int64_t vecs = tile_vecs(g->o, p), width = vecs * FRT_VL;
    const int64_t first = rows * i / n, count = rows * (i + 1) / n - first;
    const float *w = j->packed + c * depth;
    const float *next = at + n < to ? w + width * depth + i % 2 * depth * 16 : w;
    float *y = j->y + (row + first) * g->o + c;
    const float *residual = j->residual ? j->residual + (row + first) * g->o + c : NULL;
    const float *const *rows_at = j->pointer + i * d->taps * TILE_ROWS;
    tile_fn *tile = FRT_K(tile)[vecs - 1][count - 1];
    expect(count, cols, g->o, residual, y);
    if (plain && cols == width) {
      tile(d->taps, g->c, rows_at, w, next, false, y, g->o);
    } else {
      tile(d->taps, g->c, rows_at, w, next, false, j->made, width);
      FRT_BY_ANY_ACT(g->act, finish, j->made, count, cols, g->o, j->bias ? j->bias + c : NULL,
                     residual, y);
    }
    if (j->part && i == n - 1) {
      moments_columns(j->y + row * g->o, rows, g->o, c, cols, j->part);
    }
  }
}

FRT_SIMD void FRT_K(dense)(const frt_conv_shape *g, const frt_load *load, const float *x,
                           const float *packed, const float *bias, const float *residual, float *y,
                           double *moments, void *scratch)
{
  const dense d = dense_init(g);
  const size_t each = d.pointer_bytes + d.loaded_bytes + d.made_bytes;
  const size_t counts = FRT_K(moments_bytes)(g->o) / sizeof(double);
  memset(scratch, 0, d.zero_bytes);
#pragma omp parallel for num_threads(d.threads) schedule(static)
  for (int32_t t = 0; t < d.threads; t++) {
    char *own = (char *)scratch + d.zero_bytes + (size_t)t * each;
    const dense_job j = {
      .load = load,
      .x = x,
      .packed = packed,
      .bias = bias,
      .residual = residual,
      .zero = scratch,
      .y = y,
      .part = moments ? moments + (size_t)t * counts : NULL,
      .pointer = (const float **)own,
      .loaded = (float *)(own + d.pointer_bytes),
      .made = (float *)(own + d.pointer_bytes + d.loaded_bytes),
    };
    int64_t from = 0, to = d.rows;
    if (!d.by_columns) {
      frt__share(d.rows, 1, t, d.threads, &from, &to);
    }
    for (int64_t r = from; r < to; r += d.block) {
      block(g, &d, &j, r, FRT_MIN(d.block, to - r), t);
    }
  }
}
