// moments.h -- statistics of a map, added up by whoever makes it: count, mean and M2 of every
// channel in double, one such part per thread, merged in the threads' order (moments.c).
#pragma once
#include "cpu/vec.h"

// Sums of one vector of channels over at most 64 rows, shifted by the first of them as in bn.c.
typedef struct moments_sum {
  vf first, s, q;
} moments_sum;

FRT_INLINE moments_sum moments_start(vf first)
{
  return (moments_sum){first, v_zero(), v_zero()};
}
FRT_INLINE void moments_take(moments_sum *m, vf x)
{
  vf v = x - m->first;
  m->s += v;
  m->q = v_fma(v, v, m->q);
}
// Merges the sums of `rows` rows (the first included) with what `n` rows gave; returns n + rows.
FRT_INLINE double moments_merge(const moments_sum *m, int64_t rows, int64_t lanes, double n,
                                double *mean, double *m2)
{
  float sum[FRT_VL], square[FRT_VL], shift[FRT_VL];
  v_store(sum, m->s);
  v_store(square, m->q);
  v_store(shift, m->first);
  double k = (double)rows, each = 1 / k, all = n + k, share = k / all, cross = n * share;
  double a[FRT_VL], b[FRT_VL];
  for (int64_t l = 0; l < FRT_VL; l++) {
    double off = (double)sum[l] * each;
    a[l] = (double)shift[l] + off;
    b[l] = (double)square[l] - (double)sum[l] * off;
  }
  for (int64_t l = 0; l < lanes; l++) {
    double delta = a[l] - mean[l];
    mean[l] += delta * share;
    m2[l] += b[l] + delta * delta * cross;
  }
  return all;
}
// Adds `rows` rows of one vector of channels, `step` floats apart; begin: the first of them starts
// the sums.
FRT_INLINE moments_sum moments_rows_of(moments_sum a, bool begin, const float *x, int64_t step,
                                       int64_t rows, int64_t lanes)
{
  bool part = lanes < FRT_VL;
  if (begin) {
    a = moments_start(part ? v_load_n(x, lanes) : v_load(x));
  }
  moments_sum b = moments_start(a.first);
  int64_t r = begin;
  for (; part && r < rows; r++) {
    moments_take(&a, v_load_n(x + r * step, lanes));
  }
  for (; r + 1 < rows; r += 2) {
    moments_take(&a, v_load(x + r * step));
    moments_take(&b, v_load(x + (r + 1) * step));
  }
  if (r < rows) {
    moments_take(&a, v_load(x + r * step));
  }
  a.s += b.s;
  a.q += b.q;
  return a;
}
// Adds rows of columns [first, first + cols) of a map of c channels at x to a part of its
// statistics.
FRT_INLINE void moments_columns(const float *x, int64_t rows, int64_t c, int64_t first,
                                int64_t cols, double *part)
{
  enum { ROWS = 64 };
  for (int64_t r = 0; r < rows; r += ROWS) {
    const int64_t n = FRT_MIN(ROWS, rows - r);
    for (int64_t j = first; j < first + cols; j += FRT_VL) {
      const int64_t lanes = FRT_MIN(FRT_VL, first + cols - j);
      const moments_sum none = {0};
      const moments_sum sum = moments_rows_of(none, true, x + r * c + j, c, n, lanes);
      const double all = moments_merge(&sum, n, lanes, part[j], part + c + j, part + 2 * c + j);
      for (int64_t l = 0; l < lanes; l++) {
        part[j + l] = all;
      }
    }
  }
}
