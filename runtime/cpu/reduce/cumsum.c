// cumsum.c -- running sums of f32 along one dimension, in double.
#include "cpu/reduce/lanes.h"
#include "ops/reduce/reduce.h"

static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  (void)scratch;
  const frt_lanes l = frt__lanes(&s->in[0]->shape, (int32_t)s->attr[FRT_CUMSUM_DIM]);
  const int64_t n = l.outer * l.step;
  const float *x = in[0];
  float *y = out[0];
#pragma omp parallel for schedule(static) if (n * l.n >= FRT_SMALL_LANES)
  for (int64_t i = 0; i < n; i++) {
    int64_t at = frt__lane_start(&l, i);
    double sum = 0;
    for (int64_t k = 0; k < l.n; k++, at += l.step) {
      sum += (double)x[at];
      y[at] = (float)sum;
    }
  }
  return FRT_OK;
}

FRT_KERNEL(cumsum) = {.name = "own", .can = frt__all_f32, .run = run};
