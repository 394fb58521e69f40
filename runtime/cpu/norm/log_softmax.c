// log_softmax.c -- x less the logarithm of the sum of e^x along one dimension.
#include "cpu/norm/softmax.h"
#include "ops/norm/norm.h"

static void lane(const float *x, float *y, int64_t n, int64_t step)
{
  const float top = frt__top(x, n, step);
  float sum = 0;
  if (step == 1) {
#pragma omp simd reduction(+ : sum)
    for (int64_t k = 0; k < n; k++) {
      sum += frt__exp(x[k] - top);
    }
  } else {
    for (int64_t k = 0; k < n; k++) {
      sum += frt__exp(x[k * step] - top);
    }
  }
  const float log_sum = logf(sum);
  for (int64_t k = 0; k < n; k++) {
    y[k * step] = x[k * step] - top - log_sum;
  }
}

static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  (void)scratch;
  const frt_lanes l = frt__lanes(&s->in[0]->shape, (int32_t)s->attr[FRT_SOFTMAX_DIM]);
  const int64_t n = l.outer * l.step;
  const float *x = in[0];
  float *y = out[0];
#pragma omp parallel for schedule(static) if (n * l.n >= FRT_SMALL_LANES)
  for (int64_t i = 0; i < n; i++) {
    const int64_t at = frt__lane_start(&l, i);
    lane(x + at, y + at, l.n, l.step);
  }
  return FRT_OK;
}

FRT_KERNEL(log_softmax) = {.name = "own", .in_place = true, .can = frt__all_f32, .run = run};
