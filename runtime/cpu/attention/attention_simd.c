// attention.c -- softmax(scale q k') v of every sample and head, a block of query rows at a time:
// its scores are in the cache only. What stays for the backward pass is log2 of each row's
// sum of powers.
#include "cpu/attention/attention_simd.h"

// A thread's scratch.
typedef struct space {
  const void **row;
  void *keys, *values;
  uint16_t *left, *powers; // bf16: rows of q where they are copied, powers
  float *scores, *made, *factor;
} space;

// Operands and results.
typedef struct whole {
  const void *q, *k, *v;
  void *y;
  float *lse;
  float scale;
} whole;

static size_t cut(const frt_attention *g, void *base, space *s)
{
  const int64_t rows = att_block(g), width = tile_padded(g->keys);
  att_cut c = {base, 0};
  s->row = att_take(&c, sizeof *s->row * (size_t)frt__bf16_up(rows, 16));
  s->keys = att_right(&c, g->bf16, g->width, g->keys);
  s->values = att_right(&c, g->bf16, g->keys, g->width);
  s->left = g->bf16 ? att_take(&c, 2 * (size_t)(rows * frt__bf16_up(g->width, 16))) : NULL;
  s->powers = g->bf16 ? att_take(&c, 2 * (size_t)(rows * width)) : NULL;
  s->scores = att_floats(&c, rows, width);
  s->made = att_floats(&c, rows, tile_padded(g->width));
  s->factor = att_floats(&c, rows, 1);
  return c.used;
}

// Attention. lse [n, heads, rows]: log2 of each row's sum of e^(scale q k'), NULL where
// nobody wants it.
FRT_SIMD size_t FRT_K(attention_scratch)(const frt_attention *g)
{
  space s;
  return (size_t)att_team(g) * cut(g, NULL, &s);
}

FRT_INLINE vf greatest(const float *s, int64_t n, vf by)
{
  const vf least = v_set(-INFINITY);
  vf a = least, b = least;
  int64_t k = 0;
  for (; k + 2 * FRT_VL <= n; k += 2 * FRT_VL) {
    a = v_max(v_load(s + k) * by, a);
    b = v_max(v_load(s + k + FRT_VL) * by, b);
  }
  for (; k + FRT_VL <= n; k += FRT_VL) {
    a = v_max(v_load(s + k) * by, a);
  }
  if (k < n) {
    b = v_max(att_lanes(v_load(s + k) * by, n - k, least), b);
  }
  return v_max(a, b);
}

// A row's scores become powers of e, zeros behind them: here or, as bf16, at p. Returns sums.
FRT_INLINE vf powers(const bool bf16, float *s, int64_t n, vf by, vf less, uint16_t *p)
{
  void *to = bf16 ? (void *)p : s;
  vf a = v_zero(), b = v_zero();
  int64_t k = 0;
  for (; k + 2 * FRT_VL <= n; k += 2 * FRT_VL) {
    const vf x = v_exp2(v_fma(v_load(s + k), by, less));
    const vf y = v_exp2(v_fma(v_load(s + k + FRT_VL), by, less));
    a += x;
    b += y;
    v_put(bf16, to, k, x);
    v_put(bf16, to, k + FRT_VL, y);
  }
  for (; k < n; k += FRT_VL) {
    vf x = v_exp2(v_fma(v_load(s + k), by, less));
    x = k + FRT_VL <= n ? x : att_lanes(x, n - k, v_zero());
    a += x;
    v_put(bf16, to, k, x);
  }
  return a + b;
}

// Rows of scores become powers. factor: what makes their sums 1.
FRT_INLINE void raise(const bool bf16, const frt_attention *g, const whole *w, const space *s,
                      int64_t item, int64_t first, int64_t rows)
{
  const int64_t width = tile_padded(g->keys);
  const vf by = v_set(w->scale * ATT_LOG2E);
  for (int64_t row = 0; row < rows; row += FRT_VL) {
    const int64_t n = FRT_MIN(FRT_VL, rows - row);
    float top[FRT_VL], *scores = s->scores + row * width;
    vf x[FRT_VL] = {v_zero()};
    for (int64_t r = 0; r < n; r++) {
      x[r] = greatest(scores + r * width, g->keys, by);
    }
    const vf tops = att_greatest(x);
    v_store(top, tops);
    for (int64_t r = 0; r < n; r++) {
      uint16_t *p = s->powers + (row + r) * width;
      x[r] = powers(bf16, scores + r * width, g->keys, by, v_set(-top[r]), p);
    }
    const vf sums = att_sums(x);
    v_store(s->factor + row, 1.0f / sums);
    if (w->lse) {
      v_put_some(false, w->lse, item * g->rows + first + row,
                 v_fma(v_log(sums), v_set(ATT_LOG2E), tops), n);
    }
  }
}

FRT_INLINE void block(const bool bf16, const frt_attention *g, const whole *w, const space *s,
                      int64_t item, int64_t row, int64_t rows)
{
  const int64_t width = tile_padded(g->keys), made = tile_padded(g->width);
  att_left(bf16, &g->q, att_at(w->q, &g->q, item, g->heads, row), rows, g->width, s->row, s->left);
  att_product(bf16, rows, g->keys, g->width, s->row, s->keys, s->scores, width);
  raise(bf16, g, w, s, item, row, rows);
  if (bf16) {
    att_pointers(true, s->powers, rows, 2 * (size_t)width, s->row);
  } else {
    att_pointers(false, s->scores, rows, sizeof(float) * (size_t)width, s->row);
  }
  att_product(bf16, rows, g->width, g->keys, s->row, s->values, s->made, made);
  att_store(&g->y, s->made, made, rows, g->width, s->factor,
            (void *)att_at(w->y, &g->y, item, g->heads, row));
}

FRT_INLINE void jobs(const bool bf16, const frt_attention *g, const whole *w, const space *s,
                     int64_t from, int64_t to)
{
  const int64_t each = att_block(g), blocks = (g->rows + each - 1) / each, h = g->heads;
  int64_t packed = -1;
  for (int64_t i = from; i < to; i++) {
    const int64_t item = i / blocks, row = i % blocks * each;
    if (item != packed) {
      att_pack(bf16, &g->k, att_at(w->k, &g->k, item, h, 0), g->width, g->keys, true, s->keys);
      att_pack(bf16, &g->v, att_at(w->v, &g->v, item, h, 0), g->keys, g->width, false, s->values);
      packed = item;
    }
    block(bf16, g, w, s, item, row, FRT_MIN(each, g->rows - row));
  }
}

FRT_SIMD void FRT_K(attention)(const frt_attention *g, float scale, const void *q, const void *k,
                               const void *v, void *y, float *lse, void *scratch)
{
  const int64_t each = att_block(g), n = g->n * g->heads * ((g->rows + each - 1) / each);
  const int32_t threads = att_team(g);
  const whole w = {q, k, v, y, lse, scale};
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int32_t t = 0; t < threads; t++) {
    space s;
    const size_t bytes = cut(g, NULL, &s);
    cut(g, (char *)scratch + (size_t)t * bytes, &s);
    FRT_BY_BF16(g->bf16, jobs, g, &w, &s, n * t / threads, n * (t + 1) / threads);
  }
}
