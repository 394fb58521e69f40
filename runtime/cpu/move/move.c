// move.c -- strided copies. Dimensions are put in the order of the destination and merged where
// both sides allow; then rows are copied, filled, or transposed in tiles.
#include "cpu/move/move.h"

enum { TILE = 32, SMALL = 16384 }; // elements below which one thread does it

static int64_t magnitude(int64_t x)
{
  return x < 0 ? -x : x;
}

static void drop(frt_move *m, int32_t i)
{
  for (int32_t k = i; k + 1 < m->ndim; k++) {
    m->dim[k] = m->dim[k + 1];
    m->from[k] = m->from[k + 1];
    m->to[k] = m->to[k + 1];
  }
  m->ndim--;
}

static void swap(int64_t *a, int32_t i, int32_t j)
{
  int64_t t = a[i];
  a[i] = a[j];
  a[j] = t;
}

static void simplify(frt_move *m)
{
  for (int32_t i = m->ndim - 1; i >= 0; i--) {
    if (m->dim[i] == 1) {
      drop(m, i);
    }
  }
  for (int32_t i = 1; i < m->ndim; i++) {
    for (int32_t k = i; k > 0 && magnitude(m->to[k - 1]) < magnitude(m->to[k]); k--) {
      swap(m->dim, k, k - 1);
      swap(m->from, k, k - 1);
      swap(m->to, k, k - 1);
    }
  }
  for (int32_t i = m->ndim - 2; i >= 0; i--) {
    int64_t n = m->dim[i + 1];
    if (m->to[i] == m->to[i + 1] * n && m->from[i] == m->from[i + 1] * n) {
      m->dim[i + 1] *= m->dim[i];
      drop(m, i);
    }
  }
  if (m->ndim == 0) {
    *m = (frt_move){.ndim = 1, .dim = {1}, .from = {1}, .to = {1}};
  }
}

// Offsets of the i-th row: i counts over all dimensions but those in `skip`.
static void row_at(const frt_move *m, uint32_t skip, int64_t i, int64_t *src, int64_t *dst)
{
  int64_t s = 0, d = 0;
  for (int32_t k = m->ndim - 1; k >= 0; k--) {
    if (skip >> k & 1) {
      continue;
    }
    int64_t at = i % m->dim[k];
    i /= m->dim[k];
    s += at * m->from[k];
    d += at * m->to[k];
  }
  *src = s;
  *dst = d;
}

typedef struct bytes {
  const char *src;
  char *dst;
} bytes;

static inline __attribute__((always_inline)) void row(size_t size, const char *src, int64_t from,
                                                      char *dst, int64_t to, int64_t n)
{
  for (int64_t k = 0; k < n; k++) {
    memcpy(dst + k * to * (int64_t)size, src + k * from * (int64_t)size, size);
  }
}

// The size of an element becomes a constant inside the loops only where it is written out: a
// parallel region is a function of its own to the compiler.
static void rows(const frt_move *m, size_t size, bytes b, int64_t n_row)
{
  const int32_t last = m->ndim - 1;
  const int64_t n = m->dim[last], from = m->from[last], to = m->to[last];
#pragma omp parallel for schedule(static) if (n_row * n >= SMALL)
  for (int64_t i = 0; i < n_row; i++) {
    int64_t s, d;
    row_at(m, 1u << last, i, &s, &d);
    const char *src = b.src + s * (int64_t)size;
    char *dst = b.dst + d * (int64_t)size;
    if (from == 1 && to == 1) {
      memcpy(dst, src, (size_t)n * size);
    } else if (size == 4) {
      row(4, src, from, dst, to, n);
    } else if (size == 2) {
      row(2, src, from, dst, to, n);
    } else {
      row(8, src, from, dst, to, n);
    }
  }
}

// Four rows of four numbers, transposed. Steps in floats.
typedef float v4 __attribute__((vector_size(16), aligned(4), may_alias));
typedef int32_t i4 __attribute__((vector_size(16)));
static inline void transpose4(const float *src, int64_t from, float *dst, int64_t to)
{
  const v4 a = *(const v4 *)src, b = *(const v4 *)(src + from);
  const v4 c = *(const v4 *)(src + 2 * from), d = *(const v4 *)(src + 3 * from);
  const i4 low = {0, 4, 1, 5}, high = {2, 6, 3, 7}, left = {0, 1, 4, 5}, right = {2, 3, 6, 7};
  const v4 ab = __builtin_shuffle(a, b, low), cd = __builtin_shuffle(c, d, low);
  const v4 ef = __builtin_shuffle(a, b, high), gh = __builtin_shuffle(c, d, high);
  *(v4 *)dst = __builtin_shuffle(ab, cd, left);
  *(v4 *)(dst + to) = __builtin_shuffle(ab, cd, right);
  *(v4 *)(dst + 2 * to) = __builtin_shuffle(ef, gh, left);
  *(v4 *)(dst + 3 * to) = __builtin_shuffle(ef, gh, right);
}

// dst[r*to + c] = src[r + c*from] for nr rows and nc columns.
static inline __attribute__((always_inline)) void transpose_tile(size_t size, const char *src,
                                                                 int64_t from, char *dst,
                                                                 int64_t to, int64_t nr, int64_t nc)
{
  int64_t r0 = 0;
  for (; size == 4 && nc >= 4 && r0 + 4 <= nr; r0 += 4) {
    int64_t c = 0;
    for (; c + 4 <= nc; c += 4) {
      transpose4((const float *)src + r0 + c * from, from, (float *)dst + r0 * to + c, to);
    }
    for (; c < nc; c++) {
      for (int64_t r = r0; r < r0 + 4; r++) {
        ((float *)dst)[r * to + c] = ((const float *)src)[r + c * from];
      }
    }
  }
  if (nr - r0 < nc) {
    for (int64_t r = r0; r < nr; r++) {
      for (int64_t c = 0; c < nc; c++) {
        memcpy(dst + (r * to + c) * (int64_t)size, src + (r + c * from) * (int64_t)size, size);
      }
    }
    return;
  }
  for (int64_t c = 0; c < nc; c++) {
    for (int64_t r = r0; r < nr; r++) {
      memcpy(dst + (r * to + c) * (int64_t)size, src + (r + c * from) * (int64_t)size, size);
    }
  }
}

// Dimension p lies densely in the source, the last one in the destination.
static void transpose(const frt_move *m, size_t size, bytes b, int32_t p, int64_t n_row)
{
  const int32_t last = m->ndim - 1;
  const int64_t rows = m->dim[p], cols = m->dim[last], to = m->to[p], from = m->from[last];
  const int64_t tall = cols < TILE ? TILE * TILE / cols : TILE;
  const int64_t wide = rows < TILE ? TILE * TILE / rows : TILE;
  const int64_t tile_r = (rows + tall - 1) / tall, tile_c = (cols + wide - 1) / wide;
  const int64_t n_tile = tile_r * tile_c;
#pragma omp parallel for schedule(static) if (n_row * rows * cols >= SMALL)
  for (int64_t i = 0; i < n_row * n_tile; i++) {
    int64_t s, d, r0 = i % n_tile / tile_c * tall, c0 = i % tile_c * wide;
    row_at(m, 1u << last | 1u << p, i / n_tile, &s, &d);
    const char *src = b.src + (s + r0 + c0 * from) * (int64_t)size;
    char *dst = b.dst + (d + r0 * to + c0) * (int64_t)size;
    const int64_t nr = FRT_MIN(rows - r0, tall), nc = FRT_MIN(cols - c0, wide);
    if (size == 4) {
      transpose_tile(4, src, from, dst, to, nr, nc);
    } else if (size == 2) {
      transpose_tile(2, src, from, dst, to, nr, nc);
    } else {
      transpose_tile(8, src, from, dst, to, nr, nc);
    }
  }
}

static void move(const frt_move *m, size_t size, bytes b)
{
  const int32_t last = m->ndim - 1;
  int64_t n_row = 1;
  for (int32_t i = 0; i < last; i++) {
    n_row *= m->dim[i];
  }
  if (m->to[last] == 1 && m->from[last] != 1 && m->from[last] != 0) {
    for (int32_t p = 0; p < last; p++) {
      if (m->from[p] == 1) {
        transpose(m, size, b, p, n_row / m->dim[p]);
        return;
      }
    }
  }
  rows(m, size, b, n_row);
}

void frt__move(frt_move m, size_t size, const void *src, void *dst)
{
  for (int32_t i = 0; i < m.ndim; i++) {
    if (m.dim[i] == 0) {
      return;
    }
  }
  simplify(&m);
  if (m.ndim == 1 && m.from[0] == 1 && m.to[0] == 1) {
    frt__copy(src, dst, (size_t)m.dim[0] * size);
  } else {
    move(&m, size, (bytes){src, dst});
  }
}

void frt__fill(size_t size, int64_t n, const void *value, void *dst)
{
  frt__move((frt_move){.ndim = 1, .dim = {n}, .from = {0}, .to = {1}}, size, value, dst);
}

void frt__copy(const void *src, void *dst, size_t bytes)
{
  const size_t part = 256 << 10;
#pragma omp parallel for schedule(static) if (bytes > part)
  for (size_t at = 0; at < bytes; at += part) {
    memcpy((char *)dst + at, (const char *)src + at, FRT_MIN(part, bytes - at));
  }
}
