// softmax.c -- softmax, its gradient, and log_softmax.
#include "cpu/kernels.h"
#include "cpu/reduce/lanes.h"
#include "ops/norm/norm.h"

// The exponential softmax and log_softmax share, in a form the compiler vectorises.
// Inlined always: sums around it are vectors then, in their order.
// e^x, relative error below 3e-7; 0 below -87.3, NaN stays.
FRT_INLINE float exp_of(float x)
{
  union {
    int32_t i;
    float f;
  } power;
  float c = x > 88.0f ? 88.0f : x;
  float t = c > -87.3f ? c : -87.3f;                       // of what is not a number too
  float n = (t * 1.44269504f + 12582912.0f) - 12582912.0f; // to the nearest whole
  float r = t - n * 0.693145751953125f;
  r = r - n * 1.42860677e-6f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 0.5f;
  p = p * r * r + r + 1.0f;
  power.i = ((int32_t)n + 127) << 23;
  float y = c == c ? p * power.f : c;
  return c < -87.3f ? 0.0f : y;
}

// A lane's largest number.
FRT_INLINE float largest(const float *x, int64_t n, int64_t step)
{
  float top = -INFINITY;
  if (step == 1) {
#pragma omp simd reduction(max : top)
    for (int64_t k = 0; k < n; k++) {
      top = x[k] > top ? x[k] : top;
    }
    return top;
  }
  for (int64_t k = 0; k < n; k++) {
    top = x[k * step] > top ? x[k * step] : top;
  }
  return top;
}

// E^x over its sum along one dimension.
static void lane_softmax(const float *x, float *y, int64_t n, int64_t step)
{
  const float top = largest(x, n, step);
  float sum = 0;
  for (int64_t k = 0; k < n * step; k += step) {
    y[k] = exp_of(x[k] - top);
    sum += y[k];
  }
  const float scale = 1.0f / sum;
  for (int64_t k = 0; k < n; k++) {
    y[k * step] *= scale;
  }
}

static bool can_softmax(const frt_step *s)
{
  const frt_lanes l = frt__lanes(&s->in[0]->shape, (int32_t)s->attr[FRT_SOFTMAX_DIM]);
  return frt__all_f32(s) && frt__bf16(s->in[0]) == frt__bf16(s->out[0]) &&
         (!frt__bf16(s->in[0]) || l.step == 1);
}

// A row of floats for each thread.
static frt_status plan_softmax(frt_step *s)
{
  const int64_t n = frt__lanes(&s->in[0]->shape, (int32_t)s->attr[FRT_SOFTMAX_DIM]).n;
  s->scratch =
    frt__bf16(s->in[0]) ? (size_t)n * sizeof(float) * (size_t)FRT_MAX(1, frt_threads()) : 0;
  return FRT_OK;
}

static frt_status run_softmax(const frt_step *s, void *const *in, void *const *out, void *scratch)
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
        lane_softmax((const float *)in[0] + at, (float *)out[0] + at, l.n, l.step);
      }
    }
  }
  return FRT_OK;
}

FRT_KERNEL(softmax) = {
  .name = "own",
  .in_place = true,
  .can = can_softmax,
  .plan = plan_softmax,
  .run = run_softmax,
  .bf16_in = 1,
  .bf16_out = 1,
};

// The gradient of softmax along the last dimension.
static bool can_softmax_grad(const frt_step *s)
{
  const bool bf16 = frt__bf16(s->in[0]);
  return frt__all_f32(s) && bf16 == frt__bf16(s->in[1]) && bf16 == frt__bf16(s->out[0]) &&
         frt__lanes(&s->in[0]->shape, (int32_t)s->attr[FRT_SOFTMAX_DIM]).step == 1;
}

static frt_status run_softmax_grad(const frt_step *s, void *const *in, void *const *out,
                                   void *scratch)
{
  (void)scratch;
  const frt_kernels *k = frt__kernels();
  const frt_lanes l = frt__lanes(&s->in[0]->shape, (int32_t)s->attr[FRT_SOFTMAX_DIM]);
  const size_t step = frt__item_bytes(s->in[0]) * (size_t)l.n;
#pragma omp parallel for schedule(static) if (l.outer * l.n >= FRT_SMALL_LANES)
  for (int64_t i = 0; i < l.outer; i++) {
    const size_t at = (size_t)i * step;
    k->softmax_grad(frt__bf16(s->in[0]), (const char *)in[0] + at, (const char *)in[1] + at, l.n,
                    (char *)out[0] + at);
  }
  return FRT_OK;
}

FRT_KERNEL(softmax_grad) = {
  .name = "own",
  .in_place = true,
  .can = can_softmax_grad,
  .run = run_softmax_grad,
  .bf16_in = 3,
  .bf16_out = 1,
};

// X less the logarithm of the sum of e^x along one dimension.
static void lane_log_softmax(const float *x, float *y, int64_t n, int64_t step)
{
  const float top = largest(x, n, step);
  float sum = 0;
  if (step == 1) {
#pragma omp simd reduction(+ : sum)
    for (int64_t k = 0; k < n; k++) {
      sum += exp_of(x[k] - top);
    }
  } else {
    for (int64_t k = 0; k < n; k++) {
      sum += exp_of(x[k * step] - top);
    }
  }
  const float log_sum = logf(sum);
  for (int64_t k = 0; k < n; k++) {
    y[k * step] = x[k * step] - top - log_sum;
  }
}

static frt_status run_log_softmax(const frt_step *s, void *const *in, void *const *out,
                                  void *scratch)
{
  (void)scratch;
  const frt_lanes l = frt__lanes(&s->in[0]->shape, (int32_t)s->attr[FRT_SOFTMAX_DIM]);
  const int64_t n = l.outer * l.step;
  const float *x = in[0];
  float *y = out[0];
#pragma omp parallel for schedule(static) if (n * l.n >= FRT_SMALL_LANES)
  for (int64_t i = 0; i < n; i++) {
    const int64_t at = frt__lane_start(&l, i);
    lane_log_softmax(x + at, y + at, l.n, l.step);
  }
  return FRT_OK;
}

FRT_KERNEL(log_softmax) = {
  .name = "own", .in_place = true, .can = frt__all_f32, .run = run_log_softmax};
