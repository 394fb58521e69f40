// reduce.c -- sums over the rows of [outer, rows, c], of one operand or of the product of two:
// global average pooling, sums per channel, the gradient of a gate. Chunks of rows are summed apart
// and added in order, whatever the number of threads.
#include "cpu/norm/load_simd.h"

enum {
  CHUNK = 256,
  COLUMNS = 512
}; // rows summed together; floats per row below which rows are folded

// Rows are folded so that a row is whole vectors, where c is not.
static int64_t fold_of(int64_t c)
{
  int64_t fold = 1;
  if (c % FRT_VL != 0 && c < COLUMNS) {
    fold = FRT_VL;
    while (fold > 1 && c * (fold / 2) % FRT_VL == 0) {
      fold /= 2;
    }
  }
  return fold;
}
FRT_INLINE void add_products(const bool bf16, const void *x, const void *y, int64_t rows,
                             int64_t cols, float *sum)
{
  memset(sum, 0, (size_t)cols * sizeof(float));
  int64_t r = 0;
  for (; r + 1 < rows; r += 2) {
    const int64_t a = r * cols, b = a + cols;
    int64_t j = 0;
    for (; j + FRT_VL <= cols; j += FRT_VL) {
      vf s = v_get(bf16, x, a + j) * v_get(bf16, y, a + j) +
             v_get(bf16, x, b + j) * v_get(bf16, y, b + j);
      v_store(sum + j, v_load(sum + j) + s);
    }
    for (; j < cols; j++) {
      sum[j] += v_item(bf16, x, a + j) * v_item(bf16, y, a + j) +
                v_item(bf16, x, b + j) * v_item(bf16, y, b + j);
    }
  }
  for (int64_t j = 0; r < rows && j < cols; j++) {
    sum[j] += v_item(bf16, x, r * cols + j) * v_item(bf16, y, r * cols + j);
  }
}
FRT_INLINE void add_rows(const bool bf16, const void *x, int64_t rows, int64_t cols, float *sum)
{
  memset(sum, 0, (size_t)cols * sizeof(float));
  int64_t r = 0;
  for (; r + 3 < rows; r += 4) {
    const int64_t a = r * cols, b = a + cols, c = b + cols, d = c + cols;
    int64_t j = 0;
    for (; j + FRT_VL <= cols; j += FRT_VL) {
      vf s = (v_get(bf16, x, a + j) + v_get(bf16, x, b + j)) +
             (v_get(bf16, x, c + j) + v_get(bf16, x, d + j));
      v_store(sum + j, v_load(sum + j) + s);
    }
    for (; j < cols; j++) {
      sum[j] += (v_item(bf16, x, a + j) + v_item(bf16, x, b + j)) +
                (v_item(bf16, x, c + j) + v_item(bf16, x, d + j));
    }
  }
  for (; r < rows; r++) {
    for (int64_t j = 0; j < cols; j++) {
      sum[j] += v_item(bf16, x, r * cols + j);
    }
  }
}
// out[c] = sum of n rows of x, or of x * y; `wide` holds one folded row.
FRT_INLINE void chunk_sum(const bool bf16, const void *x, const void *y, int64_t n, int64_t c,
                          int64_t fold, float *wide, float *out)
{
  if (y) {
    add_products(bf16, x, y, n / fold, fold * c, wide);
  } else {
    add_rows(bf16, x, n / fold, fold * c, wide);
  }
  for (int64_t j = 0; j < c; j++) {
    float s = 0;
    for (int64_t k = 0; k < fold; k++) {
      s += wide[k * c + j];
    }
    for (int64_t r = n / fold * fold; r < n; r++) {
      const float v = v_item(bf16, x, r * c + j);
      s += y ? v * v_item(bf16, y, r * c + j) : v;
    }
    out[j] = s;
  }
}
static int64_t chunks_of(int64_t rows)
{
  return FRT_MAX(1, (rows + CHUNK - 1) / CHUNK);
}
FRT_INLINE void sum_any(const int act, const bool bf16, const frt_load *l, const void *x,
                        const void *y, int64_t n, int64_t c, float *sum)
{
  if (y) {
    load_sum(act, bf16, true, l, x, y, n, c, sum);
  } else {
    load_sum(act, bf16, false, l, x, y, n, c, sum);
  }
}
// The same of x computed as load says.
FRT_INLINE void chunk_loaded(const bool bf16, const frt_load *l, const void *x, const void *y,
                             int64_t n, int64_t c, float *out)
{
  memset(out, 0, (size_t)c * sizeof(float));
  FRT_BY_ACT(l->act, sum_any, bf16, l, x, y, n, c, out);
}
// out[o][c] = scale * sum over r < rows of x[o][r][c], or of x * y where y is given; both are
// [n_outer, rows, c], stored as bf16 where `bf16`. load (ungated) may be NULL.
FRT_SIMD size_t FRT_K(reduce_rows_scratch)(int64_t n_outer, int64_t rows, int64_t c)
{
  int64_t wide = fold_of(c) * c * frt__team(n_outer * rows * c);
  return (size_t)(wide + n_outer * chunks_of(rows) * c) * sizeof(float);
}
FRT_INLINE void sums(const bool bf16, const frt_load *load, const void *x, const void *y,
                     int64_t n_outer, int64_t rows, int64_t c, float scale, float *out,
                     void *scratch)
{
  int64_t fold = fold_of(c), chunks = chunks_of(rows);
  int32_t threads = frt__team(n_outer * rows * c);
  float *part = (float *)scratch + fold * c * threads;
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int32_t t = 0; t < threads; t++) {
    int64_t from, to;
    frt__share(n_outer * chunks, 1, t, threads, &from, &to);
    for (int64_t i = from; i < to; i++) {
      int64_t o = i / chunks, r = i % chunks * CHUNK;
      int64_t at = (o * rows + r) * c, n = FRT_MIN(CHUNK, rows - r);
      const void *from_x = v_at(bf16, x, at), *factor = y ? v_at(bf16, y, at) : NULL;
      if (load) {
        chunk_loaded(bf16, load, from_x, factor, n, c, part + i * c);
      } else {
        chunk_sum(bf16, from_x, factor, n, c, fold, (float *)scratch + t * fold * c, part + i * c);
      }
    }
  }
  for (int64_t o = 0; o < n_outer; o++) {
    for (int64_t j = 0; j < c; j++) {
      float s = 0;
      for (int64_t i = 0; i < chunks; i++) {
        s += part[(o * chunks + i) * c + j];
      }
      out[o * c + j] = s * scale;
    }
  }
}
FRT_SIMD void FRT_K(reduce_rows)(const frt_load *load, bool bf16, const void *x, const void *y,
                                 int64_t n_outer, int64_t rows, int64_t c, float scale, float *out,
                                 void *scratch)
{
  FRT_BY_BF16(bf16, sums, load, x, y, n_outer, rows, c, scale, out, scratch);
}
