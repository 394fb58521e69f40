// layer_norm.c -- rows brought to mean 0 and variance 1, scaled and shifted. The variance is that
// of the centred row: a second pass over what is in the cache.
#include <math.h>

#include "cpu/lanes.h"

static float row_mean(const float *x, int64_t n)
{
  double sum = 0;
  for (int64_t i = 0; i < n; i += 256) {
    float part = 0;
    const int64_t end = FRT_MIN(i + 256, n);
#pragma omp simd reduction(+ : part)
    for (int64_t k = i; k < end; k++) {
      part += x[k];
    }
    sum += (double)part;
  }
  return (float)(sum / (double)n);
}

static double row_variance(const float *x, int64_t n, float mean)
{
  double sum = 0;
  for (int64_t i = 0; i < n; i += 256) {
    float part = 0;
    const int64_t end = FRT_MIN(i + 256, n);
#pragma omp simd reduction(+ : part)
    for (int64_t k = i; k < end; k++) {
      part += (x[k] - mean) * (x[k] - mean);
    }
    sum += (double)part;
  }
  return sum / (double)n;
}

static void normalise(const float *x, int64_t n, float mean, float rstd, const float *w,
                      const float *b, float *y)
{
  if (w && b) {
    for (int64_t k = 0; k < n; k++) {
      y[k] = (x[k] - mean) * rstd * w[k] + b[k];
    }
    return;
  }
  for (int64_t k = 0; k < n; k++) {
    y[k] = (x[k] - mean) * rstd * (w ? w[k] : 1.0f) + (b ? b[k] : 0.0f);
  }
}

static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  (void)scratch;
  const frt_shape *x = &s->in[0]->shape;
  const int64_t rows = frt__numel(&s->out[1]->shape), n = frt__numel(x) / FRT_MAX(rows, 1);
  const float *w = s->n_in > 1 ? in[1] : NULL, *b = s->n_in > 2 ? in[2] : NULL;
  float *y = out[0], *means = out[1], *rstds = out[2];
#pragma omp parallel for schedule(static) if (rows * n >= FRT_SMALL_LANES)
  for (int64_t i = 0; i < rows; i++) {
    const float *row = (const float *)in[0] + i * n, mean = row_mean(row, n);
    const float rstd = (float)(1.0 / sqrt(row_variance(row, n, mean) + s->attr[1]));
    normalise(row, n, mean, rstd, w, b, y + i * n);
    means[i] = mean;
    rstds[i] = rstd;
  }
  return FRT_OK;
}

FRT_KERNEL(layer_norm) = {.name = "own", .can = frt__all_f32, .run = run};
