// layer_norm_grad.c -- gradient of layer_norm in one pass over x and dy. Rows are split into a
// fixed number of parts, each with its own sums for the scale and the shift.
#include "cpu/lanes.h"

enum { X, DY, WEIGHT, MEAN, RSTD, N_PART = 16 };

typedef struct rows {
  int64_t n;
  const float *x, *dy, *w, *mean, *rstd;
  float *dx, *dw, *db;
} rows;

static void one_row(const rows *r, int64_t i)
{
  const int64_t n = r->n;
  const float *x = r->x + i * n, *dy = r->dy + i * n, *w = r->w;
  const float mean = r->mean[i], rstd = r->rstd[i];
  float *dx = r->dx + i * n, *dw = r->dw, *db = r->db, sum = 0, dot = 0;
#pragma omp simd reduction(+ : sum, dot)
  for (int64_t k = 0; k < n; k++) {
    const float xhat = (x[k] - mean) * rstd, g = w ? dy[k] * w[k] : dy[k];
    sum += g;
    dot += g * xhat;
    dw[k] += dy[k] * xhat;
    db[k] += dy[k];
  }
  sum /= (float)n;
  dot /= (float)n;
#pragma omp simd
  for (int64_t k = 0; k < n; k++) {
    const float xhat = (x[k] - mean) * rstd, g = w ? dy[k] * w[k] : dy[k];
    dx[k] = rstd * (g - sum - xhat * dot);
  }
}

static frt_status plan(frt_step *s)
{
  s->scratch = sizeof(float) * 2 * N_PART * (size_t)frt__numel(&s->out[1]->shape);
  return FRT_OK;
}

static void add_parts(const float *parts, int64_t n, float *y)
{
  for (int64_t k = 0; k < n; k++) {
    double sum = 0;
    for (int64_t p = 0; p < N_PART; p++) {
      sum += (double)parts[p * 2 * n + k];
    }
    y[k] = (float)sum;
  }
}

static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  const int64_t count = frt__numel(&s->in[MEAN]->shape), n = frt__numel(&s->out[1]->shape);
  float *parts = scratch;
#pragma omp parallel for schedule(static) if (count * n >= FRT_SMALL_LANES)
  for (int64_t p = 0; p < N_PART; p++) {
    float *dw = parts + p * 2 * n;
    const rows r = {n, in[X], in[DY], in[WEIGHT], in[MEAN], in[RSTD], out[0], dw, dw + n};
    memset(dw, 0, sizeof *dw * 2 * (size_t)n);
    for (int64_t i = count * p / N_PART; i < count * (p + 1) / N_PART; i++) {
      one_row(&r, i);
    }
  }
  add_parts(parts, n, out[1]);
  add_parts(parts + n, n, out[2]);
  return FRT_OK;
}

FRT_KERNEL(layer_norm_grad) = {.name = "own", .can = frt__all_f32, .plan = plan, .run = run};
