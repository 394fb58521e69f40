// bn_grad.c -- batch norm backward over NHWC through an activation, whose input is recomputed: one
// pass sums, one pass writes dx.
//
//   g = dy * act'(xhat * w + b)      db = sum g      dw = sum g * xhat
//   dx = w * rstd * (g - db / m - xhat * dw / m)
#include "cpu/norm/bn_simd.h"

FRT_INLINE vf at_input(const int act, vf x, vf dy, vf a, const float *b)
{
  if (act == FRT_ACT_NONE) {
    return dy;
  }
  return dy * v_act_grad(act, v_fma(x, a, v_load(b)));
}
// Rows that come soon.
FRT_INLINE void ask(const bool bf16, const void *x, const void *dy, int64_t at, int64_t cf)
{
  v_ask(bf16, x, at + 4 * cf);
  v_ask(bf16, x, at + 5 * cf);
  v_ask(bf16, dy, at + 4 * cf);
  v_ask(bf16, dy, at + 5 * cf);
}
// Adds over folded rows: s += g, q += g * (x - mean).
FRT_INLINE void add_rows(const int act, const bool bf16, const void *x, const void *dy, int64_t n,
                         int64_t cf, const float *mean, const float *a, const float *b, float *s,
                         float *q)
{
  int64_t r = 0;
  for (; r + 1 < n; r += 2) {
    const int64_t i0 = r * cf, i1 = i0 + cf;
    for (int64_t j = 0; j < cf; j += FRT_VL) {
      ask(bf16, x, dy, i0 + j, cf);
      vf m = v_load(mean + j), va = v_load(a + j);
      vf v0 = v_get(bf16, x, i0 + j) - m, v1 = v_get(bf16, x, i1 + j) - m;
      vf g0 = at_input(act, v0, v_get(bf16, dy, i0 + j), va, b + j);
      vf g1 = at_input(act, v1, v_get(bf16, dy, i1 + j), va, b + j);
      v_store(s + j, v_load(s + j) + (g0 + g1));
      v_store(q + j, v_load(q + j) + v_fma(g0, v0, g1 * v1));
    }
  }
  if (r < n) {
    for (int64_t j = 0; j < cf; j += FRT_VL) {
      vf v = v_get(bf16, x, r * cf + j) - v_load(mean + j);
      vf g = at_input(act, v, v_get(bf16, dy, r * cf + j), v_load(a + j), b + j);
      v_store(s + j, v_load(s + j) + g);
      v_store(q + j, v_fma(g, v, v_load(q + j)));
    }
  }
}
// dx = a * g + (x - mean) * k + d
FRT_INLINE void write_rows(const int act, const bool bf16, const void *x, const void *dy, void *dx,
                           int64_t n, int64_t cf, void *scratch, const bn_fold *f)
{
  const float *mean = bn_param(scratch, f, 0), *a = bn_param(scratch, f, 1);
  const float *b = bn_param(scratch, f, 2), *k = bn_param(scratch, f, 3);
  const float *d = bn_param(scratch, f, 4);
  int64_t r = 0;
  for (; r + 1 < n; r += 2) {
    const int64_t i0 = r * cf, i1 = i0 + cf;
    for (int64_t j = 0; j < cf; j += FRT_VL) {
      ask(bf16, x, dy, i0 + j, cf);
      vf m = v_load(mean + j), va = v_load(a + j), vk = v_load(k + j), vd = v_load(d + j);
      vf v0 = v_get(bf16, x, i0 + j) - m, v1 = v_get(bf16, x, i1 + j) - m;
      vf g0 = at_input(act, v0, v_get(bf16, dy, i0 + j), va, b + j);
      vf g1 = at_input(act, v1, v_get(bf16, dy, i1 + j), va, b + j);
      v_put(bf16, dx, i0 + j, v_fma(va, g0, v_fma(v0, vk, vd)));
      v_put(bf16, dx, i1 + j, v_fma(va, g1, v_fma(v1, vk, vd)));
    }
  }
  for (; r < n; r++) {
    for (int64_t j = 0; j < cf; j += FRT_VL) {
      vf va = v_load(a + j), v = v_get(bf16, x, r * cf + j) - v_load(mean + j);
      vf g = at_input(act, v, v_get(bf16, dy, r * cf + j), va, b + j);
      v_put(bf16, dx, r * cf + j, v_fma(va, g, v_fma(v, v_load(k + j), v_load(d + j))));
    }
  }
}
// The floats after the last folded row, with zeros behind them: one folded row in `spare` (2 cf).
FRT_INLINE void rest_row(const bool bf16, const void *x, int64_t n, int64_t cf, float *spare)
{
  for (int64_t j = 0; j < n; j++) {
    spare[j] = v_item(bf16, x, j);
  }
  memset(spare + n, 0, (size_t)(cf - n) * sizeof(float));
}
FRT_INLINE void thread_sums(const int act, const bool bf16, const void *x, const void *dy,
                            const bn_fold *f, int64_t from, int64_t to, void *scratch, void *memory)
{
  double *sum = memory, *cross = sum + f->cf;
  float *s = (float *)(cross + f->cf), *q = s + f->cf;
  memset(sum, 0, (size_t)f->cf * 2 * sizeof(double));
  for (int64_t r = from; r < to; r += BN_TILE) {
    memset(s, 0, (size_t)f->cf * 2 * sizeof(float));
    add_rows(act, bf16, v_at(bf16, x, r * f->cf), v_at(bf16, dy, r * f->cf),
             FRT_MIN(BN_TILE, to - r), f->cf, bn_param(scratch, f, 0), bn_param(scratch, f, 1),
             bn_param(scratch, f, 2), s, q);
    for (int64_t j = 0; j < f->cf; j++) {
      sum[j] += (double)s[j];
      cross[j] += (double)q[j];
    }
  }
}
// Sums over threads and folds, in order; the rest row's were left in the first thread's floats.
static void finish(const frt_bn *g, const bn_fold *f, const float *w, const float *rstd, float *dw,
                   float *db, void *scratch)
{
  const float *rs = (const float *)((double *)bn_thread(scratch, f, 0) + 2 * f->cf);
  float *a = bn_param(scratch, f, 1), *k = bn_param(scratch, f, 3), *d = bn_param(scratch, f, 4);
#pragma omp parallel for num_threads(f->threads) schedule(static)
  for (int64_t c = 0; c < g->c; c++) {
    double sum = 0, cross = 0;
    for (int32_t t = 0; t < f->threads; t++) {
      const double *part = bn_thread(scratch, f, t);
      for (int64_t j = c; j < f->cf; j += g->c) {
        sum += part[j];
        cross += part[f->cf + j];
      }
    }
    for (int64_t j = c; j < f->rest; j += g->c) {
      sum += (double)rs[j];
      cross += (double)rs[f->cf + j];
    }
    double r = (double)rstd[c], gain = r * (w == NULL ? 1 : (double)w[c]), m = (double)g->m;
    db[c] = (float)sum;
    dw[c] = (float)(cross * r);
    for (int64_t j = c; j < f->cf; j += g->c) {
      a[j] = (float)gain;
      k[j] = (float)(-gain * r * r * cross / m);
      d[j] = (float)(-gain * sum / m);
    }
  }
}
FRT_INLINE void grad(const int act, const bool bf16, const frt_bn *g, const void *x, const void *dy,
                     const float *w, const float *b, const float *mean, const float *rstd, void *dx,
                     float *dw, float *db, void *scratch)
{
  bn_fold f = bn_fold_of(g);
  float *pm = bn_param(scratch, &f, 0), *pa = bn_param(scratch, &f, 1);
  float *pb = bn_param(scratch, &f, 2);
  for (int64_t j = 0, c = 0; j < f.cf; j++, c = c + 1 == g->c ? 0 : c + 1) {
    pm[j] = mean[c];
    pa[j] = rstd[c] * (w == NULL ? 1 : w[c]);
    pb[j] = b == NULL ? 0 : b[c];
  }
#pragma omp parallel for num_threads(f.threads) schedule(static)
  for (int32_t t = 0; t < f.threads; t++) {
    int64_t from, to;
    frt__share(f.rows, BN_TILE, t, f.threads, &from, &to);
    thread_sums(act, bf16, x, dy, &f, from, to, scratch, bn_thread(scratch, &f, t));
  }
  // The rest: x, dy and the two sums, each one folded row. Where x is missing, dy = 0 makes g = 0.
  int64_t body = f.rows * f.cf;
  float *sums = (float *)((double *)bn_thread(scratch, &f, 0) + 2 * f.cf);
  float *rest_x = bn_param(scratch, &f, 3), *rest_dy = bn_param(scratch, &f, 4);
  if (f.rest > 0) {
    rest_row(bf16, v_at(bf16, x, body), f.rest, f.cf, rest_x);
    rest_row(bf16, v_at(bf16, dy, body), f.rest, f.cf, rest_dy);
    memset(sums, 0, (size_t)f.cf * 2 * sizeof(float));
    add_rows(act, false, rest_x, rest_dy, 1, f.cf, pm, pa, pb, sums, sums + f.cf);
  }
  finish(g, &f, w, rstd, dw, db, scratch);
#pragma omp parallel for num_threads(f.threads) schedule(static)
  for (int32_t t = 0; t < f.threads; t++) {
    int64_t from, to;
    frt__share(f.rows, BN_TILE, t, f.threads, &from, &to);
    const int64_t at = from * f.cf;
    write_rows(act, bf16, v_at(bf16, x, at), v_at(bf16, dy, at), v_at_out(bf16, dx, at), to - from,
               f.cf, scratch, &f);
  }
  if (f.rest > 0) {
    // The threads' sums are done with: their memory holds the last row.
    float *spare = bn_thread(scratch, &f, 0);
    rest_row(bf16, v_at(bf16, x, body), f.rest, f.cf, spare);
    rest_row(bf16, v_at(bf16, dy, body), f.rest, f.cf, spare + f.cf);
    write_rows(act, false, spare, spare + f.cf, spare + 2 * f.cf, 1, f.cf, scratch, &f);
    for (int64_t j = 0; j < f.rest; j += FRT_VL) {
      v_put_some(bf16, dx, body + j, v_load(spare + 2 * f.cf + j), f.rest - j);
    }
  }
}
FRT_INLINE void grad_as(const bool bf16, const frt_bn *g, const void *x, const void *dy,
                        const float *w, const float *b, const float *mean, const float *rstd,
                        void *dx, float *dw, float *db, void *scratch)
{
  FRT_BY_ACT(g->act, grad, bf16, g, x, dy, w, b, mean, rstd, dx, dw, db, scratch);
}
// dy is the gradient of act's output; b is read only when act is not NONE.
FRT_SIMD void FRT_K(bn_grad)(const frt_bn *g, const void *x, const void *dy, const float *w,
                             const float *b, const float *mean, const float *rstd, void *dx,
                             float *dw, float *db, void *scratch)
{
  FRT_BY_BF16(g->bf16, grad_as, g, x, dy, w, b, mean, rstd, dx, dw, db, scratch);
}
