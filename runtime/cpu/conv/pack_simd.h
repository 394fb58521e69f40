// pack.h -- plain weights of one panel of columns, a block of channels at a time, where they can be
// read column by column without missing the first cache.
#pragma once
#include "cpu/conv/tile_simd.h"

enum { PACK_ROW = 288, PACK_STEP = PACK_ROW + 4 }; // floats of a column's block of channels

// Weights [o][c][taps], or, transposed (by the input), [c][o][taps].
typedef struct pack_from {
  const float *w;
  int64_t c, o, taps;
  bool transposed;
} pack_from;

// Number (column l, channel i of the block, tap t) lies at at[l * by_col + i * by_chan + t].
typedef struct pack_block {
  const float *at;
  int64_t by_col, by_chan;
} pack_block;

// Channels of a block.
FRT_INLINE int64_t pack_channels(const pack_from *f)
{
  return FRT_MAX(1, FRT_MIN(f->c, PACK_ROW / f->taps));
}
// Columns from `col` on of channels [k, k + n); room: TILE_COLS * PACK_STEP floats.
FRT_INLINE pack_block pack_fetch(const pack_from *f, int64_t col, int64_t cols, int64_t k,
                                 int64_t n, float *room)
{
  if (f->transposed) {
    return (pack_block){f->w + (k * f->o + col) * f->taps, f->taps, f->o * f->taps};
  }
  const float *from = f->w + (col * f->c + k) * f->taps;
  if (f->taps > PACK_ROW) {
    return (pack_block){from, f->c * f->taps, f->taps};
  }
  for (int64_t l = 0; l < cols; l++) {
    memcpy(room + l * PACK_STEP, from + l * f->c * f->taps, sizeof *room * (size_t)(n * f->taps));
  }
  return (pack_block){room, PACK_STEP, f->taps};
}
