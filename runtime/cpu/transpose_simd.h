// transpose_simd.h -- squares of 32-bit numbers transposed in registers: as many vectors as one has
// lanes.
#pragma once
#include "base/vec.h"

#if FRT_VL == 16
FRT_INLINE void v_transpose(vf x[FRT_VL])
{
  __m512i t[16], r[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32((__m512i)x[i], (__m512i)x[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32((__m512i)x[i], (__m512i)x[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
    t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    x[i] = (vf)_mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
    x[i + 8] = (vf)_mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
    x[i + 4] = (vf)_mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
    x[i + 12] = (vf)_mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd);
  }
}
#else
// Half of the lanes of both, one from each in turn.
#if FRT_VL == 8
#define FRT_LOW(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define FRT_HIGH(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#else
#define FRT_LOW(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define FRT_HIGH(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#endif
// Vectors dealt out so as often as it takes to halve their number to one.
FRT_INLINE void v_transpose(vf x[FRT_VL])
{
#pragma GCC unroll 3
  for (int round = 1; round < FRT_VL; round *= 2) {
    vf t[FRT_VL];
#pragma GCC unroll 4
    for (int i = 0; i < FRT_VL / 2; i++) {
      t[2 * i] = FRT_LOW(x[i], x[i + FRT_VL / 2]);
      t[2 * i + 1] = FRT_HIGH(x[i], x[i + FRT_VL / 2]);
    }
#pragma GCC unroll 8
    for (int i = 0; i < FRT_VL; i++) {
      x[i] = t[i];
    }
  }
}
#undef FRT_LOW
#undef FRT_HIGH
#endif
