// softmax.c -- e^x over its sum along one dimension.
#include "cpu/norm/softmax.h"
#include "cpu/kernels.h"
#include "ops/norm/norm.h"

static void lane(const float *x, float *y, int64_t n, int64_t step)
{
  const float top = frt__top(x, n, step);
  float sum = 0;
  for (int64_t k = 0; k < n * step; k += step) {
    y[k] = frt__exp(x[k] - top);
    sum += y[k];
  }
  const float scale = 1.0f / sum;
  for (int64_t k = 0; k < n; k++) {
    y[k * step] *= scale;
  }
}

static bool can(const frt_step *s)
{
  const frt_lanes l = frt__lanes(&s->in[0]->shape, (int32_t)s->attr[FRT_SOFTMAX_DIM]);
  return frt__all_f32(s) && frt__bf16(s->in[0]) == frt__bf16(s->out[0]) &&
         (!frt__bf16(s->in[0]) || l.step == 1);
}

// A row of floats for each thread.
static frt_status plan(frt_step *s)
{
  const int64_t n = frt__lanes(&s->in[0]->shape, (int32_t)s->attr[FRT_SOFTMAX_DIM]).n;
  s->scratch =
    frt__bf16(s->in[0]) ? (size_t)n * sizeof(float) * (size_t)FRT_MAX(1, frt_threads()) : 0;
  return FRT_OK;
}

static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  const frt_kernels *k = frt__kernels();
  const frt_lanes l = frt__lanes(&s->in[0]->shape, (int32_t)s->attr[FRT_SOFTMAX_DIM]);
  const int64_t n = l.outer * l.step;
  const int32_t threads = n * l.n >= FRT_SMALL_LANES ? FRT_MAX(1, frt_threads()) : 1;
  const size_t step = frt__item_bytes(s->in[0]) * (size_t)l.n;
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int32_t t = 0; t < threads; t++) {
    float *room = (float *)scratch + t * l.n;
    for (int64_t i = n * t / threads; i < n * (t + 1) / threads; i++) {
      if (l.step == 1) {
        const size_t at = (size_t)i * step;
        k->softmax(frt__bf16(s->in[0]), (const char *)in[0] + at, l.n, (char *)out[0] + at, room);
      } else {
        const int64_t at = frt__lane_start(&l, i);
        lane((const float *)in[0] + at, (float *)out[0] + at, l.n, l.step);
      }
    }
  }
  return FRT_OK;
}

FRT_KERNEL(softmax) = {
  .name = "own",
  .in_place = true,
  .can = can,
  .plan = plan,
  .run = run,
  .bf16_in = 1,
  .bf16_out = 1,
};
