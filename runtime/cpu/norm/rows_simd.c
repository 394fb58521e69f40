// rows.c -- layer norm, softmax and their gradients, a row of n numbers at a time on the calling
// thread. Rows are read again from the cache for each pass; sums are f32 over at most 4096 numbers,
// then double.
#include "cpu/chain/act_simd.h"

enum { STRETCH = 4096 };

// Lanes past the end of a row, as zeros.
FRT_INLINE vf only(vf x, int64_t lanes)
{
  float t[FRT_VL];
  if (lanes >= FRT_VL) {
    return x;
  }
  v_store(t, x);
  return v_load_n(t, lanes);
}
FRT_INLINE float add_up(vf x)
{
  float t[FRT_VL], sum = 0;
  v_store(t, x);
  for (int64_t l = 0; l < FRT_VL; l++) {
    sum += t[l];
  }
  return sum;
}

FRT_INLINE vf scaled(vf x, const float *w, int64_t at, int64_t lanes)
{
  if (w) {
    x *= v_some(false, w, at, lanes);
  }
  return x;
}

// --- layer norm ---------------------------------------------------------------------------------
FRT_INLINE double row_sum(const bool bf16, const void *x, int64_t n)
{
  double sum = 0;
  for (int64_t i = 0; i < n; i += STRETCH) {
    const int64_t end = FRT_MIN(i + STRETCH, n);
    vf a = v_zero(), b = v_zero();
    int64_t k = i;
    for (; k + 2 * FRT_VL <= end; k += 2 * FRT_VL) {
      a += v_get(bf16, x, k);
      b += v_get(bf16, x, k + FRT_VL);
    }
    for (; k < end; k += FRT_VL) {
      a += v_some(bf16, x, k, end - k);
    }
    sum += (double)add_up(a + b);
  }
  return sum;
}
FRT_INLINE double row_squares(const bool bf16, const void *x, int64_t n, vf mean)
{
  double sum = 0;
  for (int64_t i = 0; i < n; i += STRETCH) {
    const int64_t end = FRT_MIN(i + STRETCH, n);
    vf a = v_zero(), b = v_zero();
    int64_t k = i;
    for (; k + 2 * FRT_VL <= end; k += 2 * FRT_VL) {
      vf u = v_get(bf16, x, k) - mean, v = v_get(bf16, x, k + FRT_VL) - mean;
      a = v_fma(u, u, a);
      b = v_fma(v, v, b);
    }
    for (; k < end; k += FRT_VL) {
      vf u = only(v_some(bf16, x, k, end - k) - mean, end - k);
      a = v_fma(u, u, a);
    }
    sum += (double)add_up(a + b);
  }
  return sum;
}
FRT_INLINE void norm(const bool bf16, const void *x, int64_t n, float eps, const float *w,
                     const float *b, void *y, float *mean, float *rstd)
{
  *mean = (float)(row_sum(bf16, x, n) / (double)n);
  vf m = v_set(*mean);
  *rstd = (float)(1.0 / sqrt(row_squares(bf16, x, n, m) / (double)n + (double)eps));
  vf r = v_set(*rstd);
  for (int64_t k = 0; k < n; k += FRT_VL) {
    const int64_t lanes = n - k;
    vf v = (v_some(bf16, x, k, lanes) - m) * r;
    v = scaled(v, w, k, lanes);
    if (b) {
      v += v_some(false, b, k, lanes);
    }
    v_put_some(bf16, y, k, v, lanes);
  }
}
// A row of n numbers, maps stored as bf16 where `bf16`; all on the calling thread. w, b may be
// NULL; dw and db are added to; room: n floats, only where bf16. y may be x, dx either operand.
FRT_SIMD void FRT_K(layer_norm)(bool bf16, const void *x, int64_t n, float eps, const float *w,
                                const float *b, void *y, float *mean, float *rstd)
{
  FRT_BY_BF16(bf16, norm, x, n, eps, w, b, y, mean, rstd);
}
FRT_INLINE void norm_grad(const bool bf16, const void *x, const void *dy, int64_t n, const float *w,
                          float mean, float rstd, void *dx, float *dw, float *db)
{
  vf m = v_set(mean), r = v_set(rstd), sum = v_zero(), dot = v_zero();
  for (int64_t k = 0; k < n; k += FRT_VL) {
    const int64_t lanes = n - k;
    vf xhat = (v_some(bf16, x, k, lanes) - m) * r, d = v_some(bf16, dy, k, lanes);
    vf g = scaled(d, w, k, lanes);
    sum += g;
    dot = v_fma(g, xhat, dot);
    v_put_some(false, dw, k, v_fma(d, xhat, v_some(false, dw, k, lanes)), lanes);
    v_put_some(false, db, k, v_some(false, db, k, lanes) + d, lanes);
  }
  vf a = v_set(add_up(sum) / (float)n), b = v_set(add_up(dot) / (float)n);
  for (int64_t k = 0; k < n; k += FRT_VL) {
    const int64_t lanes = n - k;
    vf xhat = (v_some(bf16, x, k, lanes) - m) * r, d = v_some(bf16, dy, k, lanes);
    vf g = scaled(d, w, k, lanes);
    v_put_some(bf16, dx, k, r * (g - a - xhat * b), lanes);
  }
}
FRT_SIMD void FRT_K(layer_norm_grad)(bool bf16, const void *x, const void *dy, int64_t n,
                                     const float *w, float mean, float rstd, void *dx, float *dw,
                                     float *db)
{
  FRT_BY_BF16(bf16, norm_grad, x, dy, n, w, mean, rstd, dx, dw, db);
}

// --- softmax ------------------------------------------------------------------------------------
FRT_INLINE float greatest(const bool bf16, const void *x, int64_t n)
{
  float t[FRT_VL], top = -INFINITY;
  vf a = v_set(-INFINITY);
  int64_t k = 0;
  for (; k + FRT_VL <= n; k += FRT_VL) {
    a = v_max(v_get(bf16, x, k), a);
  }
  v_store(t, a);
  for (int64_t l = 0; l < FRT_VL; l++) {
    top = t[l] > top || t[l] != t[l] ? t[l] : top;
  }
  for (; k < n; k++) {
    float v = v_item(bf16, x, k);
    top = v > top || v != v ? v : top;
  }
  return top;
}
// Powers are kept as f32 in `room` until their sum is known.
FRT_INLINE void soft(const bool bf16, const void *x, int64_t n, void *y, float *room)
{
  vf top = v_set(greatest(bf16, x, n)), sum = v_zero();
  float *power = bf16 ? room : y;
  int64_t k = 0;
  for (; k + FRT_VL <= n; k += FRT_VL) {
    vf p = v_exp(v_get(bf16, x, k) - top);
    v_store(power + k, p);
    sum += p;
  }
  if (k < n) {
    vf p = v_exp(v_get_n(bf16, x, k, n - k) - top);
    v_store_n(power + k, p, n - k);
    sum += only(p, n - k);
  }
  vf scale = v_set(1.0f / add_up(sum));
  for (k = 0; k + FRT_VL <= n; k += FRT_VL) {
    v_put(bf16, y, k, v_load(power + k) * scale);
  }
  if (k < n) {
    v_put_n(bf16, y, k, v_load_n(power + k, n - k) * scale, n - k);
  }
}
FRT_SIMD void FRT_K(softmax)(bool bf16, const void *x, int64_t n, void *y, float *room)
{
  FRT_BY_BF16(bf16, soft, x, n, y, room);
}
FRT_INLINE void soft_grad(const bool bf16, const void *y, const void *dy, int64_t n, void *dx)
{
  vf sum = v_zero();
  for (int64_t k = 0; k < n; k += FRT_VL) {
    sum = v_fma(v_some(bf16, y, k, n - k), v_some(bf16, dy, k, n - k), sum);
  }
  vf all = v_set(add_up(sum));
  for (int64_t k = 0; k < n; k += FRT_VL) {
    vf v = v_some(bf16, y, k, n - k) * (v_some(bf16, dy, k, n - k) - all);
    v_put_some(bf16, dx, k, v, n - k);
  }
}
FRT_SIMD void FRT_K(softmax_grad)(bool bf16, const void *y, const void *dy, int64_t n, void *dx)
{
  FRT_BY_BF16(bf16, soft_grad, y, dy, n, dx);
}
