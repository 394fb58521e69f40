// half.h -- dense convolutions and products of maps stored as bf16, sums in f32, on NHWC: out =
// windows of a source times weights, and the gradient by the weights. half.c describes them and
// reads windows, half_forward.c and half_weight.c multiply.
#pragma once
#include "cpu/conv/half_simd.h"
#include "cpu/onednn.h"

// One direction of a filter: its taps in the order in which they lie in the source.
typedef struct frt__half_axis {
  int64_t n, tap, tap_step; // how many; the first one's place in the filter
  int64_t from, step;       // where the first one reads for output 0
} frt__half_axis;

// Outputs that read alike: all of them, or one phase of a gradient by the input.
typedef struct frt__half_grid {
  frt__half_axis y, x;
  int64_t h, w, y0, x0; // outputs of a photo; the first one's place in the output
  int64_t run;          // taps that are one segment of the product
  int64_t segments, k;  // k: numbers of a segment
  size_t packed;        // where in the packed weights its own begin
  bool band;            // windows are read from a copy with its padding; else pixel by pixel
  int64_t tile;         // rows at a time; of a band whole lines
} frt__half_grid;

typedef struct frt__half {
  int64_t photos, sh, sw, sc; // the source, [photos, sh, sw, sc]
  int64_t h, w, n;            // the output, [photos, h, w, n]
  int64_t stride[2], step[2]; // of neighbours of a grid: in the source, in the output
  int64_t taps, kw, w_n, w_c; // weights: steps to the next output channel, source channel
  bool source_half, w_half, out_half, bias;
  int32_t act;
  bool loads, counts; // counts: statistics of the output, which want whole rows
  int64_t group;      // columns computed at a time
  int64_t n_grid;
  frt__half_grid *grid;
  size_t pointers, source, sums; // bytes of a thread's scratch: row pointers, source rows, f32
  // weights packed, and which version of them
  void *packed;
  size_t packed_bytes;
  const void *from;
  uint64_t version;
  // gradient by the weights: threads share the columns of dw; else the rows
  bool by_columns;
} frt__half;

// What a run reads and writes beside the weights. parts: statistics, `part` bytes a thread; NULL.
typedef struct frt__half_args {
  const void *source, *w; // of a gradient by the weights w is dy, of which source_half too
  const float *bias;
  const frt_load *load;
  void *out;
  char *parts;
  size_t part;
  char *scratch;
} frt__half_args;

// Describes a convolution or its gradients (groups 1). The caller sets what is half, then plans.
frt_status frt__half_conv(frt__half *h, const frt_dn_conv *c);
// out[m, n] = source[m, k] w; turned: w lies [n, k]. Of a gradient by the weights: out[n, k].
frt_status frt__half_rows(frt__half *h, int64_t m, int64_t n, int64_t k, bool turned);
void frt__half_free(frt__half *h);

// Scratch bytes; ready, before the first run: the block for packed weights; packs where the version
// is 0 or another.
size_t frt__half_plan(frt__half *h);
frt_status frt__half_ready(frt__half *h);
void frt__half_pack(frt__half *h, const void *w, uint64_t version);
void frt__half_run(const frt__half *h, const frt__half_args *a);
size_t frt__half_weight_plan(frt__half *h);
void frt__half_weight(const frt__half *h, bool dy_half, const frt__half_args *a);

// Row pointers [segments][rows rounded up to 8] of a tile of the source, in a thread's scratch.
// Columns [first, first + n) only where the source is read pixel by pixel.
void frt__half_fetch(const frt__half *h, const frt__half_grid *g, const frt__half_args *a,
                     int64_t row, int64_t rows, int64_t first, int64_t n, char *scratch);
// Chooses tiles where a row takes `bytes` beside the source's; sets pointers, source.
void frt__half_tiles(frt__half *h, frt__half_grid *g, int64_t bytes, int64_t most);
// Bytes worth asking for ahead: more would drive out what the second cache holds.
static inline int64_t frt__half_ahead(int64_t bytes)
{
  return bytes <= (288 << 10) ? bytes : 0;
}
static inline size_t frt__half_bytes(int64_t n)
{
  return ((size_t)n + 63) / 64 * 64;
}
static inline int64_t frt__half_total(const frt__half *h, const frt__half_grid *g)
{
  return h->photos * g->h * g->w;
}
// Thread t's rows, whole tiles but for the last.
static inline void frt__half_share(int64_t rows, int64_t tile, int32_t t, int32_t n, int64_t *from,
                                   int64_t *to)
{
  const int64_t tiles = (rows + tile - 1) / tile;
  *from = FRT_MIN(rows, tiles * t / n * tile);
  *to = FRT_MIN(rows, tiles * (t + 1) / n * tile);
}
