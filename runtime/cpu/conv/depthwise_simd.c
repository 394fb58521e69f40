// depthwise.c -- depthwise convolution forward and backward by input: source rows are copied into a
// ring of padded rows, then each output row is a sum over taps with 8 outputs in registers.
//
// Backward by input is the same sum: the outputs of one column phase (w + left) mod stride meet
// every stride-th tap, in reverse, one source column further for each output.
#include "cpu/conv/depthwise_simd.h"
#include "cpu/norm/moments_simd.h"

#include "cpu/chain/act_simd.h"

// The taps of one output row: n_row source rows with their packed weights [taps][FRT_VL].
typedef struct dw_taps {
  int32_t n_row, kw, dil;
  int64_t step; // floats between the source columns of neighbouring outputs
  const float *rows[FRT_DW_MAX_KERNEL], *weight[FRT_DW_MAX_KERNEL];
  vf bias;
} dw_taps;

FRT_INLINE void tile(const int kw, const int step, const int n, const dw_taps *t, int64_t at,
                     float *o, int64_t ow)
{
  vf a[8];
#pragma GCC unroll 8
  for (int i = 0; i < n; i++) {
    a[i] = t->bias;
  }
  for (int32_t k = 0; k < t->n_row; k++) {
    const float *in = t->rows[k] + at, *w = t->weight[k];
#pragma GCC unroll 7
    for (int j = 0; j < kw; j++) {
      vf wv = v_load(w + j * FRT_VL);
#pragma GCC unroll 8
      for (int i = 0; i < n; i++) {
        a[i] = v_fma(v_load(in + (i * step + j) * FRT_VL), wv, a[i]);
      }
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < n; i++) {
    v_store(o + i * ow, a[i]);
  }
}

typedef void (*row_fn)(const dw_taps *t, int64_t at, int64_t count, float *o, int64_t ow);
typedef void (*tile_fn)(const dw_taps *t, int64_t at, float *o, int64_t ow);

// A function for each number of outputs, so that each has all registers.
#define DW_TILE(kw, step, n)                                                                       \
  static __attribute__((noinline)) void tile_##kw##_##step##_##n(const dw_taps *t, int64_t at,     \
                                                                 float *o, int64_t ow)             \
  {                                                                                                \
    tile(kw, step, n, t, at, o, ow);                                                               \
  }
#define DW_TILE_NAME(kw, step, n) tile_##kw##_##step##_##n
// Cuts a row into tiles of nearly equal length, at most 8.
#define DW_ROW(kw, step)                                                                           \
  DW_TILE(kw, step, 1)                                                                             \
  DW_TILE(kw, step, 2)                                                                             \
  DW_TILE(kw, step, 3)                                                                             \
  DW_TILE(kw, step, 4)                                                                             \
  DW_TILE(kw, step, 5)                                                                             \
  DW_TILE(kw, step, 6)                                                                             \
  DW_TILE(kw, step, 7)                                                                             \
  DW_TILE(kw, step, 8)                                                                             \
  static void row_##kw##_##step(const dw_taps *t, int64_t at, int64_t count, float *o, int64_t ow) \
  {                                                                                                \
    static const tile_fn tiles_of[8] = {                                                           \
      DW_TILE_NAME(kw, step, 1), DW_TILE_NAME(kw, step, 2), DW_TILE_NAME(kw, step, 3),             \
      DW_TILE_NAME(kw, step, 4), DW_TILE_NAME(kw, step, 5), DW_TILE_NAME(kw, step, 6),             \
      DW_TILE_NAME(kw, step, 7), DW_TILE_NAME(kw, step, 8),                                        \
    };                                                                                             \
    for (int64_t tiles = (count + 7) / 8; tiles > 0; tiles--) {                                    \
      int64_t n = tiles == 1 ? count : (count + tiles - 1) / tiles;                                \
      tiles_of[n - 1](t, at, o, ow);                                                               \
      at += n * step * FRT_VL;                                                                     \
      o += n * ow;                                                                                 \
      count -= n;                                                                                  \
    }                                                                                              \
  }
DW_ROW(1, 1)
DW_ROW(2, 1)
DW_ROW(3, 1)
DW_ROW(4, 1)
DW_ROW(5, 1)
DW_ROW(7, 1)
DW_ROW(2, 2)
DW_ROW(3, 2)
DW_ROW(4, 2)
DW_ROW(5, 2)
DW_ROW(7, 2)

// Any number of taps, step and dilation.
static void row_any(const dw_taps *t, int64_t at, int64_t count, float *o, int64_t ow)
{
  for (int64_t w = 0; w < count; w++) {
    vf a = t->bias, b = v_zero();
    for (int32_t k = 0; k < t->n_row; k++) {
      const float *in = t->rows[k] + at + w * t->step, *wt = t->weight[k];
      int32_t j = 0;
      for (; j + 1 < t->kw; j += 2) {
        a = v_fma(v_load(in + (int64_t)j * t->dil * FRT_VL), v_load(wt + j * FRT_VL), a);
        b =
          v_fma(v_load(in + (int64_t)(j + 1) * t->dil * FRT_VL), v_load(wt + (j + 1) * FRT_VL), b);
      }
      if (j < t->kw) {
        a = v_fma(v_load(in + (int64_t)j * t->dil * FRT_VL), v_load(wt + j * FRT_VL), a);
      }
    }
    v_store(o + w * ow, a + b);
  }
}
static row_fn choose_row(int32_t kw, int64_t step, int32_t dil)
{
  static const row_fn by_width[2][8] = {
    {0, row_1_1, row_2_1, row_3_1, row_4_1, row_5_1, 0, row_7_1},
    {0, 0,       row_2_2, row_3_2, row_4_2, row_5_2, 0, row_7_2},
  };
  row_fn f = dil == 1 && kw < 8 && (step == 1 || step == 2) ? by_width[step - 1][kw] : NULL;
  return f != NULL ? f : row_any;
}

// --- geometry -----------------------------------------------------------------------------------
// Outputs w0, w0 + stride, ... of a row: `count` of them, from ring column `start`; taps kw of the
// filter, the j-th of which is filter column tap[0] - or + j * tap[1].
typedef struct dw_phase {
  int64_t w0, stride, count, start, step;
  int32_t kw, dil, tap0, tap_step;
  int64_t weight; // floats into a block's packed weights
  row_fn row;
} dw_phase;

enum { COUNTED = 64 }; // columns from which on their sums are merged
// Either direction, seen as a gather: from a source [n, sh, sw, c] to a target [n, th, tw, c].
typedef struct dw_gather {
  const frt_conv_shape *g;
  const frt_load *load;          // of the source
  bool backward, bf16, bf16_out; // source and target are stored as bf16
  int64_t sh, sw, th, tw;
  dw_ring ring;
  dw_items items;
  int32_t n_phase, threads;
  int64_t packed; // floats of all packed weights
  size_t per_thread;
  dw_phase phase[FRT_DW_MAX_STRIDE];
} dw_gather;

static void phases(dw_gather *d)
{
  const frt_conv_shape *g = d->g;
  int64_t weight = 0;
  d->n_phase = 0;
  for (int32_t q = 0; q < (d->backward ? g->stride_w : 1); q++) {
    dw_phase *p = &d->phase[d->n_phase];
    if (!d->backward) {
      *p = (dw_phase){.stride = 1,
                      .count = d->tw,
                      .step = g->stride_w,
                      .kw = g->kw,
                      .dil = g->dil_w,
                      .tap_step = 1};
    } else {
      // Filter columns j with (q - j * dil) a multiple of the stride, greatest first.
      int32_t s = g->stride_w, first = -1, every = 1, n = 0;
      for (int32_t j = 0; j < g->kw; j++) {
        if ((((q - j * g->dil_w) % s) + s) % s == 0) {
          every = n == 1 ? j - first : every;
          first = n == 0 ? j : first;
          n++;
        }
      }
      int64_t w0 = (((q - g->left) % s) + s) % s;
      int32_t last = first + (n - 1) * every;
      *p = (dw_phase){.w0 = w0,
                      .stride = s,
                      .count = w0 < d->tw ? (d->tw - 1 - w0) / s + 1 : 0,
                      .step = 1,
                      .kw = n,
                      .dil = n > 1 ? every * g->dil_w / s : 1,
                      .tap0 = last,
                      .tap_step = -every};
      p->start =
        n > 0 ? dw_floor_div(w0 + g->left - (int64_t)last * g->dil_w, s) + d->ring.left : 0;
    }
    p->weight = weight;
    weight += (int64_t)p->kw * g->kh * FRT_VL;
    p->row = choose_row(p->kw, p->step, p->dil);
    d->n_phase += p->count > 0;
  }
}
static void gather_init(dw_gather *d, const frt_conv_shape *g, bool backward)
{
  *d = (dw_gather){.g = g,
                   .backward = backward,
                   .bf16 = backward ? g->bf16_y : g->bf16_x,
                   .bf16_out = backward ? g->bf16_x : g->bf16_y};
  d->sh = backward ? g->oh : g->h;
  d->sw = backward ? g->ow : g->w;
  d->th = backward ? g->h : g->oh;
  d->tw = backward ? g->w : g->ow;
  int64_t reach_h = (int64_t)(g->kh - 1) * g->dil_h, reach_w = (int64_t)(g->kw - 1) * g->dil_w;
  if (!backward) {
    dw_ring_size(&d->ring, reach_h + 1, (d->tw - 1) * g->stride_w + reach_w + 1, g->left, d->sw);
  } else {
    int64_t left = FRT_MAX(0, -dw_floor_div(g->left - reach_w, g->stride_w));
    int64_t width = left + (d->tw - 1 + g->left) / g->stride_w + 1;
    dw_ring_size(&d->ring, reach_h / g->stride_h + 2, width, left, d->sw);
  }
  phases(d);
  int64_t blocks = dw_blocks(g->c);
  d->threads = frt__team(g->n * g->c * FRT_MAX(d->th * d->tw, d->sh * d->sw));
  dw_cut(&d->items, &d->ring, g->n, g->c, d->th, d->threads);
  d->packed = (blocks * g->kh * g->kw + 1) * FRT_VL;
  // Per thread: the ring, one target row of a block that is not full, sums for statistics.
  int64_t floats = d->ring.blocks * (d->ring.block + 3 * FRT_VL) + d->tw * FRT_VL;
  d->per_thread = frt__round64((size_t)floats * 4) + 64;
}

// --- running ------------------------------------------------------------------------------------
static void pack_block(const dw_gather *d, const float *weight, int64_t b, float *packed)
{
  const frt_conv_shape *g = d->g;
  int64_t taps = (int64_t)g->kh * g->kw, lanes = FRT_MIN(FRT_VL, g->c - b * FRT_VL);
  const float *from = weight + b * FRT_VL * taps;
  for (int32_t q = 0; q < d->n_phase; q++) {
    const dw_phase *p = &d->phase[q];
    for (int32_t i = 0; i < g->kh; i++) {
      for (int32_t j = 0; j < p->kw; j++) {
        float *to = packed + b * taps * FRT_VL + p->weight + (int64_t)(i * p->kw + j) * FRT_VL;
        const float *at = from + (int64_t)i * g->kw + p->tap0 + j * p->tap_step;
        for (int64_t l = 0; l < FRT_VL; l++) {
          to[l] = l < lanes ? at[l * taps] : 0;
        }
      }
    }
  }
}
static void act_row(int32_t act, float *o, int64_t ow, int64_t count)
{
  for (int64_t w = 0; w < count; w++) {
    vf x = v_load(o + w * ow);
    v_store(o + w * ow, act == FRT_ACT_SILU   ? v_act(FRT_ACT_SILU, x)
                        : act == FRT_ACT_RELU ? v_act(FRT_ACT_RELU, x)
                                              : v_act(FRT_ACT_RELU6, x));
  }
}
// The source rows that target row t meets, with the filter rows; returns how many.
static int32_t rows_of(const dw_gather *d, int64_t t, int64_t *source, int32_t *filter)
{
  const frt_conv_shape *g = d->g;
  int32_t n = 0;
  for (int32_t k = 0; k < g->kh; k++) {
    int32_t i = d->backward ? g->kh - 1 - k : k;
    int64_t s = d->backward ? t + g->top - (int64_t)i * g->dil_h
                            : t * g->stride_h - g->top + (int64_t)i * g->dil_h;
    if (d->backward) {
      if (s < 0 || s % g->stride_h != 0) {
        continue;
      }
      s /= g->stride_h;
    }
    if (s >= 0 && s < d->sh) {
      source[n] = s;
      filter[n++] = i;
    }
  }
  return n;
}
// A row of one block from f32 vectors to where it belongs.
FRT_INLINE void put_row(const bool bf16, const float *row, int64_t tw, int64_t c, int64_t lanes,
                        void *y)
{
  for (int64_t w = 0; w < tw; w++) {
    v_put_some(bf16, y, w * c, v_load(row + w * FRT_VL), lanes);
  }
}
// One target row of one block: every phase, then activation, then the lanes that exist.
static void block_row(const dw_gather *d, const float *ring, const float *packed, int32_t n_row,
                      const int64_t *slot, const int32_t *filter, vf bias, float *spare,
                      int64_t lanes, void *y)
{
  const frt_conv_shape *g = d->g;
  bool part = lanes < FRT_VL || d->bf16_out;
  float *o = part ? spare : y;
  int64_t ow = part ? FRT_VL : g->c;
  dw_taps t; // a thousand bytes: not cleared
  t.n_row = n_row;
  t.bias = bias;
  for (int32_t q = 0; q < d->n_phase; q++) {
    const dw_phase *p = &d->phase[q];
    t.kw = p->kw;
    t.dil = p->dil;
    t.step = p->step * FRT_VL;
    for (int32_t k = 0; k < n_row; k++) {
      t.rows[k] = ring + slot[k];
      t.weight[k] = packed + p->weight + (int64_t)filter[k] * p->kw * FRT_VL;
    }
    p->row(&t, p->start * FRT_VL, p->count, o + p->w0 * ow, p->stride * ow);
  }
  if (!d->backward && g->act != FRT_ACT_NONE) {
    act_row(g->act, o, ow, d->tw);
  }
  if (part) {
    FRT_BY_BF16(d->bf16_out, put_row, spare, d->tw, g->c, lanes, y);
  }
}
// Statistics of the target: a row of one block, `step` floats from column to column, joins the
// block's sums in `memory`, `before` columns of this stretch being in them; the stretch's last row
// merges them into the thread's part.
static void count_row(const dw_gather *d, const float *y, int64_t step, int64_t before, bool merge,
                      int64_t lanes, moments_sum *memory, double *part)
{
  int64_t c = d->g->c, tw = d->tw;
  moments_sum a = moments_rows_of(*memory, before == 0, y, step, tw, lanes);
  *memory = a;
  if (merge) {
    double all = moments_merge(&a, before + tw, lanes, part[0], part + c, part + 2 * c);
    for (int64_t l = 0; l < lanes; l++) {
      part[l] = all;
    }
  }
}
static void item(const dw_gather *d, int64_t index, const void *x, const float *packed,
                 const float *bias, void *y, double *moments, float *ring)
{
  const frt_conv_shape *g = d->g;
  const dw_items *it = &d->items;
  int64_t chunk = index % it->chunks, n = index / it->chunks % it->n;
  int64_t group = index / it->chunks / it->n;
  int64_t b0 = group * d->ring.blocks, c0 = b0 * FRT_VL, taps = (int64_t)g->kh * g->kw;
  int32_t blocks = (int32_t)FRT_MIN(d->ring.blocks, dw_blocks(g->c) - b0);
  float *spare = ring + d->ring.blocks * d->ring.block;
  moments_sum *sums = (moments_sum *)(spare + d->tw * FRT_VL);
  int64_t counted = 0; // columns in the sums
  const void *image = v_at(d->bf16, x, n * d->sh * d->sw * g->c);
  int64_t next = 0, source[FRT_DW_MAX_KERNEL];
  int32_t filter[FRT_DW_MAX_KERNEL];
  int64_t to = FRT_MIN(d->th, (chunk + 1) * it->rows);
  for (int64_t t = chunk * it->rows; t < to; t++) {
    int32_t n_row = rows_of(d, t, source, filter);
    if (n_row > 0) {
      // Dilated or backward, a later target row may need an earlier source row: all within reach.
      int64_t reach = (int64_t)(g->kh - 1) * g->dil_h;
      int64_t low =
        d->backward ? dw_floor_div(t + g->top - reach, g->stride_h) : t * g->stride_h - g->top;
      int64_t high = source[n_row - 1];
      for (next = FRT_MAX(next, low); next <= high; next++) {
        dw_ring_fill(&d->ring, d->load, d->bf16, ring, v_at(d->bf16, image, next * d->sw * g->c),
                     g->c, c0, blocks, next % d->ring.slots);
      }
    }
    for (int32_t k = 0; k < n_row; k++) {
      source[k] = source[k] % d->ring.slots * d->ring.row; // from here on where it lies in the ring
    }
    void *row = v_at_out(d->bf16_out, y, (n * d->th + t) * d->tw * g->c + c0);
    for (int32_t b = 0; b < blocks; b++) {
      int64_t lanes = FRT_MIN(FRT_VL, g->c - c0 - b * FRT_VL);
      vf start = v_zero();
      if (bias != NULL) {
        start =
          lanes < FRT_VL ? v_load_n(bias + c0 + b * FRT_VL, lanes) : v_load(bias + c0 + b * FRT_VL);
      }
      block_row(d, ring + b * d->ring.block, packed + (b0 + b) * taps * FRT_VL, n_row, source,
                filter, start, spare, lanes, v_at_out(d->bf16_out, row, b * FRT_VL));
      if (moments) {
        const float *made = d->bf16_out ? spare : (const float *)row + b * FRT_VL;
        count_row(d, made, d->bf16_out ? FRT_VL : g->c, counted,
                  t + 1 == to || counted + d->tw >= COUNTED, lanes, &sums[b],
                  moments + c0 + b * FRT_VL);
      }
    }
    counted = counted + d->tw >= COUNTED ? 0 : counted + d->tw;
  }
}
static void gather(const dw_gather *d, const void *x, const float *weight, const float *bias,
                   void *y, double *moments, void *scratch)
{
  float *packed = scratch;
  char *rings = (char *)scratch + frt__round64((size_t)d->packed * 4);
  int64_t blocks = dw_blocks(d->g->c);
  size_t each = FRT_K(moments_bytes)(d->g->c) / sizeof *moments;
#pragma omp parallel for num_threads(d->threads) schedule(static)
  for (int32_t t = 0; t < d->threads; t++) {
    int64_t from, to;
    frt__share(blocks, 1, t, d->threads, &from, &to);
    for (int64_t b = from; b < to; b++) {
      pack_block(d, weight, b, packed);
    }
  }
#pragma omp parallel for num_threads(d->threads) schedule(static)
  for (int32_t t = 0; t < d->threads; t++) {
    float *ring = (float *)(rings + (size_t)t * d->per_thread);
    int64_t from, to;
    dw_ring_clear(&d->ring, ring);
    frt__share(d->items.count, 1, t, d->threads, &from, &to);
    for (int64_t i = from; i < to; i++) {
      item(d, i, x, packed, bias, y, moments ? moments + (size_t)t * each : NULL, ring);
    }
  }
}

// Depthwise convolution. Weights and their gradient are plain [C,1,kh,kw]; bias may be NULL, load
// too (ungated). moments: NULL, or zeroed parts of y's statistics, depthwise_team of them. Scratch:
// of the forward pass, or of the gradient by the input.
FRT_SIMD size_t FRT_K(depthwise_scratch)(const frt_conv_shape *g, bool grad_input)
{
  dw_gather d;
  gather_init(&d, g, grad_input);
  return frt__round64((size_t)d.packed * 4) + (size_t)d.threads * d.per_thread;
}
FRT_SIMD int32_t FRT_K(depthwise_team)(const frt_conv_shape *g)
{
  dw_gather d;
  gather_init(&d, g, false);
  return d.threads;
}
FRT_SIMD void FRT_K(depthwise)(const frt_conv_shape *g, const frt_load *load, const void *x,
                               const float *weight, const float *bias, void *y, double *moments,
                               void *scratch)
{
  dw_gather d;
  gather_init(&d, g, false);
  d.load = load;
  gather(&d, x, weight, bias, y, moments, scratch);
}
FRT_SIMD void FRT_K(depthwise_grad_input)(const frt_conv_shape *g, const void *dy,
                                          const float *weight, void *dx, void *scratch)
{
  dw_gather d;
  gather_init(&d, g, true);
  gather(&d, dy, weight, NULL, dx, NULL, scratch);
}
