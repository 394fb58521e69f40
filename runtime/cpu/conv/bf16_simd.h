// bf16.h -- products of bf16 maps with sums in f32: what bf16_product.c and bf16_pack.c take.
//
// A product's right side b [k, n] is packed in panels of columns, each [k / 2][columns][2]: a
// vector holds a pair of k of 16 columns. A panel has 48 columns, but for the last ones.
#pragma once
#include "cpu/kernels.h"

// Rows a product computes at once: row pointers and rows of c are rounded up to it.
enum { FRT_BF16_ROWS = 8 };

// Columns, a multiple of 16, of the panel before which `left` (a multiple of 16) are left.
static inline int64_t frt__bf16_panel(int64_t left)
{
  return left == 64 || left == 32 ? 32 : left == 16 ? 16 : 48;
}
static inline int64_t frt__bf16_up(int64_t n, int64_t to)
{
  return (n + to - 1) / to * to;
}
// Panels of n columns, and the first column of one of them (n: of the one behind the last).
static inline int64_t frt__bf16_panels(int64_t n)
{
  return (n + 47) / 48;
}
static inline int64_t frt__bf16_panel_at(int64_t n, int64_t i)
{
  const int64_t up = frt__bf16_up(n, 16), count = frt__bf16_panels(n);
  return i >= count ? n : i > 0 && i == count - 1 && up % 48 == 16 ? up - 32 : 48 * i;
}
static inline int64_t frt__bf16_even(int64_t n)
{
  return n + (n & 1);
}

// c[rows, n] = (c +) sum over segments of a b. The sides' numbers must be finite where the other
// has the zeros of padding.
typedef struct frt_bf16_product {
  int64_t rows, n, k; // k: of a segment, even
  int64_t segments;
  const uint16_t *const *a; // [segments][rows rounded up]: where each row's k numbers lie
  const uint16_t *a_pairs;  // in place of a, of one segment: panels [rows / 8][k / 2][8][2]
  const uint16_t *b;        // panels of segments * k rows
  float *c;                 // rows rounded up
  int64_t ldc;
  bool add; // to what c holds
  // What will be read and what will be written next, asked for while this is computed; may be NULL.
  const char *read[2], *write;
  int64_t read_bytes[2], write_bytes;
} frt_bf16_product;

// What is packed: `k` rows of `n` numbers, f32 or bf16, at row[i] + first or x + i * ld (numbers);
// transposed: the matrix lies as n rows of k numbers, at x only. As a right side, or (left, not
// transposed) as the left side's pairs, whose columns are rounded up to 16.
typedef struct frt_bf16_pack {
  const void *const *row;
  const void *x;
  int64_t first, ld, k, n;
  bool bf16, transposed, left;
} frt_bf16_pack;

// Rows of a map, computed as they are read where `load` is given, into bf16: columns [first, first
// + n) of rows of c numbers; y's rows lie ldy apart, what is between n and ldy becomes 0.
typedef struct frt_bf16_rows {
  const frt_load *load;
  const void *x; // at `row`
  bool bf16;
  int64_t row, rows, c, first, n, ldy;
} frt_bf16_rows;
