// attention.c -- softmax(scale q k') v of every sample and head, a block of query rows at a time:
// its scores are in the cache only. What stays for the backward pass is the logarithm of each row's
// sum of powers.
#include "cpu/kernels/attention.h"

// A thread's scratch.
typedef struct space {
  const void **row;
  void *keys, *values;
  uint16_t *left, *powers; // bf16: rows of q where they are copied, powers
  float *scores, *made, *factor;
} space;

static size_t cut(const frt_attention *g, void *base, space *s)
{
  const int64_t rows = att_block(g), width = tile_padded(g->keys);
  att_cut c = {base, 0};
  s->row = att_take(&c, sizeof *s->row * (size_t)frt__half_up(rows, 16));
  s->keys = att_right(&c, g->half, g->width, g->keys);
  s->values = att_right(&c, g->half, g->keys, g->width);
  s->left = g->half ? att_take(&c, 2 * (size_t)(rows * frt__half_up(g->width, 16))) : NULL;
  s->powers = g->half ? att_take(&c, 2 * (size_t)(rows * width)) : NULL;
  s->scores = att_floats(&c, rows, width);
  s->made = att_floats(&c, rows, tile_padded(g->width));
  s->factor = att_floats(&c, rows, 1);
  return c.used;
}

size_t FRT_K(attention_scratch)(const frt_attention *g)
{
  space s;
  return (size_t)att_team(g) * cut(g, NULL, &s);
}

// A row's scores become powers of e, zeros behind them: here or, as bf16, at p. Returns what their
// sum has to be multiplied with to be 1, and the logarithm of the sum.
FRT_INLINE float raise(const bool half, float *s, int64_t n, float scale, uint16_t *p, float *lse)
{
  const vf by = v_set(scale), least = v_set(-INFINITY);
  vf a = least, sum = v_zero();
  for (int64_t k = 0; k < n; k += FRT_VL) {
    a = v_max(att_lanes(v_load(s + k) * by, n - k, least), a);
  }
  float top = -INFINITY;
  for (int32_t l = 0; l < FRT_VL; l++) {
    top = a[l] > top || a[l] != a[l] ? a[l] : top;
  }
  const vf less = v_set(-top);
  for (int64_t k = 0; k < n; k += FRT_VL) {
    const vf e = att_lanes(v_exp(v_fma(v_load(s + k), by, less)), n - k, v_zero());
    sum += e;
    v_put(half, half ? (void *)p : s, k, e);
  }
  const float all = att_sum(sum);
  *lse = top + logf(all);
  return 1.0f / all;
}

FRT_INLINE void block(const bool half, const frt_attention *g, float scale, const space *s,
                      const void *q, int64_t rows, void *y, float *lse)
{
  const int64_t width = tile_padded(g->keys), made = tile_padded(g->width);
  att_left(half, &g->q, q, rows, g->width, s->row, s->left);
  att_product(half, rows, g->keys, g->width, s->row, s->keys, s->scores, width);
  for (int64_t r = 0; r < rows; r++) {
    float log_sum;
    s->factor[r] =
      raise(half, s->scores + r * width, g->keys, scale, s->powers + r * width, &log_sum);
    if (lse) {
      lse[r] = log_sum;
    }
  }
  if (half) {
    att_pointers(true, s->powers, rows, 2 * (size_t)width, s->row);
  } else {
    att_pointers(false, s->scores, rows, sizeof(float) * (size_t)width, s->row);
  }
  att_product(half, rows, g->width, g->keys, s->row, s->values, s->made, made);
  att_store(&g->y, s->made, made, rows, g->width, s->factor, y);
}

FRT_INLINE void jobs(const bool half, const frt_attention *g, float scale, const void *q,
                     const void *k, const void *v, void *y, float *lse, const space *s,
                     int64_t from, int64_t to)
{
  const int64_t each = att_block(g), blocks = (g->rows + each - 1) / each;
  int64_t packed = -1;
  for (int64_t i = from; i < to; i++) {
    const int64_t item = i / blocks, row = i % blocks * each, h = g->heads;
    if (item != packed) {
      att_pack(half, &g->k, att_at(k, &g->k, item, h, 0), g->width, g->keys, true, s->keys);
      att_pack(half, &g->v, att_at(v, &g->v, item, h, 0), g->keys, g->width, false, s->values);
      packed = item;
    }
    block(half, g, scale, s, att_at(q, &g->q, item, h, row), FRT_MIN(each, g->rows - row),
          (void *)att_at(y, &g->y, item, h, row), lse ? lse + item * g->rows + row : NULL);
  }
}

void FRT_K(attention)(const frt_attention *g, float scale, const void *q, const void *k,
                      const void *v, void *y, float *lse, void *scratch)
{
  const int64_t each = att_block(g), n = g->n * g->heads * ((g->rows + each - 1) / each);
  const int32_t threads = att_team(g);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int32_t t = 0; t < threads; t++) {
    space s;
    const size_t bytes = cut(g, NULL, &s);
    cut(g, (char *)scratch + (size_t)t * bytes, &s);
    FRT_BY_HALF(g->half, jobs, g, scale, q, k, v, y, lse, &s, n * t / threads,
                n * (t + 1) / threads)
  }
}
