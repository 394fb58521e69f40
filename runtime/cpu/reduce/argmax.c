// argmax.c -- where the largest number lies along one dimension; the first one wins, NaN beats all.
#include "cpu/reduce/lanes.h"
#include "ops/reduce/reduce.h"

static int64_t argmax(const float *x, int64_t n, int64_t step)
{
  int64_t best = 0;
  float top = x[0];
  for (int64_t k = 1; k < n && top == top; k++) {
    float v = x[k * step];
    if (v > top || v != v) {
      top = v;
      best = k;
    }
  }
  return best;
}

static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  (void)scratch;
  const frt_lanes l = frt__lanes(&s->in[0]->shape, (int32_t)s->attr[FRT_ARGMAX_DIM]);
  const int64_t base = (int64_t)s->attr[FRT_ARGMAX_BASE], n = l.outer * l.step;
  const float *x = in[0];
  int32_t *y = out[0];
#pragma omp parallel for schedule(static) if (n * l.n >= FRT_SMALL_LANES)
  for (int64_t i = 0; i < n; i++) {
    y[i] = (int32_t)(argmax(x + frt__lane_start(&l, i), l.n, l.step) + base);
  }
  return FRT_OK;
}

FRT_KERNEL(argmax) = {.name = "own", .can = frt__all_f32, .run = run};
