// depthwise.h -- what the depthwise kernels share: the ring of padded source rows in blocks of one
// vector of channels, and how the work is cut into items.
#pragma once
#include "cpu/norm/load_simd.h"

// Channels are walked in groups: as many as keep the ring in the first cache, if that is at least
// DW_PIECE bytes of each pixel, else as many as keep it in the second (rows are then read whole).
enum { DW_PIECE = 256, DW_RING_L1 = 24 << 10, DW_RING_L2 = 512 << 10 };

// Source rows live in a ring: slot = row % slots, each [width][FRT_VL] per block of channels, with
// `left` zero columns in front and zeros behind.
typedef struct dw_ring {
  int64_t slots, width, left, copy; // copy: columns taken from the source
  int64_t row, block;               // floats per row, per block of channels
  int32_t blocks;                   // blocks per group
} dw_ring;

// One item: rows [from, to) of one group of channels of one image.
typedef struct dw_items {
  int64_t n, groups, chunks, rows, count;
} dw_items;

FRT_INLINE int64_t dw_blocks(int64_t c)
{
  return (c + FRT_VL - 1) / FRT_VL;
}
FRT_INLINE int64_t dw_floor_div(int64_t a, int64_t b)
{
  return a >= 0 ? a / b : -((-a + b - 1) / b);
}
FRT_INLINE void dw_ring_size(dw_ring *r, int64_t slots, int64_t width, int64_t left,
                             int64_t source_width)
{
  r->slots = slots;
  r->width = width;
  r->left = left;
  r->copy = FRT_MAX(0, FRT_MIN(source_width, width - left));
  r->row = width * FRT_VL;
  r->block = (slots + 1) * r->row; // the last slot stays zero: rows outside the source
  int64_t fit = DW_RING_L1 / (r->block * 4);
  fit = fit * FRT_VBYTES >= DW_PIECE ? fit : DW_RING_L2 / (r->block * 4);
  r->blocks = (int32_t)FRT_MAX(1, FRT_MIN(fit, 4096));
}
// Cuts n images x groups of channels x chunks of rows: at least four items per thread. Smaller
// groups come first, down to DW_PIECE bytes of a pixel, for chunks read their neighbours' rows
// again.
FRT_INLINE void dw_cut(dw_items *it, dw_ring *r, int64_t n, int64_t c, int64_t rows,
                       int32_t threads)
{
  int64_t wanted = (dw_blocks(c) * n + 4 * threads - 1) / (4 * threads);
  if (threads > 1) {
    r->blocks =
      (int32_t)FRT_MIN(r->blocks, FRT_MAX(wanted, FRT_MAX(1, DW_PIECE / (int64_t)FRT_VBYTES)));
  }
  r->blocks = (int32_t)FRT_MIN(r->blocks, dw_blocks(c));
  int32_t group_blocks = r->blocks;
  it->n = n;
  it->groups = (dw_blocks(c) + group_blocks - 1) / group_blocks;
  int64_t have = FRT_MAX(1, it->n * it->groups), want = 4 * (int64_t)threads;
  int64_t chunks = have >= want || threads == 1 ? 1 : (want + have - 1) / have;
  it->rows = FRT_MAX(4, (rows + chunks - 1) / chunks);
  it->chunks = (rows + it->rows - 1) / it->rows;
  it->count = it->n * it->groups * it->chunks;
}
enum { DW_AS_IT_LIES = -1, DW_AHEAD = 8 }; // in place of an activation; columns asked for early
FRT_INLINE void dw_ring_copy(const int act, const bool bf16, const frt_load *l, const dw_ring *r,
                             float *to, const void *from, int64_t c, int64_t c0, int32_t blocks)
{
  int64_t channels = FRT_MIN(c - c0, blocks * FRT_VL);
  for (int64_t w = 0; w < r->copy; w++, to += FRT_VL, from = v_at(bf16, from, c)) {
    for (int64_t b = 0; b < blocks; b++) {
      int64_t lanes = channels - b * FRT_VL;
      vf v = v_some(bf16, from, b * FRT_VL, lanes);
      v_ask(bf16, from, DW_AHEAD * c + b * FRT_VL);
      if (act != DW_AS_IT_LIES) {
        v = load_value(act, v, load_norm_at(l, c0 + b * FRT_VL, lanes));
      }
      v_store(to + b * r->block, v);
    }
  }
}
// Copies source row `row` (row of [width][c] at src) of `blocks` blocks from channel c0 into the
// ring, computed as load says.
FRT_INLINE void dw_ring_fill_as(const bool bf16, const dw_ring *r, const frt_load *load, float *to,
                                const void *from, int64_t c, int64_t c0, int32_t blocks)
{
  if (!load) {
    dw_ring_copy(DW_AS_IT_LIES, bf16, load, r, to, from, c, c0, blocks);
    return;
  }
  FRT_BY_ACT(load->act, dw_ring_copy, bf16, load, r, to, from, c, c0, blocks);
}
FRT_INLINE void dw_ring_fill(const dw_ring *r, const frt_load *load, bool bf16, float *ring,
                             const void *src, int64_t c, int64_t c0, int32_t blocks, int64_t slot)
{
  float *to = ring + slot * r->row + r->left * FRT_VL;
  FRT_BY_BF16(bf16, dw_ring_fill_as, r, load, to, v_at(bf16, src, c0), c, c0, blocks);
}
// Zeros where no source column goes: beside the columns, and in the last slot.
FRT_INLINE void dw_ring_clear(const dw_ring *r, float *ring)
{
  int64_t left = r->left * FRT_VL, used = left + r->copy * FRT_VL;
  for (int32_t b = 0; b < r->blocks; b++) {
    float *row = ring + b * r->block;
    for (int64_t s = 0; s < r->slots; s++, row += r->row) {
      memset(row, 0, (size_t)left * sizeof(float));
      memset(row + used, 0, (size_t)(r->row - used) * sizeof(float));
    }
    memset(row, 0, (size_t)r->row * sizeof(float));
  }
}
