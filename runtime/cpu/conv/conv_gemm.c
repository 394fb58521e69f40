// conv_gemm.c -- dense convolutions as matrix products, y [rows, O] = a [rows, K] w [O, K]^T.
//
// A 1x1 convolution's a is x as it lies; the gradient by a larger filter's weights reads windows of
// x, K = kh kw C, gathered tile by tile or tap by tap. What goes before and after a product happens
// in tiles of rows while they are in the cache: x computed as it is read (frt_load), bias and
// activation, y's statistics. A map too small for tiles is computed whole, for a thread's part of a
// small product costs more than it saves.
#include "cpu/conv/conv.h"
#include "cpu/move/move.h"

// Rows of a tile; of one that is gathered or computed, and at most so many bytes; columns a tiled
// result may have; numbers of a thread's part of bias and activation; rows from which on tiles pay;
// numbers of dw up to which each thread keeps sums of its own.
enum { TILE = 1024, LOAD_TILE = 256, LOAD_BYTES = 768 << 10, NARROW = 384, PART = 16384 };
enum { MANY = 2048, SUMS = 256 << 10 };

// A product too, over windows that are gathered: of gradients by the weights.
static bool windows(const frt__conv *v)
{
  return v->variant == &frt__conv_windows;
}

static int64_t rows_of(const frt_dn_conv *c)
{
  return c->n * c->oh * c->ow;
}

// --- what a product reads -----------------------------------------------------------------------
// Taps [tap, tap + n_tap) of rows [row, row + rows), n_tap * c floats a row.
static void gather(const frt_dn_conv *g, const frt_load *load, const float *x, int64_t row,
                   int64_t rows, int64_t tap, int64_t n_tap, float *a)
{
  const frt_kernels *k = frt__kernels();
  const size_t bytes = (size_t)g->c * sizeof *a;
  for (int64_t r = row; r < row + rows; r++) {
    const int64_t n = r / (g->oh * g->ow), oy = r / g->ow % g->oh, ox = r % g->ow;
    for (int64_t t = tap; t < tap + n_tap; t++, a += g->c) {
      const int64_t y = oy * g->stride[0] - g->pad[0] + t / g->kw * g->dilation[0];
      const int64_t at = ox * g->stride[1] - g->pad[1] + t % g->kw * g->dilation[1];
      if (y < 0 || y >= g->h || at < 0 || at >= g->w) {
        memset(a, 0, bytes);
        continue;
      }
      const int64_t from = (n * g->h + y) * g->w + at;
      if (load) {
        k->load_rows(load, false, x + from * g->c, from, 1, g->c, a);
      } else {
        memcpy(a, x + from * g->c, bytes);
      }
    }
  }
}

// Rows of a on the calling thread: in `own`, or where they lie.
static const float *fetch(const frt__conv *v, const frt_load *load, const float *x, int64_t row,
                          int64_t rows, float *own)
{
  const frt_dn_conv *c = &v->c;
  if (windows(v)) {
    gather(c, load, x, row, rows, 0, c->kh * c->kw, own);
    return own;
  }
  x += row * c->c;
  if (load) {
    frt__kernels()->load_rows(load, false, x, row, rows, c->c, own);
    return own;
  }
  return x;
}

// --- sizes --------------------------------------------------------------------------------------
static int64_t depth_of(const frt__conv *v)
{
  return v->c.c * v->c.kh * v->c.kw;
}

// dw = dy^T x is made as (x^T dy)^T where O > C: sgemm wants the longer side in its inner loop,
// which is worth 15 to 30 % once the sum is long enough to pay for turning the result.
static bool is_transposed(const frt__conv *v)
{
  return v->c.kind == FRT_DN_GRAD_WEIGHT && !windows(v) && v->c.o > v->c.c &&
         rows_of(&v->c) >= 1024;
}

// Windows of a large filter: dw tap by tap, each over all rows.
static bool by_taps(const frt__conv *v)
{
  return windows(v) && v->c.kind == FRT_DN_GRAD_WEIGHT && v->c.o * depth_of(v) > SUMS;
}

static bool in_tiles(const frt__conv *v)
{
  return !by_taps(v) && (windows(v) || ((v->loads || v->counted) &&
                                        rows_of(&v->c) >= MANY * (int64_t)frt_threads()));
}

static int64_t tile_rows(const frt__conv *v)
{
  int64_t most = (int64_t)LOAD_BYTES / ((int64_t)sizeof(float) * depth_of(v));
  int64_t each = (rows_of(&v->c) + frt_threads() - 1) / frt_threads(); // no thread idles
  return FRT_MIN(each, FRT_MAX((int64_t)64, FRT_MIN((int64_t)LOAD_TILE, most)));
}

static size_t floats(int64_t n)
{
  return ((size_t)n * sizeof(float) + 63) / 64 * 64;
}

// Scratch: rows of a (per thread, or whole), then statistics per thread, then sums of dw per
// thread, then dw before its numbers are put in order.
static size_t each_rows(const frt__conv *v)
{
  return by_taps(v) ? floats(rows_of(&v->c) * v->c.c) : floats(tile_rows(v) * depth_of(v));
}
static size_t rows_bytes(const frt__conv *v)
{
  if (by_taps(v) || in_tiles(v)) {
    return (size_t)frt_threads() * each_rows(v);
  }
  return v->loads ? floats(rows_of(&v->c) * v->c.c) : 0;
}
static size_t sums_bytes(const frt__conv *v)
{
  return v->c.kind == FRT_DN_GRAD_WEIGHT && in_tiles(v)
           ? (size_t)frt_threads() * floats(v->c.o * depth_of(v))
           : 0;
}
static bool reordered(const frt__conv *v)
{
  return v->c.kind == FRT_DN_GRAD_WEIGHT && (is_transposed(v) || windows(v));
}

static size_t scratch_of(const frt__conv *v)
{
  return rows_bytes(v) + frt__conv_counts(v) + sums_bytes(v) +
         (reordered(v) ? floats(v->c.o * depth_of(v)) : 0);
}

// Thread t's rows [from, to), whole tiles but for the last.
static void share(int64_t rows, int64_t tile, int32_t t, int32_t n, int64_t *from, int64_t *to)
{
  int64_t tiles = (rows + tile - 1) / tile;
  *from = FRT_MIN(rows, tiles * t / n * tile);
  *to = FRT_MIN(rows, tiles * (t + 1) / n * tile);
}

// --- forward ------------------------------------------------------------------------------------
// Bias, activation and statistics of rows of y on the calling thread.
static void finish(const frt__conv *v, float *y, int64_t rows, const float *bias, double *part)
{
  const frt_kernels *k = frt__kernels();
  if (bias || v->c.act != FRT_ACT_NONE) {
    k->bias_act(y, rows, v->c.o, bias, (int32_t)v->c.act);
  }
  if (part) {
    k->moments_rows(y, rows, v->c.o, part);
  }
}

static frt_status forward_tiles(const frt__conv *v, int64_t tile, const frt_load *load,
                                const float *x, const float *w, const float *bias, float *y,
                                char *scratch)
{
  const int64_t rows = rows_of(&v->c), depth = depth_of(v);
  const int64_t n_out = v->c.o;
  const int32_t threads = frt_threads();
  char *counts = scratch + rows_bytes(v);
  const size_t each = frt__conv_counts(v) / (size_t)threads;
  int32_t failed = 0;
#pragma omp parallel for num_threads(threads) schedule(static) reduction(+ : failed)
  for (int32_t t = 0; t < threads; t++) {
    float *own = (float *)(scratch + (size_t)t * each_rows(v));
    double *part = v->counts ? (double *)(counts + (size_t)t * each) : NULL;
    int64_t from, to;
    share(rows, tile, t, threads, &from, &to);
    for (int64_t r = from; r < to; r += tile) {
      const int64_t m = FRT_MIN(tile, to - r);
      const float *a = fetch(v, load, x, r, m, own);
      failed += frt__dn_sgemm(false, true, m, n_out, depth, a, depth, w, depth, 0.0f, y + r * n_out,
                              n_out) != FRT_OK;
      finish(v, y + r * n_out, m, bias, part);
    }
  }
  FRT_CHECK(failed == 0, FRT_EDEVICE, "conv2d: oneDNN's matrix product failed");
  return FRT_OK;
}

static void load_all(const frt__conv *v, const frt_load *load, const float *x, float *to)
{
  const int64_t rows = rows_of(&v->c), c = v->c.c, part = FRT_MAX((int64_t)1, PART / c);
#pragma omp parallel for schedule(static) if (rows > part)
  for (int64_t r = 0; r < rows; r += part) {
    frt__kernels()->load_rows(load, false, x + r * c, r, FRT_MIN(part, rows - r), c, to + r * c);
  }
}

static frt_status forward_whole(const frt__conv *v, const frt_load *load, const float *x,
                                const float *w, const float *bias, float *y, char *scratch)
{
  const frt_dn_conv *c = &v->c;
  const int64_t rows = rows_of(c), n_in = c->c, n_out = c->o;
  const int32_t threads = frt_threads();
  char *counts = scratch + rows_bytes(v);
  const size_t each = frt__conv_counts(v) / (size_t)threads;
  if (load) {
    load_all(v, load, x, (float *)scratch);
    x = (float *)scratch;
  }
  FRT_TRY(frt__dn_sgemm(false, true, rows, n_out, n_in, x, n_in, w, n_in, 0.0f, y, n_out));
  if (!bias && c->act == FRT_ACT_NONE && !v->counts) {
    return FRT_OK;
  }
  const int64_t part = FRT_MAX((int64_t)1, PART / n_out);
#pragma omp parallel for num_threads(threads) schedule(static) if (rows > part)
  for (int32_t t = 0; t < threads; t++) {
    int64_t from, to;
    share(rows, part, t, threads, &from, &to);
    for (int64_t r = from; r < to; r += part) {
      finish(v, y + r * n_out, FRT_MIN(part, to - r), bias,
             v->counts ? (double *)(counts + (size_t)t * each) : NULL);
    }
  }
  return FRT_OK;
}

static frt_status forward(const frt__conv *v, void *const *in, void *const *out, char *scratch)
{
  const frt_dn_conv *c = &v->c;
  const float *w = in[1];
  const float *bias = c->bias ? in[2] : NULL;
  frt_load room;
  const frt_load *load = frt__conv_load(v, in, &room);
  char *counts = scratch + rows_bytes(v);
  if (v->counts) {
    memset(counts, 0, frt__conv_counts(v));
  }
  const bool follows = bias || c->act != FRT_ACT_NONE;
  const bool narrow = follows && c->o <= NARROW && rows_of(c) > TILE * (frt_threads() - 1);
  if (in_tiles(v) || (narrow && !load)) {
    FRT_TRY(
      forward_tiles(v, in_tiles(v) ? tile_rows(v) : TILE, load, in[0], w, bias, out[0], scratch));
  } else {
    FRT_TRY(forward_whole(v, load, in[0], w, bias, out[0], scratch));
  }
  frt__conv_finish_counts(v, counts, in, out);
  return FRT_OK;
}

// --- gradient by the weights --------------------------------------------------------------------
// dw (O x K, or K x O transposed) of `rows` rows, added to `beta` times what is there.
static frt_status product(bool transposed, int64_t o, int64_t k, int64_t rows, const float *a,
                          const float *dy, float beta, float *dw)
{
  return transposed ? frt__dn_sgemm(true, false, k, o, rows, a, k, dy, o, beta, dw, o)
                    : frt__dn_sgemm(true, false, o, k, rows, dy, o, a, k, beta, dw, k);
}

static frt_status weight_tiles(const frt__conv *v, const frt_load *load, const float *x,
                               const float *dy, float *dw, char *scratch)
{
  const int64_t rows = rows_of(&v->c), o = v->c.o, depth = depth_of(v), n = o * depth;
  const int64_t tile = tile_rows(v);
  const int32_t threads = frt_threads();
  char *sums = scratch + rows_bytes(v);
  int32_t failed = 0;
#pragma omp parallel for num_threads(threads) schedule(static) reduction(+ : failed)
  for (int32_t t = 0; t < threads; t++) {
    float *own = (float *)(scratch + (size_t)t * each_rows(v));
    float *sum = (float *)(sums + (size_t)t * floats(n));
    int64_t from, to;
    share(rows, tile, t, threads, &from, &to);
    for (int64_t r = from; r < to; r += tile) {
      const int64_t m = FRT_MIN(tile, to - r);
      const float *a = fetch(v, load, x, r, m, own);
      failed += product(is_transposed(v), o, depth, m, a, dy + r * o, r > from, sum) != FRT_OK;
    }
    if (from == to) {
      memset(sum, 0, (size_t)n * sizeof *sum);
    }
  }
  FRT_CHECK(failed == 0, FRT_EDEVICE, "conv2d: oneDNN's matrix product failed");
#pragma omp parallel for num_threads(threads) schedule(static) if (n > PART)
  for (int64_t i = 0; i < n; i++) {
    float s = 0;
    for (int32_t t = 0; t < threads; t++) {
      s += ((const float *)(sums + (size_t)t * floats(n)))[i];
    }
    dw[i] = s;
  }
  return FRT_OK;
}

// Each tap's [O, C] is a product over all rows of x moved by the tap; halves of O make enough of
// them to share out.
static frt_status weight_taps(const frt__conv *v, const frt_load *load, const float *x,
                              const float *dy, float *dw, char *scratch)
{
  const int64_t rows = rows_of(&v->c), o = v->c.o, c = v->c.c, taps = v->c.kh * v->c.kw;
  const int64_t bf16 = (o + 1) / 2;
  const int32_t threads = frt_threads();
  int32_t failed = 0;
#pragma omp parallel for num_threads(threads) schedule(static) reduction(+ : failed)
  for (int32_t t = 0; t < threads; t++) {
    float *own = (float *)(scratch + (size_t)t * each_rows(v));
    for (int64_t i = 2 * taps * t / threads, held = -1; i < 2 * taps * (t + 1) / threads; i++) {
      const int64_t tap = i / 2, o0 = i % 2 * bf16, m = FRT_MIN(bf16, o - o0);
      if (tap != held) {
        gather(&v->c, load, x, 0, rows, tap, 1, own);
        held = tap;
      }
      if (m > 0) {
        failed += frt__dn_sgemm(true, false, m, c, rows, dy + o0, o, own, c, 0.0f,
                                dw + (o0 * taps + tap) * c, taps * c) != FRT_OK;
      }
    }
  }
  FRT_CHECK(failed == 0, FRT_EDEVICE, "conv2d: oneDNN's matrix product failed");
  return FRT_OK;
}

static frt_status weight(const frt__conv *v, void *const *in, void *const *out, char *scratch)
{
  const frt_dn_conv *c = &v->c;
  frt_load room;
  const frt_load *load = frt__conv_load(v, in, &room);
  const float *x = in[0];
  float *to = reordered(v) ? (float *)(scratch + rows_bytes(v) + sums_bytes(v)) : out[0];
  if (by_taps(v)) {
    FRT_TRY(weight_taps(v, load, x, in[1], to, scratch));
  } else if (in_tiles(v)) {
    FRT_TRY(weight_tiles(v, load, x, in[1], to, scratch));
  } else {
    if (load) {
      load_all(v, load, x, (float *)scratch);
      x = (float *)scratch;
    }
    FRT_TRY(product(is_transposed(v), c->o, c->c, rows_of(c), x, in[1], 0.0f, to));
  }
  if (reordered(v)) {
    const int64_t taps = c->kh * c->kw, depth = depth_of(v);
    const bool transposed = is_transposed(v);
    frt__move(
      (frt_move){
        .ndim = 3,
        .dim = {c->o,                   c->c,                  taps                 },
        .from = {transposed ? 1 : depth, transposed ? c->o : 1, transposed ? 1 : c->c},
        .to = {depth,                  taps,                  1                    }
    },
      sizeof(float), to, out[0]);
  }
  return FRT_OK;
}

static frt_status run(const frt_step *s, const void *packed, void *const *in, void *const *out,
                      void *scratch)
{
  (void)packed;
  const frt__conv *v = s->state;
  const frt_dn_conv *c = &v->c;
  switch (c->kind) {
  case FRT_DN_CONV:
    return forward(v, in, out, scratch);
  case FRT_DN_GRAD_INPUT: // dx = dy w
    return frt__dn_sgemm(false, false, rows_of(c), c->c, c->o, in[0], c->o, in[1], c->c, 0.0f,
                         out[0], c->c);
  default:
    return weight(v, in, out, scratch);
  }
}

// --- the variants --------------------------------------------------------------------------------
static bool can_gemm(const frt_dn_conv *c, bool bf16)
{
  return !bf16 && frt__conv_one_pixel(c);
}
static bool can_windows(const frt_dn_conv *c, bool bf16)
{
  return !bf16 && c->kind == FRT_DN_GRAD_WEIGHT && c->groups == 1 && c->c >= 16 && c->o >= 16;
}

static uint32_t takes_gemm(const frt_dn_conv *c, bool bf16)
{
  (void)c, (void)bf16;
  return FRT__LOAD | FRT__GATE | FRT__STATS;
}
static uint32_t takes_windows(const frt_dn_conv *c, bool bf16)
{
  (void)c, (void)bf16;
  return FRT__LOAD;
}

static frt_status plan(frt_step *s)
{
  frt__conv *v = s->state;
  v->parts = v->counts ? frt_threads() : 0;
  s->scratch = scratch_of(v);
  return FRT_OK;
}

const frt__conv_variant frt__conv_gemm = {
  .name = "onednn gemm",
  .note = "matrix product",
  .can = can_gemm,
  .takes = takes_gemm,
  .plan = plan,
  .run = run,
};
const frt__conv_variant frt__conv_windows = {
  .name = "onednn gemm windows",
  .note = "matrix product",
  .can = can_windows,
  .takes = takes_windows,
  .plan = plan,
  .run = run,
};
