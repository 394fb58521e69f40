// bf16.h -- dense convolutions and products of maps stored as bf16, sums in f32, on NHWC: out =
// windows of a source times weights, and the gradient by the weights. bf16.c describes them and
// reads windows, bf16_forward.c and bf16_weight.c multiply.
#pragma once
#include "cpu/conv/bf16_simd.h"
#include "cpu/onednn.h"

// One direction of a filter: its taps in the order in which they lie in the source.
typedef struct frt__bf16_axis {
  int64_t n, tap, tap_step; // how many; the first one's place in the filter
  int64_t from, step;       // where the first one reads for output 0
} frt__bf16_axis;

// Outputs that read alike: all of them, or one phase of a gradient by the input.
typedef struct frt__bf16_grid {
  frt__bf16_axis y, x;
  int64_t h, w, y0, x0; // outputs of a photo; the first one's place in the output
  int64_t run;          // taps that are one segment of the product
  int64_t segments, k;  // k: numbers of a segment
  size_t packed;        // where in the packed weights its own begin
  bool band;            // windows are read from a copy with its padding; else pixel by pixel
  int64_t tile;         // rows at a time; of a band whole lines
} frt__bf16_grid;

typedef struct frt__bf16_windows {
  int64_t photos, sh, sw, sc; // the source, [photos, sh, sw, sc]
  int64_t h, w, n;            // the output, [photos, h, w, n]
  int64_t stride[2], step[2]; // of neighbours of a grid: in the source, in the output
  int64_t taps, kw, w_n, w_c; // weights: steps to the next output channel, source channel
  bool source_bf16, w_bf16, out_bf16, bias;
  int32_t act;
  bool loads, counts; // counts: statistics of the output, which want whole rows
  int64_t group;      // columns computed at a time
  int64_t n_grid;
  frt__bf16_grid *grid;
  size_t pointers, source, sums; // bytes of a thread's scratch: row pointers, source rows, f32
  // weights packed, and which version of them
  void *packed;
  size_t packed_bytes;
  const void *from;
  uint64_t version;
  // gradient by the weights: threads share the columns of dw; else the rows
  bool by_columns;
} frt__bf16_windows;

// What a run reads and writes beside the weights. parts: statistics, `part` bytes a thread; NULL.
typedef struct frt__bf16_args {
  const void *source, *w; // of a gradient by the weights w is dy, of which source_bf16 too
  const float *bias;
  const frt_load *load;
  void *out;
  char *parts;
  size_t part;
  char *scratch;
} frt__bf16_args;

// Describes a convolution or its gradients (groups 1). The caller sets what is bf16, then plans.
frt_status frt__bf16_of_conv(frt__bf16_windows *h, const frt_dn_conv *c);
// out[m, n] = source[m, k] w; transposed: w lies [n, k]. Of a gradient by the weights: out[n, k].
frt_status frt__bf16_of_rows(frt__bf16_windows *h, int64_t m, int64_t n, int64_t k,
                             bool transposed);
void frt__bf16_free(frt__bf16_windows *h);

// Scratch bytes; ready, before the first run: the block for packed weights; packs where the version
// is 0 or another.
size_t frt__bf16_plan(frt__bf16_windows *h);
frt_status frt__bf16_ready(frt__bf16_windows *h);
void frt__bf16_pack(frt__bf16_windows *h, const void *w, uint64_t version);
void frt__bf16_run(const frt__bf16_windows *h, const frt__bf16_args *a);
size_t frt__bf16_weight_plan(frt__bf16_windows *h);
void frt__bf16_weight(const frt__bf16_windows *h, bool dy_bf16, const frt__bf16_args *a);

// Row pointers [segments][rows rounded up to 8] of a tile of the source, in a thread's scratch.
// Columns [first, first + n) only where the source is read pixel by pixel.
void frt__bf16_fetch(const frt__bf16_windows *h, const frt__bf16_grid *g, const frt__bf16_args *a,
                     int64_t row, int64_t rows, int64_t first, int64_t n, char *scratch);
// Chooses tiles where a row takes `bytes` beside the source's; sets pointers, source.
void frt__bf16_tiles(frt__bf16_windows *h, frt__bf16_grid *g, int64_t bytes, int64_t most);
// Bytes worth asking for ahead: more would drive out what the second cache holds.
static inline int64_t frt__bf16_ahead(int64_t bytes)
{
  return bytes <= (288 << 10) ? bytes : 0;
}
static inline size_t frt__bf16_bytes(int64_t n)
{
  return ((size_t)n + 63) / 64 * 64;
}
static inline int64_t frt__bf16_total(const frt__bf16_windows *h, const frt__bf16_grid *g)
{
  return h->photos * g->h * g->w;
}
// Thread t's rows, whole tiles but for the last.
static inline void frt__bf16_share(int64_t rows, int64_t tile, int32_t t, int32_t n, int64_t *from,
                                   int64_t *to)
{
  const int64_t tiles = (rows + tile - 1) / tile;
  *from = FRT_MIN(rows, tiles * t / n * tile);
  *to = FRT_MIN(rows, tiles * (t + 1) / n * tile);
}
