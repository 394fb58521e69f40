// layer_norm.c -- rows brought to mean 0 and variance 1, scaled and shifted.
#include "cpu/kernels.h"
#include "cpu/reduce/lanes.h"
#include "ops/norm/norm.h"

static bool can(const frt_step *s)
{
  return frt__all_f32(s) && frt__bf16(s->in[0]) == frt__bf16(s->out[0]);
}

static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
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
  .can = can,
  .run = run,
  .bf16_in = 1,
  .bf16_out = 1,
};
