// bn.c -- batch norm over NHWC: statistics merged as (count, mean, M2) from tiles of shifted sums,
// and normalise + activation in one pass.
#include "cpu/norm/bn_simd.h"

// --- statistics ---------------------------------------------------------------------------------
// s = sum, q = sum of squares over `rows` rows of x minus the first row, which makes them safe:
// that row is one of those summed, so q can be at most `rows` times the M2 it is used for.
FRT_INLINE void tile_sums(const bool bf16, const void *x, int64_t rows, int64_t cf, float *s,
                          float *q)
{
  for (int64_t j = 0; j < cf; j += FRT_VL) {
    v_store(s + j, v_zero());
    v_store(q + j, v_zero());
  }
  int64_t r = 1;
  for (; r + 3 < rows; r += 4) {
    const int64_t a = r * cf, b = a + cf, c = b + cf, d = c + cf;
    for (int64_t j = 0; j < cf; j += FRT_VL) {
      vf shift = v_get(bf16, x, j);
      vf va = v_get(bf16, x, a + j) - shift, vb = v_get(bf16, x, b + j) - shift;
      vf vc = v_get(bf16, x, c + j) - shift, vd = v_get(bf16, x, d + j) - shift;
      v_store(s + j, v_load(s + j) + ((va + vb) + (vc + vd)));
      v_store(q + j, v_load(q + j) + (v_fma(va, va, vb * vb) + v_fma(vc, vc, vd * vd)));
    }
  }
  for (; r < rows; r++) {
    for (int64_t j = 0; j < cf; j += FRT_VL) {
      vf v = v_get(bf16, x, r * cf + j) - v_get(bf16, x, j);
      v_store(s + j, v_load(s + j) + v);
      v_store(q + j, v_fma(v, v, v_load(q + j)));
    }
  }
}
// Folded rows [from, to): mean and M2 of every column, in double.
FRT_INLINE void thread_stats(const bool bf16, const void *x, const bn_fold *f, int64_t from,
                             int64_t to, void *memory)
{
  double *mean = memory, *m2 = mean + f->cf;
  float *s = (float *)(m2 + f->cf), *q = s + f->cf;
  int64_t cf = f->cf;
  memset(mean, 0, (size_t)cf * 2 * sizeof(double));
  for (int64_t r = from; r < to; r += BN_TILE) {
    int64_t rows = FRT_MIN(BN_TILE, to - r);
    const void *tile = v_at(bf16, x, r * cf);
    tile_sums(bf16, tile, rows, cf, s, q);
    double n = (double)rows, before = (double)(r - from), all = before + n;
    double share = n / all, cross = n * before / all, each = 1 / n;
    for (int64_t j = 0; j < cf; j++) {
      double shifted = (double)s[j] * each,
             delta = (double)v_item(bf16, tile, j) + shifted - mean[j];
      mean[j] += delta * share;
      m2[j] += (double)q[j] - (double)s[j] * shifted + delta * delta * cross;
    }
  }
}
FRT_INLINE void stats(const bool bf16, const frt_bn *g, const void *x, const float *running_mean,
                      const float *running_var, float *mean, float *rstd, float *new_mean,
                      float *new_var, void *scratch)
{
  bn_fold f = bn_fold_of(g);
#pragma omp parallel for num_threads(f.threads) schedule(static)
  for (int32_t t = 0; t < f.threads; t++) {
    int64_t from, to;
    frt__share(f.rows, BN_TILE, t, f.threads, &from, &to);
    thread_stats(bf16, x, &f, from, to, bn_thread(scratch, &f, t));
  }
  double m = (double)g->m;
  const int64_t rest = f.rows * f.cf;
#pragma omp parallel for num_threads(f.threads) schedule(static)
  for (int64_t c = 0; c < g->c; c++) {
    double sum = 0, m2 = 0;
    for (int32_t t = 0; t < f.threads; t++) {
      const double *part = bn_thread(scratch, &f, t);
      int64_t from, to;
      frt__share(f.rows, BN_TILE, t, f.threads, &from, &to);
      for (int64_t j = c; j < f.cf; j += g->c) {
        sum += (double)(to - from) * part[j];
      }
    }
    for (int64_t j = c; j < f.rest; j += g->c) {
      sum += (double)v_item(bf16, x, rest + j);
    }
    double mu = sum / m;
    for (int32_t t = 0; t < f.threads; t++) {
      const double *part = bn_thread(scratch, &f, t);
      int64_t from, to;
      frt__share(f.rows, BN_TILE, t, f.threads, &from, &to);
      for (int64_t j = c; j < f.cf; j += g->c) {
        double off = part[j] - mu;
        m2 += part[f.cf + j] + (double)(to - from) * off * off;
      }
    }
    for (int64_t j = c; j < f.rest; j += g->c) {
      double off = (double)v_item(bf16, x, rest + j) - mu;
      m2 += off * off;
    }
    bn_moved(g, mu, m2, running_mean[c], running_var[c], mean + c, rstd + c, new_mean + c,
             new_var + c);
  }
}

FRT_SIMD void FRT_K(bn_stats)(const frt_bn *g, const void *x, const float *running_mean,
                              const float *running_var, float *mean, float *rstd, float *new_mean,
                              float *new_var, void *scratch)
{
  FRT_BY_BF16(g->bf16, stats, g, x, running_mean, running_var, mean, rstd, new_mean, new_var,
              scratch);
}

// --- normalise ----------------------------------------------------------------------------------
FRT_INLINE vf normal(const int act, const bool adds, vf x, vf residual, const float *mean,
                     const float *a, const float *b)
{
  vf y = v_fma(x - v_load(mean), v_load(a), v_load(b));
  if (adds) {
    y += residual;
  }
  return v_act(act, y);
}
FRT_INLINE void apply_rows(const int act, const bool bf16, const bool adds, const void *x,
                           const void *r, void *y, int64_t n, int64_t cf, const float *mean,
                           const float *a, const float *b)
{
  int64_t i = 0;
  for (; i + 1 < n; i += 2) {
    const int64_t first = i * cf, second = first + cf;
    for (int64_t j = 0; j < cf; j += FRT_VL) {
      vf r0 = adds ? v_get(bf16, r, first + j) : v_zero();
      vf r1 = adds ? v_get(bf16, r, second + j) : v_zero();
      vf x0 = v_get(bf16, x, first + j), x1 = v_get(bf16, x, second + j);
      v_put(bf16, y, first + j, normal(act, adds, x0, r0, mean + j, a + j, b + j));
      v_put(bf16, y, second + j, normal(act, adds, x1, r1, mean + j, a + j, b + j));
    }
  }
  for (int64_t j = 0; i < n && j < cf; j += FRT_VL) {
    int64_t at = i * cf + j;
    vf r0 = adds ? v_get(bf16, r, at) : v_zero();
    v_put(bf16, y, at, normal(act, adds, v_get(bf16, x, at), r0, mean + j, a + j, b + j));
  }
}
FRT_INLINE void apply_rest(const int act, const bool bf16, const bool adds, const void *x,
                           const void *r, void *y, int64_t n, const float *mean, const float *a,
                           const float *b)
{
  for (int64_t j = 0; j < n; j += FRT_VL) {
    int64_t lanes = FRT_MIN(FRT_VL, n - j);
    vf in = v_some(bf16, x, j, lanes), add = adds ? v_some(bf16, r, j, lanes) : v_zero();
    vf out = normal(act, adds, in, add, mean + j, a + j, b + j);
    v_put_some(bf16, y, j, out, lanes);
  }
}
FRT_INLINE void apply(const int act, const bool bf16, const bool adds, const frt_bn *g,
                      const void *x, const float *w, const float *b, const float *mean,
                      const float *rstd, const void *r, void *y, void *scratch)
{
  bn_fold f = bn_fold_of(g);
  float *pm = bn_param(scratch, &f, 0), *pa = bn_param(scratch, &f, 1);
  float *pb = bn_param(scratch, &f, 2);
  for (int64_t j = 0, c = 0; j < f.cf; j++, c = c + 1 == g->c ? 0 : c + 1) {
    pm[j] = mean[c];
    pa[j] = rstd[c] * w[c];
    pb[j] = b[c];
  }
#pragma omp parallel for num_threads(f.threads) schedule(static)
  for (int32_t t = 0; t < f.threads; t++) {
    int64_t from, to;
    frt__share(f.rows, BN_TILE, t, f.threads, &from, &to);
    int64_t at = from * f.cf;
    apply_rows(act, bf16, adds, v_at(bf16, x, at), adds ? v_at(bf16, r, at) : NULL,
               v_at_out(bf16, y, at), to - from, f.cf, pm, pa, pb);
  }
  int64_t at = f.rows * f.cf;
  apply_rest(act, bf16, adds, v_at(bf16, x, at), adds ? v_at(bf16, r, at) : NULL,
             v_at_out(bf16, y, at), f.rest, pm, pa, pb);
}
FRT_INLINE void apply_any(const int act, const bool bf16, const frt_bn *g, const void *x,
                          const float *w, const float *b, const float *mean, const float *rstd,
                          const void *r, void *y, void *scratch)
{
  if (r) {
    apply(act, bf16, true, g, x, w, b, mean, rstd, r, y, scratch);
  } else {
    apply(act, bf16, false, g, x, w, b, mean, rstd, NULL, y, scratch);
  }
}
FRT_INLINE void apply_as(const bool bf16, const frt_bn *g, const void *x, const float *w,
                         const float *b, const float *mean, const float *rstd, const void *r,
                         void *y, void *scratch)
{
  FRT_BY_ACT(g->act, apply_any, bf16, g, x, w, b, mean, rstd, r, y, scratch);
}

FRT_SIMD void FRT_K(bn_apply)(const frt_bn *g, const void *x, const float *w, const float *b,
                              const float *mean, const float *rstd, const void *residual, void *y,
                              void *scratch)
{
  FRT_BY_BF16(g->bf16, apply_as, g, x, w, b, mean, rstd, residual, y, scratch);
}
FRT_SIMD size_t FRT_K(bn_scratch)(const frt_bn *g)
{
  bn_fold f = bn_fold_of(g);
  return frt__round64((size_t)f.cf * BN_PARAMS * sizeof(float)) +
         (size_t)f.threads * bn_thread_bytes(&f);
}
