// resample.c -- the two passes of a resize in 22-bit fixed point, rounded to 8 bits by each, as
// Pillow's. Across is done as down is: 16 rows are turned on their side, so that one weight serves
// 48 neighbouring bytes.
#include "image/kernels.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

enum { SIDE = FRT__ACROSS_ROWS, COLUMN = 3 * SIDE };

FRT_INLINE uint8_t clip8(int32_t v)
{
  v >>= FRT__WEIGHT_BITS;
  return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

// --- WIDE neighbouring sums
// -----------------------------------------------------------------------
#if defined(__AVX512BW__)
enum { WIDE = 64 };
typedef __m512i wide;
#define V(f) _mm512_##f
#define W(f) _mm512_##f##_si512
#elif defined(__AVX2__)
enum { WIDE = 32 };
typedef __m256i wide;
#define V(f) _mm256_##f
#define W(f) _mm256_##f##_si256
#else
enum { WIDE = 48 };
#endif

// out[i] = the sum over k < n of p[k * step + i] by its weight, i < WIDE.
#ifdef V
// Two bytes under each other by two halves of their weights; bytes are interleaved within 128 bits,
// and packing undoes that.
FRT_INLINE void sums(const uint8_t *p, size_t step, const frt__taps *t, const int32_t n,
                     uint8_t *out)
{
  wide zero = W(setzero)(), low[4], high[4];
  for (int32_t i = 0; i < 4; i++) {
    low[i] = V(set1_epi32)(1 << (FRT__WEIGHT_BITS - 1)), high[i] = zero;
  }
  for (int32_t k = 0; k < n; k += 2, p += 2 * step, t++) {
    wide a = W(loadu)((const void *)p), b = k + 1 < n ? W(loadu)((const void *)(p + step)) : zero;
    wide c = V(unpacklo_epi8)(a, b), d = V(unpackhi_epi8)(a, b);
    wide pair[4] = {V(unpacklo_epi8)(c, zero), V(unpackhi_epi8)(c, zero), V(unpacklo_epi8)(d, zero),
                    V(unpackhi_epi8)(d, zero)};
    int32_t both[2];
    memcpy(both, t, sizeof both);
    for (int32_t i = 0; i < 4; i++) {
      low[i] = V(add_epi32)(low[i], V(madd_epi16)(pair[i], V(set1_epi32)(both[0])));
      high[i] = V(add_epi32)(high[i], V(madd_epi16)(pair[i], V(set1_epi32)(both[1])));
    }
  }
  for (int32_t i = 0; i < 4; i++) {
    low[i] = V(add_epi32)(low[i], V(slli_epi32)(high[i], FRT__LOW_BITS));
    low[i] = V(srai_epi32)(low[i], FRT__WEIGHT_BITS);
  }
  wide c = V(packs_epi32)(low[0], low[1]), d = V(packs_epi32)(low[2], low[3]);
  W(storeu)((void *)out, V(packus_epi16)(c, d));
}
#else
FRT_INLINE void sums(const uint8_t *restrict p, size_t step, const frt__taps *t, const int32_t n,
                     uint8_t *restrict out)
{
  int32_t sum[WIDE];
  for (int32_t i = 0; i < WIDE; i++) {
    sum[i] = 1 << (FRT__WEIGHT_BITS - 1);
  }
  for (int32_t k = 0; k < n; k++, p += step) {
    int32_t w = frt__weight(t, k);
    for (int32_t i = 0; i < WIDE; i++) {
      sum[i] += w * p[i];
    }
  }
  for (int32_t i = 0; i < WIDE; i++) {
    out[i] = clip8(sum[i]);
  }
}
#endif

// --- 16 x 16 bytes on their side ----------------------------------------------------------------
typedef uint8_t bytes16 __attribute__((vector_size(16), aligned(1), may_alias));

FRT_INLINE bytes16 low(bytes16 a, bytes16 b)
{
  return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}
FRT_INLINE bytes16 high(bytes16 a, bytes16 b)
{
  return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15,
                                 31);
}
// Four perfect shuffles of the rows move the four bits of a byte's row to where its column's were.
FRT_INLINE void shuffle(const bytes16 *a, bytes16 *b)
{
  for (int32_t i = 0; i < SIDE / 2; i++) {
    b[2 * i] = low(a[i], a[i + SIDE / 2]);
    b[2 * i + 1] = high(a[i], a[i + SIDE / 2]);
  }
}
FRT_INLINE void turn(bytes16 a[SIDE])
{
  bytes16 b[SIDE];
  shuffle(a, b);
  shuffle(b, a);
  shuffle(a, b);
  shuffle(b, a);
}

// --- across -------------------------------------------------------------------------------------
// tile[column * 3 + channel][row]
static void lay_down(const frt__across *a)
{
  int32_t n = 3 * (a->right - a->left), at = 0;
  const uint8_t *src = a->src + (size_t)a->left * 3;
  bytes16 v[SIDE];
  for (; at + SIDE <= n; at += SIDE) {
    for (int32_t i = 0; i < SIDE; i++) {
      v[i] =
        *(const bytes16 *)(const void *)(src + (size_t)FRT_MIN(i, a->rows - 1) * a->stride + at);
    }
    turn(v);
    for (int32_t i = 0; i < SIDE; i++) { // one by one: all at once would wait for the stack
      *(bytes16 *)(void *)(a->tile + (size_t)(at + i) * SIDE) = v[i];
    }
  }
  if (at < n) {
    memset(v, 0, sizeof v);
    for (int32_t i = 0; i < a->rows; i++) {
      memcpy(&v[i], src + (size_t)i * a->stride + at, (size_t)(n - at));
    }
    turn(v);
    memcpy(a->tile + (size_t)at * SIDE, v, (size_t)(n - at) * SIDE);
  }
}

// m columns from o on, n = their taps, in 3 x 16 bytes each.
FRT_INLINE void columns(const frt__across *a, int32_t o, int32_t m, const int32_t n,
                        uint8_t *restrict out)
{
  for (int32_t i = 0; i < m; i++) {
    const uint8_t *p = a->tile + (size_t)(a->first[o + i] - a->left) * COLUMN;
    const frt__taps *t = a->taps + (size_t)(o + i) * (size_t)a->n_pairs;
    for (int32_t at = 0; at < COLUMN; at += WIDE) { // runs over into the next column
      sums(p + at, COLUMN, t, n, out + i * COLUMN + at);
    }
  }
}

static void columns_of(const frt__across *a, int32_t o, int32_t m, uint8_t *out)
{
  switch (a->n_taps) {
  case 1:
    columns(a, o, m, 1, out);
    break;
  case 2:
    columns(a, o, m, 2, out);
    break;
  case 3:
    columns(a, o, m, 3, out);
    break;
  case 4:
    columns(a, o, m, 4, out);
    break;
  case 5:
    columns(a, o, m, 5, out);
    break;
  default:
    columns(a, o, m, a->n_taps, out);
  }
}

// 16 columns stand up again as `bytes` of every row, from `at` on.
FRT_INLINE void stand_up(const frt__across *a, bytes16 v[SIDE], size_t at, int32_t bytes)
{
  turn(v);
  for (int32_t i = 0; i < a->rows; i++) {
    uint8_t *dst = a->dst + (size_t)i * 3 * (size_t)a->ow + at;
    if (bytes == SIDE) {
      *(bytes16 *)(void *)dst = v[i];
    } else {
      memcpy(dst, &v[i], (size_t)bytes);
    }
  }
}

FRT_SIMD void FRT_K(across)(const frt__across *a)
{
  lay_down(a);
  bytes16 out[3 * SIDE + 2] = {0}, v[SIDE];
  for (int32_t o = 0; o < a->ow; o += SIDE) {
    int32_t m = FRT_MIN(SIDE, a->ow - o);
    columns_of(a, o, m, (uint8_t *)out);
    for (int32_t c = 0; c < 3; c++) {
      if (a->planar) {
        for (int32_t i = 0; i < SIDE; i++) {
          v[i] = out[3 * i + c];
        }
        stand_up(a, v, (size_t)c * (size_t)a->ow + (size_t)o, m);
      } else {
        for (int32_t i = 0; i < SIDE; i++) {
          v[i] = out[c * SIDE + i];
        }
        stand_up(a, v, 3 * (size_t)o + (size_t)c * SIDE,
                 FRT_MAX(FRT_MIN(3 * m - c * SIDE, SIDE), 0));
      }
    }
  }
}

// --- down ---------------------------------------------------------------------------------------
FRT_INLINE void row(const uint8_t *src, size_t stride, const frt__taps *t, const int32_t n,
                    int32_t bytes, uint8_t *dst)
{
  int32_t at = 0;
  for (; at + WIDE <= bytes; at += WIDE) {
    sums(src + at, stride, t, n, dst + at);
  }
  if (at < bytes && bytes >= WIDE) { // the last block lies over the one before
    at = bytes - WIDE;
    sums(src + at, stride, t, n, dst + at);
    return;
  }
  for (; at < bytes; at++) {
    int32_t sum = 1 << (FRT__WEIGHT_BITS - 1);
    for (int32_t k = 0; k < n; k++) {
      sum += frt__weight(t, k) * src[(size_t)k * stride + (size_t)at];
    }
    dst[at] = clip8(sum);
  }
}

// dst[bytes] = the sum of n rows, `stride` bytes apart, by their weights.
FRT_SIMD void FRT_K(down)(const uint8_t *src, size_t stride, const frt__taps *t, int32_t n,
                          int32_t bytes, uint8_t *dst)
{
  switch (n) {
  case 2:
    row(src, stride, t, 2, bytes, dst);
    break;
  case 3:
    row(src, stride, t, 3, bytes, dst);
    break;
  case 4:
    row(src, stride, t, 4, bytes, dst);
    break;
  default:
    row(src, stride, t, n, bytes, dst);
  }
}
