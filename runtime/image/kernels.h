// kernels.h -- the loops over pixels, as a table of functions: every file here is compiled once per
// instruction set, without fused multiply-add, so that all give the same bits.
#pragma once
#include "base/base.h"
#include "base/isa.h"

// Weights of two neighbouring taps with WEIGHT_BITS digits after the point, as Pillow's, each in
// two parts: high * 2^LOW_BITS + low.
enum { FRT__WEIGHT_BITS = 32 - 8 - 2, FRT__LOW_BITS = 11 };
typedef struct frt__taps {
  int16_t low[2], high[2];
} frt__taps;
FRT_INLINE int32_t frt__weight(const frt__taps *t, int32_t k)
{
  return t[k / 2].high[k & 1] * (1 << FRT__LOW_BITS) + t[k / 2].low[k & 1];
}
FRT_INLINE void frt__weight_set(frt__taps *t, int32_t k, int32_t weight)
{
  t[k / 2].high[k & 1] = (int16_t)(weight >> FRT__LOW_BITS);
  t[k / 2].low[k & 1] = (int16_t)(weight & ((1 << FRT__LOW_BITS) - 1));
}

// Rows of R G B pixels resampled to `ow` columns: output o is the sum of n_taps pixels from
// first[o] on by taps[o * n_pairs ..].
enum { FRT__ACROSS_ROWS = 16 };
typedef struct frt__across {
  const uint8_t *src;
  size_t stride;       // bytes of a row
  int32_t rows;        // 1 .. FRT__ACROSS_ROWS
  int32_t left, right; // columns that are read
  int32_t ow, n_taps, n_pairs;
  const int32_t *first;
  const frt__taps *taps;
  uint8_t *dst;  // rows of 3 * ow bytes
  bool planar;   // all R of a row, then its G, then its B
  uint8_t *tile; // 48 bytes for each column that is read, and 64
} frt__across;

typedef struct frt__box {
  double x0, y0, x1, y1;
} frt__box;
// R G B interleaved, in one of the scratch's buffers: 4 bytes beyond the end may be read.
typedef struct frt__pixels {
  const uint8_t *rgb;
  int32_t w, h;
  size_t stride; // bytes of a row; of a whole photo 3 * w
} frt__pixels;
// Three planes dst[ow, oh] by bilinear reading at m * (x + 0.5, y + 0.5, 1); `fill` outside of the
// photo (Pillow's transform(AFFINE, BILINEAR)).
typedef struct frt__warp {
  frt__pixels src;
  frt__box inside;
  double m[6];
  uint8_t *dst;
  int32_t ow, oh;
  uint8_t fill[3];
} frt__warp;

// A colour operation on whole numbers 0 .. 255.
enum { FRT__BLEND, FRT__SATURATION, FRT__HUE, FRT__GREY };
typedef struct frt__colour_op {
  int32_t kind;
  float factor; // FRT__HUE: sixths of a circle
  float from;   // FRT__BLEND: from + factor * (v - from)
} frt__colour_op;

// (v / 255 - mean) / std of each channel, in float.
typedef struct frt__normal {
  float mean[3], std[3], table[3][256];
  bool exact; // products by reciprocals, corrected, give the table's numbers (frt__normal_make)
} frt__normal;

// The operations in order on n pixels in three planes.
typedef struct frt__colour {
  const frt__colour_op *op;
  int32_t n_ops;
  uint8_t *plane[3];
  int64_t n;
  const frt__normal *normal;
  float *nhwc; // where normalised pixels go; NULL: the planes take the result
} frt__colour;

// The functions: those of the *_simd.c files that begin with FRT_SIMD.
#include "image_simd.h" // written by runtime/tables.lua: frt__photo_kernels, a pointer to each

// The table of the instruction set that frt_isa() names.
const frt__photo_kernels *frt__photo(void);
