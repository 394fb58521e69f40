// conv_gemm.c -- 1x1 convolutions as matrix products, x [rows, C], w [O, C], y [rows, O].
//
// What goes before and after a product happens in tiles of rows while they are in the cache: x
// computed as it is read (frt_load), bias and activation, y's statistics. A map too small for
// tiles is computed whole, for a thread's part of a small product costs more than it saves.
#include "cpu/conv_state.h"
#include "cpu/move.h"

// Rows of a tile; of one whose x is computed, at most so many floats; columns a tiled result may
// have; numbers of a thread's part of bias and activation; rows from which on tiles pay.
enum { TILE = 1024, LOAD_TILE = 256, NARROW = 384, PART = 16384, MANY = 2048 };

static int64_t rows_of(const frt_dn_conv *c)
{
  return c->n * c->oh * c->ow;
}

// dw = dy^T x is made as (x^T dy)^T where O > C: sgemm wants the longer side in its inner loop,
// which is worth 15 to 30 % once the sum is long enough to pay for turning the result.
static bool turned(const frt_dn_conv *c)
{
  return c->kind == FRT_DN_GRAD_WEIGHT && c->o > c->c && rows_of(c) >= 1024;
}

static bool in_tiles(const frt__conv *v)
{
  return (v->loads || v->counts) && rows_of(&v->c) >= MANY * (int64_t)frt_threads();
}

static size_t floats(int64_t n)
{
  return ((size_t)n * sizeof(float) + 63) / 64 * 64;
}

// Scratch: computed x (per thread, or whole), then statistics per thread, then sums of dw per
// thread, then dw before it is turned.
static size_t loaded_bytes(const frt__conv *v)
{
  if (!v->loads) {
    return 0;
  }
  return in_tiles(v) ? (size_t)frt_threads() * floats(LOAD_TILE * v->c.c)
                     : floats(rows_of(&v->c) * v->c.c);
}
static size_t counts_bytes(const frt__conv *v)
{
  return v->counts ? (size_t)frt_threads() * frt__kernels()->moments_bytes(v->c.o) : 0;
}
static size_t sums_bytes(const frt__conv *v)
{
  return v->c.kind == FRT_DN_GRAD_WEIGHT && in_tiles(v)
           ? (size_t)frt_threads() * floats(v->c.o * v->c.c)
           : 0;
}

size_t frt__conv_gemm_scratch(const frt__conv *v)
{
  return loaded_bytes(v) + counts_bytes(v) + sums_bytes(v) +
         (turned(&v->c) ? floats(v->c.o * v->c.c) : 0);
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
  const frt_dn_conv *c = &v->c;
  const int64_t rows = rows_of(c), n_in = c->c, n_out = c->o;
  const int32_t threads = frt_threads();
  char *counts = scratch + loaded_bytes(v);
  const size_t each = counts_bytes(v) / (size_t)threads;
  int32_t failed = 0;
#pragma omp parallel for num_threads(threads) schedule(static) reduction(+ : failed)
  for (int32_t t = 0; t < threads; t++) {
    float *own = (float *)(scratch + (size_t)t * floats(LOAD_TILE * n_in));
    double *part = v->counts ? (double *)(counts + (size_t)t * each) : NULL;
    int64_t from, to;
    share(rows, tile, t, threads, &from, &to);
    for (int64_t r = from; r < to; r += tile) {
      const int64_t m = FRT_MIN(tile, to - r);
      const float *a = x + r * n_in;
      if (load) {
        frt__kernels()->load_rows(load, a, r, m, n_in, own);
        a = own;
      }
      failed += frt__dn_sgemm(false, true, m, n_out, n_in, a, n_in, w, n_in, 0.0f, y + r * n_out,
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
    frt__kernels()->load_rows(load, x + r * c, r, FRT_MIN(part, rows - r), c, to + r * c);
  }
}

static frt_status forward_whole(const frt__conv *v, const frt_load *load, const float *x,
                                const float *w, const float *bias, float *y, char *scratch)
{
  const frt_dn_conv *c = &v->c;
  const int64_t rows = rows_of(c), n_in = c->c, n_out = c->o;
  const int32_t threads = frt_threads();
  char *counts = scratch + loaded_bytes(v);
  const size_t each = counts_bytes(v) / (size_t)threads;
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
  const float *bias = c->bias ? in[2] : NULL;
  frt_load room;
  const frt_load *load = frt__conv_load(v, in, &room);
  char *counts = scratch + loaded_bytes(v);
  if (v->counts) {
    memset(counts, 0, counts_bytes(v));
  }
  const bool follows = bias || c->act != FRT_ACT_NONE;
  const bool narrow = follows && c->o <= NARROW && rows_of(c) > TILE * (frt_threads() - 1);
  if (in_tiles(v) || (narrow && !load)) {
    FRT_TRY(forward_tiles(v, in_tiles(v) ? LOAD_TILE : TILE, load, in[0], in[1], bias, out[0],
                          scratch));
  } else {
    FRT_TRY(forward_whole(v, load, in[0], in[1], bias, out[0], scratch));
  }
  if (v->counts) {
    frt__kernels()->moments_finish(&v->bn, frt_threads(), counts,
                                   frt__kernels()->moments_bytes(c->o), in[8], in[9], out[1],
                                   out[2], out[3], out[4]);
  }
  return FRT_OK;
}

// --- gradients ----------------------------------------------------------------------------------
// dw (O x C, or C x O turned) of `rows` rows, added to `beta` times what is there.
static frt_status product(const frt_dn_conv *c, bool turn, int64_t rows, const float *x,
                          const float *dy, float beta, float *dw)
{
  return turn ? frt__dn_sgemm(true, false, c->c, c->o, rows, x, c->c, dy, c->o, beta, dw, c->o)
              : frt__dn_sgemm(true, false, c->o, c->c, rows, dy, c->o, x, c->c, beta, dw, c->c);
}

static frt_status weight_tiles(const frt__conv *v, bool turn, const frt_load *load, const float *x,
                               const float *dy, float *dw, char *scratch)
{
  const frt_dn_conv *c = &v->c;
  const int64_t rows = rows_of(c), n = c->o * c->c;
  const int32_t threads = frt_threads();
  char *sums = scratch + loaded_bytes(v);
  int32_t failed = 0;
#pragma omp parallel for num_threads(threads) schedule(static) reduction(+ : failed)
  for (int32_t t = 0; t < threads; t++) {
    float *own = (float *)(scratch + (size_t)t * floats(LOAD_TILE * c->c));
    float *sum = (float *)(sums + (size_t)t * floats(n));
    int64_t from, to;
    share(rows, LOAD_TILE, t, threads, &from, &to);
    for (int64_t r = from; r < to; r += LOAD_TILE) {
      const int64_t m = FRT_MIN(LOAD_TILE, to - r);
      frt__kernels()->load_rows(load, x + r * c->c, r, m, c->c, own);
      failed += product(c, turn, m, own, dy + r * c->o, r > from, sum) != FRT_OK;
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

static frt_status weight(const frt__conv *v, void *const *in, void *const *out, char *scratch)
{
  const frt_dn_conv *c = &v->c;
  frt_load room;
  const frt_load *load = frt__conv_load(v, in, &room);
  const bool turn = turned(c);
  const float *x = in[0];
  float *to = turn ? (float *)(scratch + loaded_bytes(v) + sums_bytes(v)) : out[0];
  if (in_tiles(v)) {
    FRT_TRY(weight_tiles(v, turn, load, x, in[1], to, scratch));
  } else {
    if (load) {
      load_all(v, load, x, (float *)scratch);
      x = (float *)scratch;
    }
    FRT_TRY(product(c, turn, rows_of(c), x, in[1], 0.0f, to));
  }
  if (turn) {
    frt__move(
      (frt_move){
        .ndim = 2, .dim = {c->o, c->c},
             .from = {1,    c->o},
             .to = {c->c, 1   }
    },
      sizeof(float), to, out[0]);
  }
  return FRT_OK;
}

frt_status frt__conv_gemm(const frt__conv *v, void *const *in, void *const *out, void *scratch)
{
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
