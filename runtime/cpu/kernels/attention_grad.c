// attention_grad.c -- the gradient of softmax(scale q k') v by q, k and v: scores and weights are
// computed again, a block of query rows at a time, from what the forward pass kept of each row.
//
//     p = e^(scale q k' - lse)    dv = p' dy    ds = scale p (dy v' - sum of p (dy v') over keys)
//     dq = ds k                   dk = ds' q
#include "cpu/kernels/attention.h"

// A thread's scratch.
typedef struct space {
  const void **row;
  void *keys_turned, *values_turned, *keys, *q, *dy;
  uint16_t *left, *ds, *pairs; // bf16: rows where they are copied, ds, the left side of dv and dk
  float *p, *dp, *made, *dk, *dv;
} space;

static size_t cut(const frt_attention *g, void *base, space *s)
{
  const int64_t rows = att_block(g), width = tile_padded(g->keys), columns = tile_padded(g->width);
  att_cut c = {base, 0};
  s->row = att_take(&c, sizeof *s->row * (size_t)frt__half_up(rows, 16));
  s->keys_turned = att_right(&c, g->half, g->width, g->keys);
  s->values_turned = att_right(&c, g->half, g->width, g->keys);
  s->keys = att_right(&c, g->half, g->keys, g->width);
  s->q = att_right(&c, g->half, rows, g->width);
  s->dy = att_right(&c, g->half, rows, g->width);
  s->left = g->half ? att_take(&c, 2 * (size_t)(rows * frt__half_up(g->width, 16))) : NULL;
  s->ds = g->half ? att_take(&c, 2 * (size_t)(rows * width)) : NULL;
  s->pairs = g->half ? att_take(&c, 2 * (size_t)(rows * frt__half_up(g->keys, 16))) : NULL;
  s->p = att_floats(&c, rows, width);
  s->dp = att_floats(&c, rows, width);
  s->made = att_floats(&c, rows, columns);
  s->dk = att_floats(&c, g->keys, columns);
  s->dv = att_floats(&c, g->keys, columns);
  return c.used;
}

size_t FRT_K(attention_grad_scratch)(const frt_attention *g)
{
  space s;
  return (size_t)att_team(g) * cut(g, NULL, &s);
}

// A row's scores become weights, dp becomes ds: there or, as bf16, at `ds`; zeros behind both.
FRT_INLINE void weigh(const bool half, float *p, float *dp, int64_t n, float scale, float lse,
                      uint16_t *ds)
{
  const vf by = v_set(scale), less = v_set(-lse);
  vf sum = v_zero();
  for (int64_t k = 0; k < n; k += FRT_VL) {
    const vf d = att_lanes(v_load(dp + k), n - k, v_zero());
    const vf e = att_lanes(v_exp(v_fma(v_load(p + k), by, less)), n - k, v_zero());
    v_store(p + k, e);
    v_store(dp + k, d);
    sum = v_fma(e, d, sum);
  }
  const vf mean = v_set(att_sum(sum));
  for (int64_t k = 0; k < n; k += FRT_VL) {
    const vf d = v_load(p + k) * (v_load(dp + k) - mean) * by;
    v_put(half, half ? (void *)ds : dp, k, d);
  }
}

FRT_INLINE void block(const bool half, const frt_attention *g, float scale, const space *s,
                      const void *q, const void *dy, int64_t rows, const float *lse, void *dq)
{
  const int64_t width = tile_padded(g->keys), columns = tile_padded(g->width);
  att_left(half, &g->q, q, rows, g->width, s->row, s->left);
  att_product(half, rows, g->keys, g->width, s->row, s->keys_turned, s->p, width);
  att_left(half, &g->y, dy, rows, g->width, s->row, s->left);
  att_product(half, rows, g->keys, g->width, s->row, s->values_turned, s->dp, width);
  for (int64_t r = 0; r < rows; r++) {
    weigh(half, s->p + r * width, s->dp + r * width, g->keys, scale, lse[r], s->ds + r * width);
  }
  const void *ds = half ? (const void *)s->ds : s->dp;
  att_pack(half, &g->y, dy, rows, g->width, false, s->dy);
  att_turned(half, g->keys, g->width, rows, s->p, false, width, s->dy, s->dv, columns, s->pairs);
  att_pack(half, &g->q, q, rows, g->width, false, s->q);
  att_turned(half, g->keys, g->width, rows, ds, half, width, s->q, s->dk, columns, s->pairs);
  att_pointers(half, ds, rows, (half ? 2 : sizeof(float)) * (size_t)width, s->row);
  att_product(half, rows, g->width, g->keys, s->row, s->keys, s->made, columns);
  att_store(&g->dq, s->made, columns, rows, g->width, NULL, dq);
}

FRT_INLINE void one(const bool half, const frt_attention *g, float scale, const void *q,
                    const void *k, const void *v, const void *dy, const float *lse, void *dq,
                    void *dk, void *dv, const space *s, int64_t item)
{
  const int64_t each = att_block(g), h = g->heads, columns = tile_padded(g->width);
  const void *key = att_at(k, &g->k, item, h, 0), *value = att_at(v, &g->v, item, h, 0);
  att_pack(half, &g->k, key, g->width, g->keys, true, s->keys_turned);
  att_pack(half, &g->v, value, g->width, g->keys, true, s->values_turned);
  att_pack(half, &g->k, key, g->keys, g->width, false, s->keys);
  memset(s->dk, 0, sizeof *s->dk * (size_t)(g->keys * columns));
  memset(s->dv, 0, sizeof *s->dv * (size_t)(g->keys * columns));
  for (int64_t row = 0; row < g->rows; row += each) {
    block(half, g, scale, s, att_at(q, &g->q, item, h, row), att_at(dy, &g->y, item, h, row),
          FRT_MIN(each, g->rows - row), lse + item * g->rows + row,
          (void *)att_at(dq, &g->dq, item, h, row));
  }
  att_store(&g->dk, s->dk, columns, g->keys, g->width, NULL,
            (void *)att_at(dk, &g->dk, item, h, 0));
  att_store(&g->dv, s->dv, columns, g->keys, g->width, NULL,
            (void *)att_at(dv, &g->dv, item, h, 0));
}

void FRT_K(attention_grad)(const frt_attention *g, float scale, const void *q, const void *k,
                           const void *v, const void *dy, const float *lse, void *dq, void *dk,
                           void *dv, void *scratch)
{
  const int64_t n = g->n * g->heads;
  const int32_t threads = att_team(g);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int32_t t = 0; t < threads; t++) {
    space s;
    const size_t bytes = cut(g, NULL, &s);
    cut(g, (char *)scratch + (size_t)t * bytes, &s);
    for (int64_t item = n * t / threads; item < n * (t + 1) / threads; item++) {
      FRT_BY_HALF(g->half, one, g, scale, q, k, v, dy, lse, dq, dk, dv, &s, item)
    }
  }
}
