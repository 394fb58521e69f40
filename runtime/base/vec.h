// vec.h -- one vector of floats, as wide as the instruction set being compiled, by GCC's vector
// extensions; intrinsics only for fused multiply-add, masked tails and rounding.
#pragma once
#include <stdint.h>

#include "base/isa.h"

#if defined(__AVX512F__)
#include <immintrin.h>
#define FRT_VL 16
#elif defined(__AVX2__)
#include <immintrin.h>
#define FRT_VL 8
#else
#define FRT_VL 4
#endif
#define FRT_VBYTES (FRT_VL * 4)

typedef float vf __attribute__((vector_size(FRT_VBYTES), may_alias));
typedef float vf_any __attribute__((vector_size(FRT_VBYTES), may_alias, aligned(4)));
typedef int32_t vi __attribute__((vector_size(FRT_VBYTES), may_alias));
typedef uint32_t vu __attribute__((vector_size(FRT_VBYTES), may_alias));

FRT_INLINE vf v_load(const float *p)
{
  return *(const vf_any *)p;
}
FRT_INLINE void v_store(float *p, vf x)
{
  *(vf_any *)p = x;
}
FRT_INLINE vf v_set(float x)
{
  return x - (vf){0};
}
FRT_INLINE vf v_zero(void)
{
  return (vf){0};
}
// The first n lanes (n < FRT_VL), zero elsewhere.
FRT_INLINE vf v_load_n(const float *p, int64_t n)
{
#if defined(__AVX512F__)
  return (vf)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#else
  float t[FRT_VL] = {0};
  for (int64_t i = 0; i < n; i++) {
    t[i] = p[i];
  }
  return v_load(t);
#endif
}
FRT_INLINE void v_store_n(float *p, vf x, int64_t n)
{
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)x);
#else
  float t[FRT_VL];
  v_store(t, x);
  for (int64_t i = 0; i < n; i++) {
    p[i] = t[i];
  }
#endif
}
// a * b + c
FRT_INLINE vf v_fma(vf a, vf b, vf c)
{
#if defined(__AVX512F__)
  return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__)
  return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
  return a * b + c;
#endif
}
// mask ? a : b, lanewise; masks are what comparisons give.
FRT_INLINE vf v_select(vi mask, vf a, vf b)
{
#if defined(__AVX512F__)
  return (vf)_mm512_mask_blend_ps(_mm512_movepi32_mask((__m512i)mask), (__m512)b, (__m512)a);
#elif defined(__AVX2__)
  return (vf)_mm256_blendv_ps((__m256)b, (__m256)a, (__m256)mask);
#else
  return (vf)((mask & (vi)a) | (~mask & (vi)b));
#endif
}
// The greater (smaller) one; NaN where x is NaN.
FRT_INLINE vf v_max(vf x, vf y)
{
#if defined(__AVX512F__)
  return (vf)_mm512_max_ps((__m512)y, (__m512)x);
#elif defined(__AVX2__)
  return (vf)_mm256_max_ps((__m256)y, (__m256)x);
#else
  return v_select(y > x, y, x);
#endif
}
FRT_INLINE vf v_min(vf x, vf y)
{
#if defined(__AVX512F__)
  return (vf)_mm512_min_ps((__m512)y, (__m512)x);
#elif defined(__AVX2__)
  return (vf)_mm256_min_ps((__m256)y, (__m256)x);
#else
  return v_select(y < x, y, x);
#endif
}
FRT_INLINE vf v_abs(vf x)
{
  return (vf)((vi)x & 0x7fffffff);
}
// To the nearest integer; |x| < 2^22.
FRT_INLINE vf v_round(vf x)
{
#if defined(__AVX512F__)
  return (vf)_mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#elif defined(__AVX2__)
  return (vf)_mm256_round_ps((__m256)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
  vf magic = v_set(12582912.0f);
  return (x + magic) - magic;
#endif
}
// Towards zero; |x| < 2^31.
FRT_INLINE vf v_trunc(vf x)
{
#if defined(__AVX512F__)
  return (vf)_mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
#elif defined(__AVX2__)
  return (vf)_mm256_round_ps((__m256)x, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
#else
  return __builtin_convertvector(__builtin_convertvector(x, vi), vf);
#endif
}
FRT_INLINE vi v_int(vf x)
{
  return __builtin_convertvector(x, vi);
}
