// vmath.h -- vectorised log, tanh, erf, softplus and the rest of what chains need; relative errors
// below 1e-6, infinities and NaN as libm has them.
#pragma once
#include "cpu/chain/act_simd.h"

FRT_INLINE vf v_lanes(vf x, float (*f)(float))
{
  float lane[FRT_VL];
  v_store(lane, x);
  for (int32_t i = 0; i < FRT_VL; i++) {
    lane[i] = f(lane[i]);
  }
  return v_load(lane);
}
FRT_INLINE vf v_sqrt(vf x)
{
#if defined(__AVX512F__)
  return (vf)_mm512_sqrt_ps((__m512)x);
#elif defined(__AVX2__)
  return (vf)_mm256_sqrt_ps((__m256)x);
#else
  vf y = x;
  for (int32_t i = 0; i < FRT_VL; i++) {
    y[i] = sqrtf(x[i]);
  }
  return y;
#endif
}
FRT_INLINE vf v_floor(vf x)
{
#if defined(__AVX512F__)
  return (vf)_mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
#elif defined(__AVX2__)
  return (vf)_mm256_floor_ps((__m256)x);
#else
  vf y = x;
  for (int32_t i = 0; i < FRT_VL; i++) {
    y[i] = floorf(x[i]);
  }
  return y;
#endif
}
FRT_INLINE vf v_with_sign(vf size, vf sign)
{
  return (vf)(((vi)size & 0x7fffffff) | ((vi)sign & INT32_MIN));
}
// Natural logarithm after Cephes' logf (Moshier 1992), denormals included.
FRT_INLINE vf v_log(vf x)
{
  vi tiny = x < 1.17549435e-38f;
  vf scaled = v_select(tiny, x * 8388608.0f, x);
  vi bits = (vi)scaled;
  vf e = __builtin_convertvector((bits >> 23) - 126, vf);
  e = v_select(tiny, e - 23.0f, e);
  vf m = (vf)((bits & 0x007fffff) | 0x3f000000);
  vi low = m < 0.707106781186547524f;
  e = v_select(low, e - 1.0f, e);
  m = v_select(low, m + m, m) - 1.0f;
  vf z = m * m, p = v_set(7.0376836292e-2f);
  p = v_fma(p, m, v_set(-1.1514610310e-1f));
  p = v_fma(p, m, v_set(1.1676998740e-1f));
  p = v_fma(p, m, v_set(-1.2420140846e-1f));
  p = v_fma(p, m, v_set(1.4249322787e-1f));
  p = v_fma(p, m, v_set(-1.6668057665e-1f));
  p = v_fma(p, m, v_set(2.0000714765e-1f));
  p = v_fma(p, m, v_set(-2.4999993993e-1f));
  p = v_fma(p, m, v_set(3.3333331174e-1f));
  vf y = p * m * z;
  y = v_fma(e, v_set(-2.12194440e-4f), y);
  y = v_fma(z, v_set(-0.5f), y);
  y = v_fma(e, v_set(0.693359375f), m + y);
  y = v_select(x == 0.0f, v_set(-INFINITY), y);
  y = v_select(x == INFINITY, x, y);
  return v_select((x < 0.0f) | (x != x), v_set(NAN), y);
}
// Exact from the smallest to the largest: e / (1 + e) with e = e^-|x|.
FRT_INLINE vf v_sigmoid(vf x)
{
  vf e = v_exp(-v_abs(x)), d = 1.0f / (1.0f + e);
  return v_select(x < 0.0f, e * d, d);
}
FRT_INLINE vf v_tanh(vf x)
{
  vf a = v_abs(x), z = x * x;
  vf p = v_set(-5.70498872745e-3f);
  p = v_fma(p, z, v_set(2.06390887954e-2f));
  p = v_fma(p, z, v_set(-5.37397155531e-2f));
  p = v_fma(p, z, v_set(1.33314422036e-1f));
  p = v_fma(p, z, v_set(-3.33332819422e-1f));
  vf small = v_fma(p * z, x, x);
  vf large = v_with_sign(1.0f - 2.0f / (v_exp(a + a) + 1.0f), x);
  return v_select(a < 0.625f, small, large);
}
// After N. Juffa's erff: a polynomial below 0.93, 1 - e^p(|x|) above.
FRT_INLINE vf v_erf(vf x)
{
  vf t = v_min(v_abs(x), v_set(4.0f)), s = x * x, s2 = t * t;
  vf r = v_fma(v_set(-1.72853470e-5f), t, v_set(3.83197126e-4f));
  vf u = v_fma(v_set(-3.88396438e-3f), t, v_set(2.42546219e-2f));
  r = v_fma(r, s2, u);
  r = v_fma(r, t, v_set(-1.06777877e-1f));
  r = v_fma(r, t, v_set(-6.34846687e-1f));
  r = v_fma(r, t, v_set(-1.28717512e-1f));
  r = v_fma(r, t, -t);
  vf large = v_with_sign(1.0f - v_exp(r), x);
  vf q = v_set(-5.96761703e-4f);
  q = v_fma(q, s, v_set(4.99119423e-3f));
  q = v_fma(q, s, v_set(-2.67681349e-2f));
  q = v_fma(q, s, v_set(1.12819925e-1f));
  q = v_fma(q, s, v_set(-3.76125336e-1f));
  q = v_fma(q, s, v_set(1.28379166e-1f));
  vf small = v_fma(q, x, x);
  vf y = v_select(v_abs(x) > 0.927734375f, large, small);
  return v_select(x != x, x, y);
}
// The normal distribution, to 6e-8 of 1.
FRT_INLINE vf v_phi(vf x)
{
  return v_fma(v_erf(x * 0.70710678f), v_set(0.5f), v_set(0.5f));
}
// log(1 + u) for 0 <= u <= 1, right for small u too.
FRT_INLINE vf v_log1p(vf u)
{
  vf w = 1.0f + u, d = w - 1.0f;
  return v_select(d == 0.0f, u, v_log(w) * (u / v_select(d == 0.0f, v_set(1.0f), d)));
}
FRT_INLINE vf v_softplus(vf x)
{
  return v_max(x, v_zero()) + v_log1p(v_exp(-v_abs(x)));
}
// Any activation; f(ACT, ...) with it as a constant.
FRT_INLINE vf v_any_act(const int act, vf x)
{
  switch (act) {
  case FRT_ACT_SIGMOID:
    return v_sigmoid_fast(x);
  case FRT_ACT_GELU:
    return x * 0.5f * (v_erf(x * 0.70710678f) + 1.0f);
  default:
    return v_act(act, x);
  }
}
#define FRT_BY_ANY_ACT(kind, f, ...)                                                               \
  do {                                                                                             \
    switch (kind) {                                                                                \
    case FRT_ACT_SIGMOID:                                                                          \
      f(FRT_ACT_SIGMOID, __VA_ARGS__);                                                             \
      break;                                                                                       \
    case FRT_ACT_GELU:                                                                             \
      f(FRT_ACT_GELU, __VA_ARGS__);                                                                \
      break;                                                                                       \
    default:                                                                                       \
      FRT_BY_ACT(kind, f, __VA_ARGS__);                                                            \
    }                                                                                              \
  } while (0)
