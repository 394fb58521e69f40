// tile.c -- a tile of a matrix product in registers: one function for each number of rows and
// vectors.
#include "cpu/conv/tile_simd.h"

FRT_INLINE void clear(const int rows, const int vecs, vf s[][TILE_VECS])
{
#pragma GCC unroll 14
  for (int i = 0; i < rows; i++) {
#pragma GCC unroll 2
    for (int j = 0; j < vecs; j++) {
      s[i][j] = v_zero();
    }
  }
}

FRT_INLINE void read(const int vecs, const float *b, vf *w)
{
#pragma GCC unroll 2
  for (int j = 0; j < vecs; j++) {
    w[j] = v_load(b + j * FRT_VL);
  }
}

// s += x w, of one row.
FRT_INLINE void multiply(const int vecs, float x, const vf *w, vf *s)
{
#pragma GCC unroll 2
  for (int j = 0; j < vecs; j++) {
    s[j] = v_fma(v_set(x), w[j], s[j]);
  }
}

FRT_INLINE void store(const int rows, const int vecs, vf s[][TILE_VECS], bool add, float *c,
                      int64_t ldc)
{
#pragma GCC unroll 14
  for (int i = 0; i < rows; i++) {
#pragma GCC unroll 2
    for (int j = 0; j < vecs; j++) {
      float *to = c + i * ldc + j * FRT_VL;
      vf x = s[i][j];
      if (add) {
        x += v_load(to);
      }
      v_store(to, x);
    }
  }
}

FRT_INLINE void product(const int rows, const int vecs, int64_t runs, int64_t depth,
                        const float *const *a, const float *b, const float *ahead, bool add,
                        float *c, int64_t ldc)
{
  vf s[TILE_ROWS][TILE_VECS];
  clear(rows, vecs, s);
  for (int64_t t = 0; t < runs; t++, a += TILE_ROWS) {
#pragma GCC unroll 1
    for (int64_t k = 0; k < depth; k++, b += vecs * FRT_VL, ahead += 16) {
      __builtin_prefetch(ahead, 0, 2);
      vf w[TILE_VECS];
      read(vecs, b, w);
#pragma GCC unroll 14
      for (int i = 0; i < rows; i++) {
        multiply(vecs, a[i][k], w, s[i]);
      }
    }
  }
  store(rows, vecs, s, add, c, ldc);
}

FRT_INLINE void transposed(const int rows, const int vecs, int64_t depth, const float *a,
                           int64_t lda, const float *b, int64_t ldb, bool add, float *c,
                           int64_t ldc)
{
  vf s[TILE_ROWS][TILE_VECS];
  clear(rows, vecs, s);
#pragma GCC unroll 1
  for (int64_t k = 0; k < depth; k++, a += lda, b += ldb) {
    vf w[TILE_VECS];
    read(vecs, b, w);
#pragma GCC unroll 14
    for (int i = 0; i < rows; i++) {
      multiply(vecs, a[i], w, s[i]);
    }
  }
  store(rows, vecs, s, add, c, ldc);
}

#define TILE(r, v)                                                                                 \
  static void product_##r##_##v(int64_t runs, int64_t depth, const float *const *a,                \
                                const float *b, const float *ahead, bool add, float *c,            \
                                int64_t ldc)                                                       \
  {                                                                                                \
    product(r, v, runs, depth, a, b, ahead, add, c, ldc);                                          \
  }                                                                                                \
  static void transposed_##r##_##v(int64_t depth, const float *a, int64_t lda, const float *b,     \
                                   int64_t ldb, bool add, float *c, int64_t ldc)                   \
  {                                                                                                \
    transposed(r, v, depth, a, lda, b, ldb, add, c, ldc);                                          \
  }
#if FRT_VL == 16
#define TILE_EACH(f, v)                                                                            \
  f(1, v) f(2, v) f(3, v) f(4, v) f(5, v) f(6, v) f(7, v) f(8, v) f(9, v) f(10, v) f(11, v)        \
    f(12, v) f(13, v) f(14, v)
#else
#define TILE_EACH(f, v) f(1, v) f(2, v) f(3, v) f(4, v) f(5, v) f(6, v)
#endif
#define TILE_NAME(r, v) product_##r##_##v,
#define TRANSPOSED_NAME(r, v) transposed_##r##_##v,

TILE_EACH(TILE, 1)
TILE_EACH(TILE, 2)
tile_fn *const FRT_K(tile)[TILE_VECS][TILE_ROWS] = {{TILE_EACH(TILE_NAME, 1)},
                                                    {TILE_EACH(TILE_NAME, 2)}};
tile_transposed_fn *const FRT_K(tile_transposed)[TILE_VECS][TILE_ROWS] = {
  {TILE_EACH(TRANSPOSED_NAME, 1)}, {TILE_EACH(TRANSPOSED_NAME, 2)}};
