// bf16_pack.c -- both sides of a product of bf16 in the order bf16_product reads them, and rows of
// a map computed as they are read (load.h).
#include "cpu/conv/bf16_simd.h"
#include "cpu/norm/load_simd.h"
#include "cpu/transpose_simd.h"

#if FRT_BF16

// n < 16: so many lanes, the rest zero.
FRT_INLINE __m256i halves(const bool bf16, const void *x, int64_t at, int64_t n)
{
  const __mmask16 some = n < 16 ? (__mmask16)((1u << n) - 1) : (__mmask16)0xffff;
  if (bf16) {
    return _mm256_maskz_loadu_epi16(some, (const uint16_t *)x + at);
  }
  return (__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(some, (const float *)x + at));
}
FRT_INLINE __m512i interleaved(__m256i a, __m256i b)
{
  return v_zip(_mm512_inserti64x4(_mm512_castsi256_si512(a), b, 1));
}

// --- rows of n numbers --------------------------------------------------------------------------
FRT_INLINE void pack_rows(const bool bf16, const frt_bf16_pack *p, int64_t j, int64_t columns,
                          uint16_t *y)
{
  const int64_t n = FRT_MIN(columns, p->n - j);
  for (int64_t k = 0; k < p->k; k += 2) {
    const bool two = k + 1 < p->k;
    const void *a = p->row ? p->row[k] : v_at(bf16, p->x, k * p->ld);
    const void *b = !two ? a : p->row ? p->row[k + 1] : v_at(bf16, p->x, (k + 1) * p->ld);
    int64_t i = 0;
    for (; bf16 && two && i + 32 <= n; i += 32, y += 64) {
      const __m512i u = _mm512_loadu_si512((const uint16_t *)a + p->first + j + i);
      const __m512i v = _mm512_loadu_si512((const uint16_t *)b + p->first + j + i);
      _mm512_storeu_si512(y, v_zip_two(false, u, v));
      _mm512_storeu_si512(y + 32, v_zip_two(true, u, v));
    }
    for (; i < columns; i += 16, y += 32) {
      const __m256i upper = halves(bf16, b, p->first + j + i, two ? n - i : 0);
      _mm512_storeu_si512(y, interleaved(halves(bf16, a, p->first + j + i, n - i), upper));
    }
  }
}
FRT_INLINE void put_left(__m512i z, uint16_t *to, int64_t panel)
{
  _mm256_storeu_si256((void *)to, _mm512_castsi512_si256(z));
  _mm256_storeu_si256((void *)(to + panel), _mm512_extracti64x4_epi64(z, 1));
}
// Into panels of 8 columns, [k / 2][8][2] each; columns go by in whole lines of the cache.
FRT_INLINE void pack_left(const bool bf16, const frt_bf16_pack *p, uint16_t *y)
{
  const int64_t panel = frt__bf16_even(p->k) * 8;
  for (int64_t from = 0; from < p->n; from += 32, y += 4 * panel) {
    const int64_t end = FRT_MIN(from + 32, p->n);
    for (int64_t k = 0; k < p->k; k += 2) {
      const bool two = k + 1 < p->k;
      const void *a = p->row ? p->row[k] : v_at(bf16, p->x, k * p->ld);
      const void *b = !two ? a : p->row ? p->row[k + 1] : v_at(bf16, p->x, (k + 1) * p->ld);
      uint16_t *to = y + k * 8;
      if (bf16 && two && end - from == 32) {
        const __m512i u = _mm512_loadu_si512((const uint16_t *)a + p->first + from);
        const __m512i v = _mm512_loadu_si512((const uint16_t *)b + p->first + from);
        put_left(v_zip_two(false, u, v), to, panel);
        put_left(v_zip_two(true, u, v), to + 2 * panel, panel);
        continue;
      }
      for (int64_t j = from; j < end; j += 16, to += 2 * panel) {
        const int64_t n = p->n - j;
        const __m256i upper = halves(bf16, b, p->first + j, two ? n : 0);
        put_left(interleaved(halves(bf16, a, p->first + j, n), upper), to, panel);
      }
    }
  }
}

// --- rows of k numbers --------------------------------------------------------------------------
// 16 pairs; `left` numbers are there.
FRT_INLINE __m512i pairs_of(const bool bf16, const void *x, int64_t at, int64_t left)
{
  const __mmask32 some = left < 32 ? (1u << left) - 1 : 0xffffffffu;
  if (bf16) {
    return _mm512_maskz_loadu_epi16(some, (const uint16_t *)x + at);
  }
  const float *f = (const float *)x + at;
  const __m512 low = _mm512_maskz_loadu_ps((__mmask16)some, f);
  const __m512 high = _mm512_maskz_loadu_ps((__mmask16)(some >> 16), f + 16);
  return (__m512i)_mm512_cvtne2ps_pbh(high, low);
}
FRT_INLINE void pack_transposed(const bool bf16, const frt_bf16_pack *p, int64_t j, int64_t columns,
                                uint16_t *y)
{
  for (int64_t i = 0; i < columns; i += 16) {
    const int64_t n = FRT_MIN(16, p->n - j - i);
    for (int64_t k = 0; k < p->k; k += 32) {
      vf r[16];
      for (int64_t o = 0; o < 16; o++) {
        r[o] =
          o < n ? (vf)pairs_of(bf16, p->x, (j + i + o) * p->ld + p->first + k, p->k - k) : v_zero();
      }
      v_transpose(r);
      const int64_t pairs = FRT_MIN(16, (p->k - k + 1) / 2);
      for (int64_t o = 0; o < pairs; o++) {
        v_store((float *)(y + (k / 2 + o) * 2 * columns + 2 * i), r[o]);
      }
    }
  }
}

FRT_INLINE void pack(const bool bf16, const frt_bf16_pack *p, uint16_t *y)
{
  if (p->left) {
    pack_left(bf16, p, y);
    return;
  }
  const int64_t n = frt__bf16_up(p->n, 16), k = frt__bf16_even(p->k);
  for (int64_t j = 0, columns; j < n; j += columns) {
    columns = frt__bf16_panel(n - j);
    if (p->transposed) {
      pack_transposed(bf16, p, j, columns, y + j * k);
    } else {
      pack_rows(bf16, p, j, columns, y + j * k);
    }
  }
}

FRT_SIMD_BF16 void FRT_K(bf16_pack)(const frt_bf16_pack *p, uint16_t *y)
{
  FRT_BY_BF16(p->bf16, pack, p, y);
}

// --- rows ---------------------------------------------------------------------------------------
enum { AS_IT_LIES = -1, AT_ONCE = 4 }; // in place of an activation: no batch norm; rows a time

FRT_INLINE void some_lanes(const bool bf16, const int act, const bool gated, const frt_bf16_rows *g,
                           int64_t j, int64_t lanes, uint16_t *y)
{
  const frt_load *l = g->load;
  const bool full = lanes >= FRT_VL;
  load_norm norm = {v_zero(), v_zero(), v_zero()};
  if (act != AS_IT_LIES) {
    norm = load_norm_at(l, g->first + j, lanes);
  }
  for (int64_t r = 0; r < g->rows; r++) {
    const int64_t at = r * g->c + g->first + j;
    vf v = full ? v_get(bf16, g->x, at) : v_get_n(bf16, g->x, at, lanes);
    if (act != AS_IT_LIES) {
      v = load_value(act, v, norm);
    }
    if (gated) {
      v *= load_lanes(l->gate + (g->row + r) / l->map * g->c + g->first + j, lanes);
    }
    if (full) {
      v_put(true, y, r * g->ldy + j, v);
    } else {
      v_put_n(true, y, r * g->ldy + j, v, lanes);
    }
  }
}
FRT_INLINE void all_rows(const int act, const bool bf16, const bool gated, const frt_bf16_rows *all,
                         uint16_t *y)
{
  for (int64_t r = 0; r < all->rows; r += AT_ONCE) {
    frt_bf16_rows g = *all;
    g.row += r;
    g.rows = FRT_MIN(AT_ONCE, all->rows - r);
    g.x = v_at(bf16, all->x, r * all->c);
    for (int64_t j = 0; j < g.n; j += FRT_VL) {
      some_lanes(bf16, act, gated, &g, j, g.n - j, y + r * g.ldy);
    }
  }
}
FRT_INLINE void by_gate(const int act, const bool bf16, const frt_bf16_rows *g, uint16_t *y)
{
  if (g->load->gate) {
    all_rows(act, bf16, true, g, y);
  } else {
    all_rows(act, bf16, false, g, y);
  }
}
FRT_INLINE void by_load(const bool bf16, const frt_bf16_rows *g, uint16_t *y)
{
  if (!g->load) {
    all_rows(AS_IT_LIES, bf16, false, g, y);
  } else if (!g->load->mean) {
    by_gate(AS_IT_LIES, bf16, g, y);
  } else {
    FRT_BY_ACT(g->load->act, by_gate, bf16, g, y);
  }
}

FRT_SIMD_BF16 void FRT_K(bf16_rows)(const frt_bf16_rows *g, uint16_t *y)
{
  const bool copy = g->bf16 && !g->load;
  if (copy) {
    for (int64_t r = 0; r < g->rows; r++) {
      memcpy(y + r * g->ldy, (const uint16_t *)g->x + r * g->c + g->first, (size_t)g->n * 2);
    }
  } else {
    FRT_BY_BF16(g->bf16, by_load, g, y);
  }
  for (int64_t r = 0; r < g->rows && g->ldy > g->n; r++) {
    memset(y + r * g->ldy + g->n, 0, (size_t)(g->ldy - g->n) * 2);
  }
}

#else
void FRT_K(bf16_pack)(const frt_bf16_pack *p, uint16_t *y)
{
  (void)p, (void)y;
}
void FRT_K(bf16_rows)(const frt_bf16_rows *g, uint16_t *y)
{
  (void)g, (void)y;
}
#endif
