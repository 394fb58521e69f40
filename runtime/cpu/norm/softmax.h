// softmax.h -- the exponential softmax and log_softmax share, in a form the compiler vectorises.
#pragma once
#include "cpu/reduce/lanes.h"

// e^x, relative error below 3e-7; 0 below -87.3, NaN stays.
static inline float frt__exp(float x)
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
static inline float frt__top(const float *x, int64_t n, int64_t step)
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
