// layer_norm.c -- layer norm and its gradient, by rows.
#include "cpu/kernels.h"
#include "cpu/reduce/lanes.h"
#include "ops/norm/norm.h"

// Rows brought to mean 0 and variance 1, scaled and shifted.
static bool can_layer_norm(const frt_step *s)
{
  return frt__all_f32(s) && frt__bf16(s->in[0]) == frt__bf16(s->out[0]);
}

static frt_status run_layer_norm(const frt_step *s, void *const *in, void *const *out,
                                 void *scratch)
{
  (void)scratch;
  const frt_kernels *k = frt__kernels();
  const int64_t rows = frt__numel(&s->out[1]->shape);
  const int64_t n = frt__numel(&s->in[0]->shape) / FRT_MAX(rows, 1);
  const size_t step = frt__item_bytes(s->in[0]) * (size_t)n;
  const float *w = s->n_in > 1 ? in[1] : NULL, *b = s->n_in > 2 ? in[2] : NULL;
  float *mean = out[1], *rstd = out[2];
#pragma omp parallel for schedule(static) if (rows * n >= FRT_SMALL_LANES)
  for (int64_t i = 0; i < rows; i++) {
    k->layer_norm(frt__bf16(s->in[0]), (const char *)in[0] + (size_t)i * step, n,
                  (float)s->attr[FRT_LAYER_NORM_EPS], w, b, (char *)out[0] + (size_t)i * step,
                  &mean[i], &rstd[i]);
  }
  return FRT_OK;
}

FRT_KERNEL(layer_norm) = {
  .name = "own",
  .can = can_layer_norm,
  .run = run_layer_norm,
  .bf16_in = 1,
  .bf16_out = 1,
};

// Gradient of layer_norm in one pass over x and dy. Rows are split into a fixed number of parts,
// each with its own sums for the scale and the shift.
enum { X, DY, WEIGHT, MEAN, RSTD, N_PART = 16 };

static bool can_layer_norm_grad(const frt_step *s)
{
  return frt__all_f32(s) && frt__bf16(s->in[X]) == frt__bf16(s->in[DY]) &&
         frt__bf16(s->in[X]) == frt__bf16(s->out[0]);
}

static frt_status plan_layer_norm_grad(frt_step *s)
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

static frt_status run_layer_norm_grad(const frt_step *s, void *const *in, void *const *out,
                                      void *scratch)
{
  const frt_kernels *k = frt__kernels();
  const int64_t count = frt__numel(&s->in[MEAN]->shape), n = frt__numel(&s->out[1]->shape);
  const size_t step = frt__item_bytes(s->in[X]) * (size_t)n;
  const float *mean = in[MEAN], *rstd = in[RSTD];
  float *parts = scratch;
#pragma omp parallel for schedule(static) if (count * n >= FRT_SMALL_LANES)
  for (int64_t p = 0; p < N_PART; p++) {
    float *dw = parts + p * 2 * n;
    memset(dw, 0, sizeof *dw * 2 * (size_t)n);
    for (int64_t i = count * p / N_PART; i < count * (p + 1) / N_PART; i++) {
      const size_t at = (size_t)i * step;
      k->layer_norm_grad(frt__bf16(s->in[X]), (const char *)in[X] + at, (const char *)in[DY] + at,
                         n, in[WEIGHT], mean[i], rstd[i], (char *)out[0] + at, dw, dw + n);
    }
  }
  add_parts(parts, n, out[1]);
  add_parts(parts + n, n, out[2]);
  return FRT_OK;
}

FRT_KERNEL(layer_norm_grad) = {
  .name = "own",
  .can = can_layer_norm_grad,
  .plan = plan_layer_norm_grad,
  .run = run_layer_norm_grad,
  .bf16_in = 3,
  .bf16_out = 1,
};
