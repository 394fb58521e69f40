// uniform.c -- Philox4x32-10 for many counters at once; the layout is that of
// runtime/ops/random/uniform.c.
#include "base/base.h"

#include "cpu/vec.h"

enum { BLOCKS = 32, ROW_PIECE = 4096 };

// Blocks first .. first + BLOCKS - 1 of a row: 4 numbers each.
static void blocks(const uint32_t key[2], uint64_t first, uint64_t step, uint32_t id, float *y)
{
  uint32_t c0[BLOCKS], c1[BLOCKS], c2[BLOCKS], c3[BLOCKS];
  for (uint32_t b = 0; b < BLOCKS; b++) {
    c0[b] = (uint32_t)first + b;
    c1[b] = (uint32_t)(step >> 32);
    c2[b] = (uint32_t)step;
    c3[b] = id;
  }
  uint32_t k0 = key[0], k1 = key[1];
  for (int32_t round = 0; round < 10; round++) {
    for (int32_t b = 0; b < BLOCKS; b++) {
      uint64_t p0 = (uint64_t)0xD2511F53u * c0[b], p1 = (uint64_t)0xCD9E8D57u * c2[b];
      c0[b] = (uint32_t)(p1 >> 32) ^ c1[b] ^ k0;
      c1[b] = (uint32_t)p1;
      c2[b] = (uint32_t)(p0 >> 32) ^ c3[b] ^ k1;
      c3[b] = (uint32_t)p0;
    }
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  for (int32_t b = 0; b < BLOCKS; b++) {
    y[4 * b] = frt__unit(c0[b]);
    y[4 * b + 1] = frt__unit(c1[b]);
    y[4 * b + 2] = frt__unit(c2[b]);
    y[4 * b + 3] = frt__unit(c3[b]);
  }
}
// y[row][j] from Philox as runtime/ops/random/uniform.c says, rows numbered from `sample`; key is
// the op's.
FRT_SIMD void FRT_K(uniform)(const uint32_t key[2], uint64_t step, uint32_t sample, int64_t rows,
                             int64_t n, float *y)
{
  int64_t pieces = (n + ROW_PIECE - 1) / ROW_PIECE;
  int32_t threads = frt__team(rows * n);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int32_t t = 0; t < threads; t++) {
    int64_t from, to;
    frt__share(rows * pieces, 1, t, threads, &from, &to);
    for (int64_t i = from; i < to; i++) {
      int64_t row = i / pieces, at = i % pieces * ROW_PIECE, end = FRT_MIN(n, at + ROW_PIECE);
      uint32_t id = sample + (uint32_t)row;
      for (; at < end; at += 4 * BLOCKS) {
        float few[4 * BLOCKS], *to_row = y + row * n + at;
        if (end - at >= 4 * BLOCKS) {
          blocks(key, (uint64_t)at / 4, step, id, to_row);
        } else if (end - at > 4) {
          blocks(key, (uint64_t)at / 4, step, id, few);
          memcpy(to_row, few, (size_t)(end - at) * sizeof(float));
        } else {
          uint32_t word[4],
            counter[4] = {(uint32_t)(at / 4), (uint32_t)(step >> 32), (uint32_t)step, id};
          frt__philox(counter, key, word);
          for (int64_t w = 0; w < end - at; w++) {
            to_row[w] = frt__unit(word[w]);
          }
        }
      }
    }
  }
}
