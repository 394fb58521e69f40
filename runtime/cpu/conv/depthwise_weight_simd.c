// depthwise_weight.c -- depthwise convolution backward by weights: several rows of the filter times
// its width stay in registers while a few output rows pass; threads keep sums of their own, which
// are added in the threads' order.
#include "cpu/conv/depthwise_simd.h"

// Output rows summed in registers before they are added to the thread's sums.
enum { MAX_ROWS = 16 };

typedef struct dw_pass {
  int64_t rows, ow, dy_step; // output rows and columns; floats between columns of dy
  const float *dy[MAX_ROWS]; // per output row
  const float *in[MAX_ROWS][FRT_DW_MAX_KERNEL]; // per output row and filter row: ring rows
} dw_pass;

// dw[k0 .. k0+kh)[kw] += over rows and columns of dy * x.
FRT_INLINE void taps(const int kh, const int kw, const int step, const dw_pass *p, int32_t k0,
                     float *dw)
{
  vf a[25];
#pragma GCC unroll 28
  for (int j = 0; j < kh * kw; j++) {
    a[j] = v_zero();
  }
  for (int64_t r = 0; r < p->rows; r++) {
    const float *dy = p->dy[r], *in[5];
#pragma GCC unroll 5
    for (int i = 0; i < kh; i++) {
      in[i] = p->in[r][k0 + i];
    }
    for (int64_t w = 0; w < p->ow; w++) {
      vf z = v_load(dy + w * p->dy_step);
      v_ask(false, dy, (w + DW_AHEAD) * p->dy_step);
#pragma GCC unroll 5
      for (int i = 0; i < kh; i++) {
#pragma GCC unroll 7
        for (int j = 0; j < kw; j++) {
          a[i * kw + j] = v_fma(z, v_load(in[i] + (w * step + j) * FRT_VL), a[i * kw + j]);
        }
      }
    }
  }
  dw += (int64_t)k0 * kw * FRT_VL;
#pragma GCC unroll 28
  for (int j = 0; j < kh * kw; j++) {
    v_store(dw + j * FRT_VL, v_load(dw + j * FRT_VL) + a[j]);
  }
}
typedef void (*taps_fn)(const dw_pass *p, int32_t k0, float *dw);
#define DW_TAPS(kh, kw, step)                                                                      \
  static void taps_##kh##_##kw##_##step(const dw_pass *p, int32_t k0, float *dw)                   \
  {                                                                                                \
    taps(kh, kw, step, p, k0, dw);                                                                 \
  }
#define DW_TAPS_2(kh, kw) DW_TAPS(kh, kw, 1) DW_TAPS(kh, kw, 2)
DW_TAPS_2(1, 3)
DW_TAPS_2(2, 3)
DW_TAPS_2(3, 3)
DW_TAPS_2(1, 5)
DW_TAPS_2(2, 5)
DW_TAPS_2(1, 7)
#if FRT_VL == 16
DW_TAPS_2(3, 5)
DW_TAPS_2(4, 5)
DW_TAPS_2(5, 5)
DW_TAPS_2(2, 7)
DW_TAPS_2(3, 7)
enum { ROWS_5 = 5, ROWS_7 = 3 };
#define FRT_WIDE(f) f
#else
enum { ROWS_5 = 2, ROWS_7 = 1 }; // sixteen registers
#define FRT_WIDE(f) NULL
#endif
static const taps_fn taps_3[2][3] = {
  {taps_1_3_1, taps_2_3_1, taps_3_3_1},
  {taps_1_3_2, taps_2_3_2, taps_3_3_2},
};
static const taps_fn taps_5[2][5] = {
  {taps_1_5_1, taps_2_5_1, FRT_WIDE(taps_3_5_1), FRT_WIDE(taps_4_5_1), FRT_WIDE(taps_5_5_1)},
  {taps_1_5_2, taps_2_5_2, FRT_WIDE(taps_3_5_2), FRT_WIDE(taps_4_5_2), FRT_WIDE(taps_5_5_2)},
};
static const taps_fn taps_7[2][3] = {
  {taps_1_7_1, FRT_WIDE(taps_2_7_1), FRT_WIDE(taps_3_7_1)},
  {taps_1_7_2, FRT_WIDE(taps_2_7_2), FRT_WIDE(taps_3_7_2)},
};

// Any filter, stride and dilation: one tap at a time.
static void taps_any(const frt_conv_shape *g, const dw_pass *p, float *dw)
{
  for (int32_t i = 0; i < g->kh; i++) {
    for (int32_t j = 0; j < g->kw; j++) {
      vf a = v_zero(), b = v_zero();
      for (int64_t r = 0; r < p->rows; r++) {
        const float *in = p->in[r][i] + (int64_t)j * g->dil_w * FRT_VL, *dy = p->dy[r];
        int64_t step = (int64_t)g->stride_w * FRT_VL, w = 0;
        for (; w + 1 < p->ow; w += 2) {
          a = v_fma(v_load(dy + w * p->dy_step), v_load(in + w * step), a);
          b = v_fma(v_load(dy + (w + 1) * p->dy_step), v_load(in + (w + 1) * step), b);
        }
        if (w < p->ow) {
          a = v_fma(v_load(dy + w * p->dy_step), v_load(in + w * step), a);
        }
      }
      float *to = dw + ((int64_t)i * g->kw + j) * FRT_VL;
      v_store(to, v_load(to) + a + b);
    }
  }
}
static void taps_all(const frt_conv_shape *g, const dw_pass *p, float *dw)
{
  int32_t s = g->stride_w, most = 0;
  const taps_fn *by_rows = NULL;
  if (g->dil_w == 1 && (s == 1 || s == 2)) {
    by_rows = g->kw == 3   ? taps_3[s - 1]
              : g->kw == 5 ? taps_5[s - 1]
              : g->kw == 7 ? taps_7[s - 1]
                           : 0;
    most = g->kw == 3 ? 3 : g->kw == 5 ? ROWS_5 : ROWS_7;
  }
  if (by_rows == NULL) {
    taps_any(g, p, dw);
    return;
  }
  // Passes of nearly equal numbers of filter rows.
  int32_t passes = (g->kh + most - 1) / most;
  for (int32_t k0 = 0; passes > 0; passes--) {
    int32_t n = (g->kh - k0 + passes - 1) / passes;
    by_rows[n - 1](p, k0, dw);
    k0 += n;
  }
}

// --- running ------------------------------------------------------------------------------------
typedef struct dw_weight {
  const frt_conv_shape *g;
  const frt_load *load; // of x
  dw_ring ring;
  dw_items items;
  int32_t threads, rows; // rows: output rows per pass
  int64_t sums;          // floats of one thread's sums
  size_t per_thread;
} dw_weight;

static void weight_init(dw_weight *d, const frt_conv_shape *g)
{
  *d = (dw_weight){.g = g};
  int64_t reach_h = (int64_t)(g->kh - 1) * g->dil_h, reach_w = (int64_t)(g->kw - 1) * g->dil_w;
  // Enough columns in a pass to pay for starting it.
  d->rows = (int32_t)FRT_MAX(1, FRT_MIN(FRT_MIN(MAX_ROWS, g->oh), (63 + g->ow) / g->ow));
  dw_ring_size(&d->ring, reach_h + 1 + (int64_t)(d->rows - 1) * g->stride_h,
               (g->ow - 1) * g->stride_w + reach_w + 1, g->left, g->w);
  d->threads = frt__team(g->n * g->c * FRT_MAX(g->h * g->w, g->oh * g->ow));
  dw_cut(&d->items, &d->ring, g->n, g->c, g->oh, d->threads);
  d->sums = dw_blocks(g->c) * g->kh * g->kw * FRT_VL;
  // Per thread: the sums, the ring, and dy's rows of a block that is not full.
  int64_t floats = d->sums + d->ring.blocks * d->ring.block + d->rows * g->ow * FRT_VL;
  d->per_thread = frt__round64((size_t)floats * 4) + 64;
}
// A row of dy's block as f32 vectors.
FRT_INLINE void copy_row(const bool bf16, const void *dy, int64_t ow, int64_t c, int64_t lanes,
                         float *copy)
{
  for (int64_t w = 0; w < ow; w++) {
    v_store(copy + w * FRT_VL, v_some(bf16, dy, w * c, lanes));
  }
}
static void item(const dw_weight *d, int64_t index, const void *x, const void *dy, float *sums,
                 float *ring)
{
  const frt_conv_shape *g = d->g;
  const dw_items *it = &d->items;
  int64_t chunk = index % it->chunks, n = index / it->chunks % it->n;
  int64_t group = index / it->chunks / it->n;
  int64_t b0 = group * d->ring.blocks, c0 = b0 * FRT_VL, filter = (int64_t)g->kh * g->kw;
  int32_t blocks = (int32_t)FRT_MIN(d->ring.blocks, dw_blocks(g->c) - b0);
  float *spare = ring + d->ring.blocks * d->ring.block;
  int64_t next = 0, end = FRT_MIN(g->oh, (chunk + 1) * it->rows);
  dw_pass p; // eight thousand bytes: not cleared
  p.ow = g->ow;
  for (int64_t r0 = chunk * it->rows; r0 < end; r0 += p.rows) {
    p.rows = FRT_MIN(d->rows, end - r0);
    int64_t low = FRT_MAX(0, r0 * g->stride_h - g->top);
    int64_t high = (r0 + p.rows - 1) * g->stride_h - g->top + (int64_t)(g->kh - 1) * g->dil_h;
    for (next = FRT_MAX(next, low); next <= FRT_MIN(high, g->h - 1); next++) {
      dw_ring_fill(&d->ring, d->load, g->bf16_x, ring,
                   v_at(g->bf16_x, x, (n * g->h + next) * g->w * g->c), g->c, c0, blocks,
                   next % d->ring.slots);
    }
    for (int32_t b = 0; b < blocks; b++) {
      const float *block = ring + b * d->ring.block;
      int64_t lanes = FRT_MIN(FRT_VL, g->c - c0 - b * FRT_VL);
      const bool part = lanes < FRT_VL || g->bf16_y;
      p.dy_step = part ? FRT_VL : g->c;
      for (int64_t r = 0; r < p.rows; r++) {
        for (int32_t i = 0; i < g->kh; i++) {
          int64_t s = (r0 + r) * g->stride_h - g->top + (int64_t)i * g->dil_h;
          int64_t slot = s < 0 || s >= g->h ? d->ring.slots : s % d->ring.slots;
          p.in[r][i] = block + slot * d->ring.row;
        }
        const void *from =
          v_at(g->bf16_y, dy, (n * g->oh + r0 + r) * g->ow * g->c + c0 + b * FRT_VL);
        float *copy = spare + r * g->ow * FRT_VL;
        if (part) {
          FRT_BY_BF16(g->bf16_y, copy_row, from, g->ow, g->c, lanes, copy);
        }
        p.dy[r] = part ? copy : from;
      }
      taps_all(g, &p, sums + (b0 + b) * filter * FRT_VL);
    }
  }
}
// Items are ordered by group first: thread t touches the groups of its share only.
static void groups_of(const dw_weight *d, int32_t t, int64_t *from, int64_t *to)
{
  int64_t a, b, per = d->items.n * d->items.chunks;
  frt__share(d->items.count, 1, t, d->threads, &a, &b);
  *from = a / per;
  *to = a < b ? (b - 1) / per + 1 : *from;
}
static void add_up(const dw_weight *d, const float *scratch, int64_t block, float *dweight)
{
  const frt_conv_shape *g = d->g;
  int64_t filter = (int64_t)g->kh * g->kw, lanes = FRT_MIN(FRT_VL, g->c - block * FRT_VL);
  int64_t group = block / d->ring.blocks;
  for (int64_t j = 0; j < filter; j++) {
    vf a = v_zero();
    for (int32_t t = 0; t < d->threads; t++) {
      int64_t from, to;
      groups_of(d, t, &from, &to);
      if (group >= from && group < to) {
        a += v_load(scratch + (size_t)t * d->per_thread / 4 + (block * filter + j) * FRT_VL);
      }
    }
    float lane[FRT_VL];
    v_store(lane, a);
    for (int64_t l = 0; l < lanes; l++) {
      dweight[(block * FRT_VL + l) * filter + j] = lane[l];
    }
  }
}

FRT_SIMD size_t FRT_K(depthwise_weight_scratch)(const frt_conv_shape *g)
{
  dw_weight d;
  weight_init(&d, g);
  return (size_t)d.threads * d.per_thread;
}
FRT_SIMD void FRT_K(depthwise_grad_weight)(const frt_conv_shape *g, const frt_load *load,
                                           const void *x, const void *dy, float *dweight,
                                           void *scratch)
{
  dw_weight d;
  weight_init(&d, g);
  d.load = load;
  int64_t filter = (int64_t)g->kh * g->kw;
#pragma omp parallel for num_threads(d.threads) schedule(static)
  for (int32_t t = 0; t < d.threads; t++) {
    float *sums = (float *)((char *)scratch + (size_t)t * d.per_thread), *ring = sums + d.sums;
    int64_t from, to, first, last;
    groups_of(&d, t, &first, &last);
    first *= d.ring.blocks;
    last = FRT_MIN(last * d.ring.blocks, dw_blocks(g->c));
    if (last > first) {
      size_t bytes = (size_t)((last - first) * filter * FRT_VL) * 4;
      memset(sums + first * filter * FRT_VL, 0, bytes);
    }
    dw_ring_clear(&d.ring, ring);
    frt__share(d.items.count, 1, t, d.threads, &from, &to);
    for (int64_t i = from; i < to; i++) {
      item(&d, i, x, dy, sums, ring);
    }
  }
#pragma omp parallel for num_threads(d.threads) schedule(static)
  for (int32_t t = 0; t < d.threads; t++) {
    int64_t from, to;
    frt__share(dw_blocks(g->c), 1, t, d.threads, &from, &to);
    for (int64_t b = from; b < to; b++) {
      add_up(&d, scratch, b, dweight);
    }
  }
}
