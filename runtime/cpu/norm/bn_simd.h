// bn.h -- what the batch norm kernels share: rows are folded so that a row is whole vectors, and
// per-channel numbers are repeated to match.
#pragma once
#include "cpu/chain/act_simd.h"

// m rows of c channels seen as `rows` rows of `cf` = fold * c floats, a multiple of FRT_VL, and
// `rest` floats over. Column j belongs to channel j % c.
typedef struct bn_fold {
  int64_t fold, cf, rows, rest;
  int32_t threads;
} bn_fold;

enum { BN_TILE = 64, BN_PARAMS = 5 }; // folded rows summed in float; folded arrays of parameters

FRT_INLINE bn_fold bn_fold_of(const frt_bn *g)
{
  int64_t fold = FRT_VL;
  while (fold > 1 && g->c * (fold / 2) % FRT_VL == 0) {
    fold /= 2;
  }
  bn_fold f = {.fold = fold, .cf = fold * g->c, .rows = g->m / fold};
  f.rest = g->m % fold * g->c;
  f.threads = frt__team(g->m * g->c);
  return f;
}
// Scratch: the folded parameters, then per thread two rows of floats and two of doubles.
FRT_INLINE float *bn_param(void *scratch, const bn_fold *f, int32_t k)
{
  return (float *)scratch + k * f->cf;
}
FRT_INLINE size_t bn_thread_bytes(const bn_fold *f)
{
  return frt__round64((size_t)f->cf * (2 * sizeof(float) + 2 * sizeof(double)));
}
FRT_INLINE void *bn_thread(void *scratch, const bn_fold *f, int32_t t)
{
  size_t params = frt__round64((size_t)f->cf * BN_PARAMS * sizeof(float));
  return (char *)scratch + params + (size_t)t * bn_thread_bytes(f);
}
// What a channel's mean and sum of squared distances from it become.
FRT_INLINE void bn_moved(const frt_bn *g, double mu, double m2, float running_mean,
                         float running_var, float *mean, float *rstd, float *new_mean,
                         float *new_var)
{
  double m = (double)g->m, k = (double)g->momentum;
  m2 = m2 < 0 ? 0 : m2;
  *mean = (float)mu;
  *rstd = (float)(1 / sqrt(m2 / m + (double)g->eps));
  *new_mean = (float)((1 - k) * (double)running_mean + k * mu);
  *new_var = (float)((1 - k) * (double)running_var + k * (m2 / (g->m > 1 ? m - 1 : 1)));
}
