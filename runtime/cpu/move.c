// move.c -- strided copies. Dimensions are put in the order of the destination and merged where
// both sides allow; then rows are copied, filled, or transposed in tiles.
#include "cpu/move.h"

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

static inline __attribute__((always_inline)) void rows(const frt_move *m, size_t size, bytes b,
                                                       int64_t n_row)
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
      continue;
    }
    for (int64_t k = 0; k < n; k++) {
      memcpy(dst + k * to * (int64_t)size, src + k * from * (int64_t)size, size);
    }
  }
}

// Dimension p lies densely in the source, the last one in the destination.
static inline __attribute__((always_inline)) void transpose(const frt_move *m, size_t size, bytes b,
                                                            int32_t p, int64_t n_row)
{
  const int32_t last = m->ndim - 1;
  const int64_t rows = m->dim[p], cols = m->dim[last], to = m->to[p], from = m->from[last];
  const int64_t tile_r = (rows + TILE - 1) / TILE, tile_c = (cols + TILE - 1) / TILE;
  const int64_t n_tile = tile_r * tile_c;
#pragma omp parallel for schedule(static) if (n_row * rows * cols >= SMALL)
  for (int64_t i = 0; i < n_row * n_tile; i++) {
    int64_t s, d, r0 = i % n_tile / tile_c * TILE, c0 = i % tile_c * TILE;
    row_at(m, 1u << last | 1u << p, i / n_tile, &s, &d);
    const char *src = b.src + (s + r0 + c0 * from) * (int64_t)size;
    char *dst = b.dst + (d + r0 * to + c0) * (int64_t)size;
    const int64_t nr = FRT_MIN(rows - r0, TILE), nc = FRT_MIN(cols - c0, TILE);
    for (int64_t r = 0; r < nr; r++) {
      for (int64_t c = 0; c < nc; c++) {
        memcpy(dst + (r * to + c) * (int64_t)size, src + (r + c * from) * (int64_t)size, size);
      }
    }
  }
}

static inline __attribute__((always_inline)) void move(const frt_move *m, size_t size, bytes b)
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
  } else if (size == 4) {
    move(&m, 4, (bytes){src, dst});
  } else {
    move(&m, 8, (bytes){src, dst});
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
