// moments.c -- batch statistics where a map is made: the makers' parts become mean, 1 / standard
// deviation and the moved running statistics.
#include "cpu/norm/moments_simd.h"
#include "cpu/norm/bn_simd.h"

// Statistics of a map where it is made: a part (moments_bytes, zeroed) takes rows on the calling
// thread; all parts together give what bn_stats gives. A part: count, mean, M2, each [c].
FRT_SIMD size_t FRT_K(moments_bytes)(int64_t c)
{
  return frt__round64((size_t)c * 3 * sizeof(double));
}
FRT_SIMD void FRT_K(moments_rows)(const float *x, int64_t rows, int64_t c, double *part)
{
  moments_columns(x, rows, c, 0, c, part);
}
FRT_SIMD void FRT_K(moments_finish)(const frt_bn *g, int32_t parts, const void *part, size_t bytes,
                                    const float *running_mean, const float *running_var,
                                    float *mean, float *rstd, float *new_mean, float *new_var)
{
  for (int64_t c = 0; c < g->c; c++) {
    double sum = 0, m2 = 0;
    for (int32_t t = 0; t < parts; t++) {
      const double *p = (const double *)((const char *)part + (size_t)t * bytes) + c;
      sum += p[0] * p[g->c];
    }
    double mu = sum / (double)g->m;
    for (int32_t t = 0; t < parts; t++) {
      const double *p = (const double *)((const char *)part + (size_t)t * bytes) + c;
      double off = p[g->c] - mu;
      m2 += p[2 * g->c] + p[0] * off * off;
    }
    bn_moved(g, mu, m2, running_mean[c], running_var[c], mean + c, rstd + c, new_mean + c,
             new_var + c);
  }
}
