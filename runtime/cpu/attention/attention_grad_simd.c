// attention_grad.c -- the gradient of softmax(scale q k') v by q, k and v: scores and weights are
// computed again, a block of query rows at a time, from what the forward pass kept of each row.
//
//     p = e^(scale q k') / 2^lse    dv = p' dy    ds = scale p (dy v' - sum of p (dy v') over keys)
//     dq = ds k                   dk = ds' q
#include "cpu/attention/attention_simd.h"

// A thread's scratch.
typedef struct space {
  const void **row;
  void *keys_transposed, *values_transposed, *keys, *q, *dy;
  uint16_t *left, *ds, *pairs; // bf16: rows where they are copied, ds, the left side of dv and dk
  float *p, *dp, *made, *dk, *dv;
} space;

// Operands and results.
typedef struct whole {
  const void *q, *k, *v, *dy;
  const float *lse;
  void *dq, *dk, *dv;
  float scale;
} whole;

static size_t cut(const frt_attention *g, void *base, space *s)
{
  const int64_t rows = att_block(g), width = tile_padded(g->keys), columns = tile_padded(g->width);
  att_cut c = {base, 0};
  s->row = att_take(&c, sizeof *s->row * (size_t)frt__bf16_up(rows, 16));
  s->keys_transposed = att_right(&c, g->bf16, g->width, g->keys);
  s->values_transposed = att_right(&c, g->bf16, g->width, g->keys);
  s->keys = att_right(&c, g->bf16, g->keys, g->width);
  s->q = att_right(&c, g->bf16, rows, g->width);
  s->dy = att_right(&c, g->bf16, rows, g->width);
  s->left = g->bf16 ? att_take(&c, 2 * (size_t)(rows * frt__bf16_up(g->width, 16))) : NULL;
  s->ds = g->bf16 ? att_take(&c, 2 * (size_t)(rows * width)) : NULL;
  s->pairs = g->bf16 ? att_take(&c, 2 * (size_t)(rows * frt__bf16_up(g->keys, 16))) : NULL;
  s->p = att_floats(&c, rows, width);
  s->dp = att_floats(&c, rows, width);
  s->made = att_floats(&c, rows, columns);
  s->dk = att_floats(&c, g->keys, columns);
  s->dv = att_floats(&c, g->keys, columns);
  return c.used;
}

FRT_SIMD size_t FRT_K(attention_grad_scratch)(const frt_attention *g)
{
  space s;
  return (size_t)att_team(g) * cut(g, NULL, &s);
}

// A row's scores become weights, zeros behind them and dp. Returns sums of their products.
FRT_INLINE vf weights(float *p, float *dp, int64_t n, vf by, vf less)
{
  vf a = v_zero(), b = v_zero();
  int64_t k = 0;
  for (; k + 2 * FRT_VL <= n; k += 2 * FRT_VL) {
    const vf x = v_exp2(v_fma(v_load(p + k), by, less));
    const vf y = v_exp2(v_fma(v_load(p + k + FRT_VL), by, less));
    a = v_fma(x, v_load(dp + k), a);
    b = v_fma(y, v_load(dp + k + FRT_VL), b);
    v_store(p + k, x);
    v_store(p + k + FRT_VL, y);
  }
  for (; k < n; k += FRT_VL) {
    vf x = v_exp2(v_fma(v_load(p + k), by, less)), d = v_load(dp + k);
    if (k + FRT_VL > n) {
      x = att_lanes(x, n - k, v_zero());
      d = att_lanes(d, n - k, v_zero());
      v_store(dp + k, d);
    }
    a = v_fma(x, d, a);
    v_store(p + k, x);
  }
  return a + b;
}

// Rows of scores become weights, dp becomes ds: there or, as bf16, at s->ds.
FRT_INLINE void weigh(const bool bf16, const frt_attention *g, const whole *w, const space *s,
                      int64_t item, int64_t first, int64_t rows)
{
  const int64_t width = tile_padded(g->keys);
  const float *lse = w->lse + item * g->rows + first;
  const vf scale = v_set(w->scale), by = scale * ATT_LOG2E;
  for (int64_t row = 0; row < rows; row += FRT_VL) {
    const int64_t n = FRT_MIN(FRT_VL, rows - row);
    float sum[FRT_VL], *p = s->p + row * width, *dp = s->dp + row * width;
    vf x[FRT_VL] = {v_zero()};
    for (int64_t r = 0; r < n; r++) {
      x[r] = weights(p + r * width, dp + r * width, g->keys, by, v_set(-lse[row + r]));
    }
    v_store(sum, att_sums(x));
    for (int64_t r = 0; r < n; r++) {
      const vf mean = v_set(sum[r]);
      void *to = bf16 ? (void *)(s->ds + (row + r) * width) : dp + r * width;
      for (int64_t k = 0; k < g->keys; k += FRT_VL) {
        const int64_t at = r * width + k;
        v_put(bf16, to, k, v_load(p + at) * (v_load(dp + at) - mean) * scale);
      }
    }
  }
}

FRT_INLINE void block(const bool bf16, const frt_attention *g, const whole *w, const space *s,
                      int64_t item, int64_t row, int64_t rows)
{
  const int64_t width = tile_padded(g->keys), columns = tile_padded(g->width), h = g->heads;
  const void *q = att_at(w->q, &g->q, item, h, row), *dy = att_at(w->dy, &g->y, item, h, row);
  att_left(bf16, &g->q, q, rows, g->width, s->row, s->left);
  att_product(bf16, rows, g->keys, g->width, s->row, s->keys_transposed, s->p, width);
  att_left(bf16, &g->y, dy, rows, g->width, s->row, s->left);
  att_product(bf16, rows, g->keys, g->width, s->row, s->values_transposed, s->dp, width);
  weigh(bf16, g, w, s, item, row, rows);
  const void *ds = bf16 ? (const void *)s->ds : s->dp;
  att_pack(bf16, &g->y, dy, rows, g->width, false, s->dy);
  att_transposed(bf16, g->keys, g->width, rows, s->p, false, width, s->dy, s->dv, columns,
                 s->pairs);
  att_pack(bf16, &g->q, q, rows, g->width, false, s->q);
  att_transposed(bf16, g->keys, g->width, rows, ds, bf16, width, s->q, s->dk, columns, s->pairs);
  att_pointers(bf16, ds, rows, (bf16 ? 2 : sizeof(float)) * (size_t)width, s->row);
  att_product(bf16, rows, g->width, g->keys, s->row, s->keys, s->made, columns);
  att_store(&g->dq, s->made, columns, rows, g->width, NULL,
            (void *)att_at(w->dq, &g->dq, item, h, row));
}

FRT_INLINE void one(const bool bf16, const frt_attention *g, const whole *w, const space *s,
                    int64_t item)
{
  const int64_t each = att_block(g), h = g->heads, columns = tile_padded(g->width);
  const void *k = att_at(w->k, &g->k, item, h, 0), *v = att_at(w->v, &g->v, item, h, 0);
  att_pack(bf16, &g->k, k, g->width, g->keys, true, s->keys_transposed);
  att_pack(bf16, &g->v, v, g->width, g->keys, true, s->values_transposed);
  att_pack(bf16, &g->k, k, g->keys, g->width, false, s->keys);
  memset(s->dk, 0, sizeof *s->dk * (size_t)(g->keys * columns));
  memset(s->dv, 0, sizeof *s->dv * (size_t)(g->keys * columns));
  for (int64_t row = 0; row < g->rows; row += each) {
    block(bf16, g, w, s, item, row, FRT_MIN(each, g->rows - row));
  }
  att_store(&g->dk, s->dk, columns, g->keys, g->width, NULL,
            (void *)att_at(w->dk, &g->dk, item, h, 0));
  att_store(&g->dv, s->dv, columns, g->keys, g->width, NULL,
            (void *)att_at(w->dv, &g->dv, item, h, 0));
}

FRT_SIMD void FRT_K(attention_grad)(const frt_attention *g, float scale, const void *q,
                                    const void *k, const void *v, const void *dy, const float *lse,
                                    void *dq, void *dk, void *dv, void *scratch)
{
  const int64_t n = g->n * g->heads;
  const int32_t threads = att_team(g);
  const whole w = {q, k, v, dy, lse, dq, dk, dv, scale};
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int32_t t = 0; t < threads; t++) {
    space s;
    const size_t bytes = cut(g, NULL, &s);
    cut(g, (char *)scratch + (size_t)t * bytes, &s);
    for (int64_t item = n * t / threads; item < n * (t + 1) / threads; item++) {
      FRT_BY_BF16(g->bf16, one, g, &w, &s, item);
    }
  }
}
