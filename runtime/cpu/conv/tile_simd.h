// tile.h -- matrix products of own kernels, a tile in registers at a time: up to TILE_ROWS rows of
// TILE_COLS columns. The right side is packed in panels of TILE_COLS columns, a row of a panel
// after the other; the last panel may be one vector wide.
#pragma once
#include "cpu/vec.h"

enum { TILE_ROWS = FRT_VL == 16 ? 14 : 6, TILE_VECS = 2, TILE_COLS = TILE_VECS * FRT_VL };

// c[i][j] (+)= sum over t < runs, k < depth of a[t * TILE_ROWS + i][k] * b[t * depth + k][j], rows
// of c are ldc floats apart. Whole vectors of c are written. Meanwhile runs * depth cache lines
// from `ahead` on are fetched into the second cache.
typedef void tile_fn(int64_t runs, int64_t depth, const float *const *a, const float *b,
                     const float *ahead, bool add, float *c, int64_t ldc);
// c[i][j] (+)= sum over k < depth of a[k * lda + i] * b[k * ldb + j].
typedef void tile_transposed_fn(int64_t depth, const float *a, int64_t lda, const float *b,
                                int64_t ldb, bool add, float *c, int64_t ldc);

// By vectors - 1 and rows - 1.
extern tile_fn *const FRT_K(tile)[TILE_VECS][TILE_ROWS];
extern tile_transposed_fn *const FRT_K(tile_transposed)[TILE_VECS][TILE_ROWS];

// Columns and vectors of panel p of n columns, and where it begins in a packed matrix.
FRT_INLINE int64_t tile_panels(int64_t n)
{
  return (n + TILE_COLS - 1) / TILE_COLS;
}
FRT_INLINE int64_t tile_cols(int64_t n, int64_t p)
{
  return FRT_MIN(n - p * TILE_COLS, TILE_COLS);
}
FRT_INLINE int64_t tile_vecs(int64_t n, int64_t p)
{
  return (tile_cols(n, p) + FRT_VL - 1) / FRT_VL;
}
FRT_INLINE int64_t tile_padded(int64_t n)
{
  return (n + FRT_VL - 1) / FRT_VL * FRT_VL;
}
// Rows [from, to) of the t-th of n tiles that share `rows` evenly.
FRT_INLINE int64_t tile_count(int64_t rows)
{
  return (rows + TILE_ROWS - 1) / TILE_ROWS;
}
