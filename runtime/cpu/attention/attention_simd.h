// attention.h -- what attention's forward and backward pass share: blocks of rows, both sides of
// their products and the products, f32 or (`bf16`) bf16 with sums in f32, on the calling thread.
#pragma once
#include "cpu/chain/vmath_simd.h"
#include "cpu/conv/bf16_simd.h"
#include "cpu/conv/tile_simd.h"
#include "cpu/transpose_simd.h"

// Rows of a block, at most and at least, and bytes of its scores.
enum { ATT_MOST = 56 / TILE_ROWS * TILE_ROWS, ATT_LEAST = TILE_ROWS + 2, ATT_BYTES = 128 << 10 };

// Powers are of 2, of scores times this.
#define ATT_LOG2E 1.44269504f

// Rows of all blocks but the last.
FRT_INLINE int64_t att_block(const frt_attention *g)
{
  const int64_t fit = ATT_BYTES / ((int64_t)sizeof(float) * FRT_MAX(g->keys, 1));
  const int64_t most = FRT_MAX(ATT_LEAST, FRT_MIN(ATT_MOST, fit));
  const int64_t count = FRT_MAX(1, (g->rows + most - 1) / most),
                rows = (g->rows + count - 1) / count;
  return g->bf16 ? frt__bf16_up(rows, FRT_BF16_ROWS) : rows;
}
FRT_INLINE int32_t att_team(const frt_attention *g)
{
  return frt__team(g->n * g->heads * g->rows * g->keys * g->width / 2);
}

// A thread's scratch, cut piece by piece; base NULL: counted only.
typedef struct att_cut {
  char *base;
  size_t used;
} att_cut;
FRT_INLINE void *att_take(att_cut *c, size_t bytes)
{
  void *at = c->base ? c->base + c->used : NULL;
  c->used += frt__round64(bytes);
  return at;
}
FRT_INLINE float *att_floats(att_cut *c, int64_t rows, int64_t columns)
{
  return att_take(c, sizeof(float) * (size_t)(frt__bf16_up(rows, 16) * columns));
}

// --- operands -----------------------------------------------------------------------------------
FRT_INLINE const void *att_at(const void *x, const frt_attention_part *p, int64_t item,
                              int64_t heads, int64_t row)
{
  return v_at(p->bf16, x, p->at + item / heads * p->sample + item % heads * p->head + row * p->row);
}

// Rows of k numbers as the left side of a product: pointers to where they lie or, where products
// of bf16 can't read them there, to copies in `room`.
FRT_INLINE void att_left(const bool bf16, const frt_attention_part *p, const void *x, int64_t rows,
                         int64_t k, const void **pointer, uint16_t *room)
{
  const int64_t ld = frt__bf16_up(k, 16), up = bf16 ? frt__bf16_up(rows, FRT_BF16_ROWS) : rows;
  const bool copy = bf16 && (!p->bf16 || k % 2 != 0);
  for (int64_t r = 0; r < up; r++) {
    const int64_t at = FRT_MIN(r, rows - 1);
    const void *from = v_at(p->bf16, x, at * p->row);
    pointer[r] = copy ? room + at * ld : from;
    for (int64_t j = 0; copy && r < rows && j < k; j += FRT_VL) {
      v_put(true, room, r * ld + j, v_some(p->bf16, from, j, k - j));
    }
  }
}
FRT_INLINE void att_pointers(const bool bf16, const void *x, int64_t rows, size_t bytes,
                             const void **pointer)
{
  const int64_t up = bf16 ? frt__bf16_up(rows, FRT_BF16_ROWS) : rows;
  for (int64_t r = 0; r < up; r++) {
    pointer[r] = (const char *)x + (size_t)FRT_MIN(r, rows - 1) * bytes;
  }
}

// --- the right side of a product: k rows of n numbers -------------------------------------------
FRT_INLINE void *att_right(att_cut *c, const bool bf16, int64_t k, int64_t n)
{
  return att_take(c, bf16 ? (size_t)(frt__bf16_even(k) * frt__bf16_up(n, 16)) * 2
                          : (size_t)(k * tile_padded(n)) * sizeof(float));
}
// Panels of columns of rows that lie so, or (transposed) of n rows of k numbers.
static void att_pack_rows(const float *x, int64_t ld, int64_t k, int64_t n, float *y)
{
  for (int64_t p = 0; p < tile_panels(n); p++) {
    const int64_t cols = tile_cols(n, p), vecs = tile_vecs(n, p);
    for (int64_t i = 0; i < k; i++) {
      for (int64_t v = 0; v < vecs; v++, y += FRT_VL) {
        const int64_t at = v * FRT_VL;
        v_store(y, v_some(false, x, i * ld + p * TILE_COLS + at, cols - at));
      }
    }
  }
}
static void att_pack_transposed(const float *x, int64_t ld, int64_t k, int64_t n, float *y)
{
  for (int64_t j = 0; j < n; j += FRT_VL) {
    const int64_t p = j / TILE_COLS, width = tile_vecs(n, p) * FRT_VL;
    float *to = y + p * TILE_COLS * k + j % TILE_COLS;
    for (int64_t i = 0; i < k; i += FRT_VL) {
      vf r[FRT_VL];
      for (int64_t o = 0; o < FRT_VL; o++) {
        r[o] = j + o < n ? v_some(false, x, (j + o) * ld + i, k - i) : v_zero();
      }
      v_transpose(r);
      for (int64_t o = 0; o < FRT_MIN(FRT_VL, k - i); o++) {
        v_store(to + (i + o) * width, r[o]);
      }
    }
  }
}
FRT_INLINE void att_pack(const bool bf16, const frt_attention_part *p, const void *x, int64_t k,
                         int64_t n, const bool transposed, void *y)
{
  if (bf16) {
    const frt_bf16_pack job = {
      .x = x, .ld = p->row, .k = k, .n = n, .bf16 = p->bf16, .transposed = transposed};
    FRT_K(bf16_pack)(&job, y);
  } else if (transposed) {
    att_pack_transposed(x, p->row, k, n, y);
  } else {
    att_pack_rows(x, p->row, k, n, y);
  }
}

// --- products -----------------------------------------------------------------------------------
// c[rows, n] = a b; whole vectors of c are written, and rows up to a multiple of 8.
FRT_INLINE void att_product(const bool bf16, int64_t rows, int64_t n, int64_t k,
                            const void *const *a, const void *b, float *c, int64_t ldc)
{
  if (bf16) {
    const frt_bf16_product job = {.rows = rows,
                                  .n = n,
                                  .k = frt__bf16_even(k),
                                  .segments = 1,
                                  .a = (const uint16_t *const *)a,
                                  .b = b,
                                  .c = c,
                                  .ldc = ldc};
    FRT_K(bf16_product)(&job);
    return;
  }
  const int64_t tiles = tile_count(rows);
  for (int64_t p = 0; p < tile_panels(n); p++) {
    const int64_t vecs = tile_vecs(n, p);
    const float *panel = (const float *)b + p * TILE_COLS * k;
    const float *ahead = p + 1 < tile_panels(n) ? panel + TILE_COLS * k : panel;
    for (int64_t t = 0; t < tiles; t++) {
      const int64_t from = rows * t / tiles, count = rows * (t + 1) / tiles - from;
      tile_fn *tile = FRT_K(tile)[vecs - 1][count - 1];
      tile(1, k, (const float *const *)a + from, panel, ahead, false,
           c + from * ldc + p * TILE_COLS, ldc);
    }
  }
}
// c[m, n] += a' b of a [k, m], rows lda apart, stored as a_bf16 says. room: for a as bf16 takes it.
FRT_INLINE void att_transposed(const bool bf16, int64_t m, int64_t n, int64_t k, const void *a,
                               const bool a_bf16, int64_t lda, const void *b, float *c, int64_t ldc,
                               uint16_t *room)
{
  if (bf16) {
    const frt_bf16_pack left = {.x = a, .ld = lda, .k = k, .n = m, .bf16 = a_bf16, .left = true};
    const frt_bf16_product job = {.rows = m,
                                  .n = n,
                                  .k = frt__bf16_even(k),
                                  .segments = 1,
                                  .a_pairs = room,
                                  .b = b,
                                  .c = c,
                                  .ldc = ldc,
                                  .add = true};
    FRT_K(bf16_pack)(&left, room);
    FRT_K(bf16_product)(&job);
    return;
  }
  const int64_t tiles = tile_count(m);
  for (int64_t p = 0; p < tile_panels(n); p++) {
    const int64_t vecs = tile_vecs(n, p);
    for (int64_t t = 0; t < tiles; t++) {
      const int64_t from = m * t / tiles, count = m * (t + 1) / tiles - from;
      tile_transposed_fn *tile = FRT_K(tile_transposed)[vecs - 1][count - 1];
      tile(k, (const float *)a + from, lda, (const float *)b + p * TILE_COLS * k, vecs * FRT_VL,
           true, c + from * ldc + p * TILE_COLS, ldc);
    }
  }
}

// --- results ------------------------------------------------------------------------------------
// Rows of k numbers to where they belong, each times its factor; factor NULL: as they are.
FRT_INLINE void att_store(const frt_attention_part *p, const float *from, int64_t ld, int64_t rows,
                          int64_t k, const float *factor, void *y)
{
  for (int64_t r = 0; r < rows; r++) {
    const vf by = v_set(factor ? factor[r] : 1.0f);
    for (int64_t j = 0; j < k; j += FRT_VL) {
      v_put_some(p->bf16, y, r * p->row + j, v_load(from + r * ld + j) * by, k - j);
    }
  }
}

// --- rows of scores -----------------------------------------------------------------------------
// The lanes of as many vectors as one has, added up (or the greatest of each): a lane for each.
FRT_INLINE vf att_sums(vf x[FRT_VL])
{
  v_transpose(x);
  for (int32_t n = FRT_VL / 2; n > 0; n /= 2) {
    for (int32_t i = 0; i < n; i++) {
      x[i] += x[i + n];
    }
  }
  return x[0];
}
FRT_INLINE vf att_greatest(vf x[FRT_VL])
{
  v_transpose(x);
  for (int32_t n = FRT_VL / 2; n > 0; n /= 2) {
    for (int32_t i = 0; i < n; i++) {
      x[i] = v_max(x[i], x[i + n]);
    }
  }
  return x[0];
}
// Lanes below n < FRT_VL; the rest is `other`.
FRT_INLINE vf att_lanes(vf x, int64_t n, vf other)
{
  vi lane;
  for (int32_t i = 0; i < FRT_VL; i++) {
    lane[i] = i;
  }
  return v_select(lane < (int32_t)n, x, other);
}
