// bf16_product.c -- products of bf16 with sums in f32, 8 rows by up to 48 columns in registers.
#include "cpu/conv/bf16_simd.h"
#include "cpu/vec.h"

#if FRT_BF16

// Pairs of k of a panel that stay in the first cache while all rows pass.
enum { PAIRS = 160, TALL = FRT_BF16_ROWS };

// Part of a product: pairs [from, to) of `segments` segments.
typedef struct part {
  int64_t segments, from, to;
  int64_t step_a; // row pointers between segments
  int64_t skip_b; // numbers of b between segments beyond those read
  bool add;
  int64_t blocks, done; // of the whole product
} part;

// This block's share of a range.
FRT_INLINE void ask(const bool write, const part *p, const char *at, int64_t bytes)
{
  const int64_t lines = (bytes + 63) / 64, last = lines * (p->done + 1) / p->blocks;
  for (int64_t i = lines * p->done / p->blocks; i < last; i++) {
    if (write) {
      __builtin_prefetch(at + i * 64, 1, 3);
    } else {
      __builtin_prefetch(at + i * 64, 0, 2);
    }
  }
}

FRT_INLINE void block(const int nv, const bool pairs, const part *p, const uint16_t *const *a,
                      const uint16_t *a_pairs, const uint16_t *b, float *c, int64_t ldc,
                      __mmask16 last)
{
  __m512 s[TALL][3];
#pragma GCC unroll 8
  for (int i = 0; i < TALL; i++) {
#pragma GCC unroll 3
    for (int v = 0; v < nv; v++) {
      s[i][v] =
        p->add ? _mm512_maskz_loadu_ps(v == nv - 1 ? last : (__mmask16)0xffff, c + i * ldc + v * 16)
               : _mm512_setzero_ps();
    }
  }
  for (int64_t g = 0; g < p->segments; g++) {
    const uint16_t *row[TALL];
#pragma GCC unroll 8
    for (int i = 0; i < TALL; i++) {
      row[i] = pairs ? a_pairs + 2 * i : a[g * p->step_a + i];
    }
    for (int64_t k = p->from; k < p->to; k++) {
      __m512bh w[3];
#pragma GCC unroll 3
      for (int v = 0; v < nv; v++) {
        w[v] = (__m512bh)_mm512_loadu_si512(b + v * 32);
      }
      b += nv * 32;
#pragma GCC unroll 8
      for (int i = 0; i < TALL; i++) {
        int32_t pair;
        memcpy(&pair, row[i] + k * (pairs ? 2 * TALL : 2), sizeof pair);
        const __m512bh x = (__m512bh)_mm512_set1_epi32(pair);
#pragma GCC unroll 3
        for (int v = 0; v < nv; v++) {
          s[i][v] = _mm512_dpbf16_ps(s[i][v], x, w[v]);
        }
      }
    }
    b += p->skip_b;
  }
#pragma GCC unroll 8
  for (int i = 0; i < TALL; i++) {
#pragma GCC unroll 3
    for (int v = 0; v < nv; v++) {
      _mm512_mask_storeu_ps(c + i * ldc + v * 16, v == nv - 1 ? last : (__mmask16)0xffff, s[i][v]);
    }
  }
}

FRT_INLINE void panel(const int nv, const bool pairs, const frt_bf16_product *g, part *p,
                      int64_t segment, const uint16_t *b, float *c, __mmask16 last)
{
  const int64_t up = frt__bf16_up(g->rows, TALL);
  for (int64_t r = 0; r < g->rows; r += TALL, p->done++) {
    ask(false, p, g->read[0], g->read_bytes[0]);
    ask(false, p, g->read[1], g->read_bytes[1]);
    ask(true, p, g->write, g->write_bytes);
    block(nv, pairs, p, pairs ? NULL : g->a + segment * up + r,
          pairs ? g->a_pairs + r * g->k : NULL, b, c + r * g->ldc, g->ldc, last);
  }
}

FRT_INLINE void panel_of(const bool pairs, const frt_bf16_product *g, part *p, int64_t segment,
                         int64_t j, int64_t columns)
{
  const int64_t real = FRT_MIN(columns, g->n - j), rest = real - (columns - 16);
  const __mmask16 last = (__mmask16)((1u << rest) - 1);
  const uint16_t *b = g->b + j * g->segments * g->k + (segment * g->k + 2 * p->from) * columns;
  p->skip_b = (g->k - 2 * (p->to - p->from)) * columns;
  switch (columns) {
  case 48:
    panel(3, pairs, g, p, segment, b, g->c + j, last);
    break;
  case 32:
    panel(2, pairs, g, p, segment, b, g->c + j, last);
    break;
  default:
    panel(1, pairs, g, p, segment, b, g->c + j, last);
  }
}

// Segments [segment, segment + p->segments), pairs p->from .. p->to of each, all columns.
static void slice(const frt_bf16_product *g, part *p, int64_t segment)
{
  const int64_t n = frt__bf16_up(g->n, 16);
  for (int64_t j = 0, columns; j < n; j += columns) {
    columns = frt__bf16_panel(n - j);
    if (g->a_pairs) {
      panel_of(true, g, p, segment, j, columns);
    } else {
      panel_of(false, g, p, segment, j, columns);
    }
  }
}

// Products of bf16 with sums in f32, packing their sides, and rows of a map for them (bf16.h), on
// the calling thread; NULL where the instruction set has none.
FRT_SIMD_BF16 void FRT_K(bf16_product)(const frt_bf16_product *g)
{
  const int64_t pairs = g->k / 2;
  part p = {.step_a = frt__bf16_up(g->rows, TALL), .add = g->add};
  const int64_t cuts = (pairs + PAIRS - 1) / PAIRS, each = FRT_MAX((int64_t)1, PAIRS / pairs);
  p.blocks = frt__bf16_panels(g->n) * (p.step_a / TALL) *
             (cuts > 1 ? g->segments * cuts : (g->segments + each - 1) / each);
  for (int64_t s = 0; s < g->segments; s += p.segments) {
    p.segments = cuts > 1 ? 1 : FRT_MIN(each, g->segments - s);
    for (int64_t i = 0; i < cuts; i++, p.add = true) {
      p.from = pairs * i / cuts;
      p.to = pairs * (i + 1) / cuts;
      slice(g, &p, s);
    }
  }
}

#else
void FRT_K(bf16_product)(const frt_bf16_product *g)
{
  (void)g;
}
#endif
