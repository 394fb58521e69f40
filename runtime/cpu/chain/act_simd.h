// act.h -- vectorised exp, sigmoid and the activations kernels can take into their own pass.
#pragma once
#include "cpu/vec.h"

// 2^n for whole n; exact where 2^n is normal, and by two factors down to the smallest denormal.
FRT_INLINE vf v_scale(vf x, vf n)
{
#if defined(__AVX512F__)
  return (vf)_mm512_scalef_ps((__m512)x, (__m512)n);
#else
  vi k = v_int(n), bf16 = k >> 1;
  vf a = (vf)((bf16 + 127) << 23), b = (vf)((k - bf16 + 127) << 23);
  return x * a * b;
#endif
}
// e^x, relative error below 2e-7; 0 and infinity at the ends, NaN stays.
FRT_INLINE vf v_exp(vf x)
{
  vf c = v_min(v_max(x, v_set(-105.0f)), v_set(90.0f));
  vf n = v_round(c * 1.44269504f);
  vf r = v_fma(n, v_set(-0.693145751953125f), c);
  r = v_fma(n, v_set(-1.42860677e-6f), r);
  vf p = v_set(1.9875691500e-4f);
  p = v_fma(p, r, v_set(1.3981999507e-3f));
  p = v_fma(p, r, v_set(8.3334519073e-3f));
  p = v_fma(p, r, v_set(4.1665795894e-2f));
  p = v_fma(p, r, v_set(1.6666665459e-1f));
  p = v_fma(p, r, v_set(0.5f));
  p = v_fma(p, r * r, r + 1.0f);
  return v_scale(p, n);
}
// 2^f, |f| <= 1/2, relative error below 2e-7.
FRT_INLINE vf v_exp2_part(vf f)
{
  vf p = v_set(1.5403530e-4f);
  p = v_fma(p, f, v_set(1.3333558e-3f));
  p = v_fma(p, f, v_set(9.6181291e-3f));
  p = v_fma(p, f, v_set(5.5504109e-2f));
  p = v_fma(p, f, v_set(2.4022651e-1f));
  p = v_fma(p, f, v_set(6.9314718e-1f));
  return v_fma(p, f, v_set(1.0f));
}
// 2^x, x < 127: 0 below the smallest number, NaN stays.
FRT_INLINE vf v_exp2(vf x)
{
  vf t = v_max(x, v_set(-152.0f)), n = v_round(t);
  return v_scale(v_exp2_part(t - n), n);
}
// 1 / (1 + e^-x) for activations: one exponential of base 2 and one division. Relative error 3e-7
// above -87, where it stops falling (1.6e-38).
FRT_INLINE vf v_sigmoid_fast(vf x)
{
  vf t = v_max(x, v_set(-87.0f)) * -1.44269504f;
  vf n = v_round(t);
#if !defined(__AVX512F__)
  n = v_max(n, v_set(-126.0f));
  t = v_max(t, v_set(-126.0f));
#endif
  vf p = v_exp2_part(t - n);
#if defined(__AVX512F__)
  vf e = v_scale(p, n);
#else
  vf e = p * (vf)((v_int(n) + 127) << 23);
#endif
  return 1.0f / (e + 1.0f);
}

FRT_INLINE vf v_act(const int act, vf x)
{
  switch (act) {
  case FRT_ACT_SILU:
    return x * v_sigmoid_fast(x);
  case FRT_ACT_RELU:
    return v_max(x, v_zero());
  case FRT_ACT_RELU6:
    return v_min(v_max(x, v_zero()), v_set(6.0f));
  default:
    return x;
  }
}
// Derivative of the activation at x; at a kink the side where it is zero.
FRT_INLINE vf v_act_grad(const int act, vf x)
{
  switch (act) {
  case FRT_ACT_SILU: {
    vf s = v_sigmoid_fast(x);
    return v_fma(x * s, 1.0f - s, s);
  }
  case FRT_ACT_RELU:
    return v_select(x > 0.0f, v_set(1.0f), v_zero());
  case FRT_ACT_RELU6:
    return v_select((x > 0.0f) & (x < 6.0f), v_set(1.0f), v_zero());
  default:
    return v_set(1.0f);
  }
}
// Both, of one exponential.
FRT_INLINE vf v_act_both(const int act, vf x, vf *grad)
{
  if (act == FRT_ACT_SILU) {
    const vf s = v_sigmoid_fast(x), y = x * s;
    *grad = v_fma(y, 1.0f - s, s);
    return y;
  }
  *grad = v_act_grad(act, x);
  return v_act(act, x);
}
// f(ACT, ...) with the activation of batch norms as a constant: the compiler makes each its own
// loop.
#define FRT_BY_ACT(kind, f, ...)                                                                   \
  do {                                                                                             \
    switch (kind) {                                                                                \
    case FRT_ACT_SILU:                                                                             \
      f(FRT_ACT_SILU, __VA_ARGS__);                                                                \
      break;                                                                                       \
    case FRT_ACT_RELU:                                                                             \
      f(FRT_ACT_RELU, __VA_ARGS__);                                                                \
      break;                                                                                       \
    case FRT_ACT_RELU6:                                                                            \
      f(FRT_ACT_RELU6, __VA_ARGS__);                                                               \
      break;                                                                                       \
    default:                                                                                       \
      f(FRT_ACT_NONE, __VA_ARGS__);                                                                \
      break;                                                                                       \
    }                                                                                              \
  } while (0)
