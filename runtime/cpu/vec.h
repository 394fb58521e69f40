// vec.h -- vectors of floats (base/vec.h), maps stored in bf16, and the shares of work that threads
// take.
#pragma once
#include <math.h>

#include "base/vec.h"
#include "cpu/kernels.h"

// Maps may be stored as bf16 (`bf16`): read exactly, written to the nearest even. `at` counts
// numbers. Only the instruction set with bf16 knows how; others are never asked.
#if defined(__AVX512BF16__)
#define FRT_BF16 1
#else
#define FRT_BF16 0
#endif
FRT_INLINE vf v_get(const bool bf16, const void *p, int64_t at)
{
#if FRT_BF16
  if (bf16) {
    const __m256i x = _mm256_loadu_si256((const void *)((const uint16_t *)p + at));
    return (vf)_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16);
  }
#else
  (void)bf16;
#endif
  return v_load((const float *)p + at);
}
FRT_INLINE vf v_get_n(const bool bf16, const void *p, int64_t at, int64_t n)
{
#if FRT_BF16
  if (bf16) {
    const __m256i x =
      _mm256_maskz_loadu_epi16((__mmask16)((1u << n) - 1), (const uint16_t *)p + at);
    return (vf)_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16);
  }
#else
  (void)bf16;
#endif
  return v_load_n((const float *)p + at, n);
}
FRT_INLINE void v_put(const bool bf16, void *p, int64_t at, vf x)
{
#if FRT_BF16
  if (bf16) {
    _mm256_storeu_si256((void *)((uint16_t *)p + at), (__m256i)_mm512_cvtneps_pbh((__m512)x));
    return;
  }
#else
  (void)bf16;
#endif
  v_store((float *)p + at, x);
}
FRT_INLINE void v_put_n(const bool bf16, void *p, int64_t at, vf x, int64_t n)
{
#if FRT_BF16
  if (bf16) {
    _mm256_mask_storeu_epi16((uint16_t *)p + at, (__mmask16)((1u << n) - 1),
                             (__m256i)_mm512_cvtneps_pbh((__m512)x));
    return;
  }
#else
  (void)bf16;
#endif
  v_store_n((float *)p + at, x, n);
}
// The first `lanes` of a vector, where fewer than FRT_VL may exist; a single number.
FRT_INLINE vf v_some(const bool bf16, const void *p, int64_t at, int64_t lanes)
{
  return lanes >= FRT_VL ? v_get(bf16, p, at) : v_get_n(bf16, p, at, lanes);
}
FRT_INLINE void v_put_some(const bool bf16, void *p, int64_t at, vf x, int64_t lanes)
{
  if (lanes >= FRT_VL) {
    v_put(bf16, p, at, x);
  } else {
    v_put_n(bf16, p, at, x, lanes);
  }
}
FRT_INLINE float v_item(const bool bf16, const void *p, int64_t at)
{
  uint32_t bits;
  float x;
  if (!bf16) {
    return ((const float *)p)[at];
  }
  bits = (uint32_t)((const uint16_t *)p)[at] << 16;
  memcpy(&x, &bits, sizeof x);
  return x;
}
#if FRT_BF16
// The halves of a vector of bf16, number by number side by side; two vectors of floats likewise.
FRT_INLINE __m512i v_zip(__m512i x)
{
  const __m512i low = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  return _mm512_permutexvar_epi16(
    _mm512_or_si512(low, _mm512_slli_epi32(_mm512_add_epi32(low, _mm512_set1_epi32(16)), 16)), x);
}
FRT_INLINE __m512i v_pairs(vf a, vf b)
{
  return v_zip((__m512i)_mm512_cvtne2ps_pbh((__m512)b, (__m512)a));
}
// Numbers [0, 16) (upper: [16, 32)) of two vectors of bf16, side by side.
FRT_INLINE __m512i v_zip_two(const bool upper, __m512i a, __m512i b)
{
  const __m512i low = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  const __m512i from = _mm512_add_epi32(low, _mm512_set1_epi32(upper ? 16 : 0));
  return _mm512_permutex2var_epi16(
    a, _mm512_or_si512(from, _mm512_slli_epi32(_mm512_add_epi32(from, _mm512_set1_epi32(32)), 16)),
    b);
}
#endif
// f(BF16, ...) with how maps are stored as a constant.
#if FRT_BF16
#define FRT_BY_BF16(bf16, f, ...)                                                                  \
  do {                                                                                             \
    if (bf16) {                                                                                    \
      f(true, __VA_ARGS__);                                                                        \
    } else {                                                                                       \
      f(false, __VA_ARGS__);                                                                       \
    }                                                                                              \
  } while (0)
#else
#define FRT_BY_BF16(bf16, f, ...)                                                                  \
  do {                                                                                             \
    (void)(bf16);                                                                                  \
    f(false, __VA_ARGS__);                                                                         \
  } while (0)
#endif
// Item `at` of a map.
FRT_INLINE const void *v_at(const bool bf16, const void *p, int64_t at)
{
  return (const char *)p + at * (bf16 ? 2 : 4);
}
FRT_INLINE void *v_at_out(const bool bf16, void *p, int64_t at)
{
  return (char *)p + at * (bf16 ? 2 : 4);
}
// Asks for item `at` of a map, which will be read soon: passes over maps that do not fit a cache
// run up to twice as fast than on what the processor asks for by itself. It may lie past the end.
FRT_INLINE void v_ask(const bool bf16, const void *p, int64_t at)
{
  __builtin_prefetch(v_at(bf16, p, at), 0, 3);
}

// --- work for threads ---------------------------------------------------------------------------
// The t-th of n equal shares of [0, total), in whole multiples of `unit`.
FRT_INLINE void frt__share(int64_t total, int64_t unit, int32_t t, int32_t n, int64_t *from,
                           int64_t *to)
{
  int64_t units = (total + unit - 1) / unit;
  *from = FRT_MIN(total, units * t / n * unit);
  *to = FRT_MIN(total, units * (t + 1) / n * unit);
}
// Threads for work of that many floats: one where starting more would cost more than it saves.
FRT_INLINE int32_t frt__team(int64_t floats)
{
  int32_t n = frt_threads();
  return floats < 32768 || n < 1 ? 1 : n;
}
FRT_INLINE size_t frt__round64(size_t bytes)
{
  return (bytes + 63) & ~(size_t)63;
}
