// bn_gate.c -- backward through y = act(bn(x)) that is multiplied by a gate per photo and channel,
// which y's own mean may have made (squeeze-and-excitation): y's gradient is dz * gate + add, dz
// that of the gated map. Sums over it are sums over photos of gate times sums of dz, and add times
// sums without dz, so that they are added up in the pass that makes the gate's gradient, before
// gate and add are known; one pass writes dx.
#include "cpu/norm/load_simd.h"

// Rows added up together; rows and sums of a part.
enum { ROWS = 8, CHUNK = 256, SUMS = 5 };

static int64_t chunks_of(const frt_bn_gate *g)
{
  return (g->rows + CHUNK - 1) / CHUNK;
}

// The same behind a gate (bn_gate.c): dgate [n, c]; sums [4, n, c] as device/backend.h says; of
// bn_gate_grad scratch is 3 c floats.
FRT_SIMD size_t FRT_K(bn_gate_scratch)(const frt_bn_gate *g)
{
  return (size_t)(g->n * chunks_of(g) * SUMS * g->c) * sizeof(float);
}

// Adds rows of one photo to sum[SUMS][c]: of dz y, dz act', dz act' (x - mean), act', act' (x -
// mean).
FRT_INLINE void add_rows(const int act, const bool bf16, const frt_bn_gate *g, const frt_load *l,
                         const void *x, const void *dz, int64_t rows, float *sum)
{
  const int64_t c = g->c;
  for (int64_t j = 0; j < c; j += FRT_VL) {
    const int64_t lanes = c - j;
    const load_norm k = load_norm_at(l, j, lanes);
    vf s[SUMS];
#pragma GCC unroll 5
    for (int i = 0; i < SUMS; i++) {
      s[i] = load_lanes(sum + i * c + j, lanes);
    }
    for (int64_t r = 0; r < rows; r++) {
      v_ask(bf16, x, (r + ROWS) * c + j);
      v_ask(bf16, dz, (r + ROWS) * c + j);
      const vf v = v_some(bf16, x, r * c + j, lanes) - k.mean, z = v_fma(v, k.scale, k.shift);
      vf d;
      const vf y = v_act_both(act, z, &d), by = v_some(bf16, dz, r * c + j, lanes), e = by * d;
      s[0] = v_fma(by, y, s[0]);
      s[1] += e;
      s[2] = v_fma(e, v, s[2]);
      s[3] += d;
      s[4] = v_fma(d, v, s[4]);
    }
#pragma GCC unroll 5
    for (int i = 0; i < SUMS; i++) {
      v_put_some(false, sum, i * c + j, s[i], lanes);
    }
  }
}
FRT_INLINE void parts(const int act, const bool bf16, const frt_bn_gate *g, const frt_load *l,
                      const void *x, const void *dz, float *part)
{
  const int64_t chunks = chunks_of(g), c = g->c;
  const int32_t threads = frt__team(g->n * g->rows * c);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t i = 0; i < g->n * chunks; i++) {
    const int64_t first = i % chunks * CHUNK, rows = FRT_MIN(CHUNK, g->rows - first);
    const int64_t at = (i / chunks * g->rows + first) * c;
    float *sum = part + i * SUMS * c;
    memset(sum, 0, (size_t)(SUMS * c) * sizeof *sum);
    for (int64_t r = 0; r < rows; r += ROWS) {
      add_rows(act, bf16, g, l, v_at(bf16, x, at + r * c), v_at(bf16, dz, at + r * c),
               FRT_MIN(ROWS, rows - r), sum);
    }
  }
}
FRT_INLINE void parts_as(const bool bf16, const frt_bn_gate *g, const frt_load *l, const void *x,
                         const void *dz, float *part)
{
  FRT_BY_ACT(g->act, parts, bf16, g, l, x, dz, part);
}

FRT_SIMD void FRT_K(bn_gate_sums)(const frt_bn_gate *g, const void *x, const void *dz,
                                  const float *w, const float *b, const float *mean,
                                  const float *rstd, float *dgate, float *sums, void *scratch)
{
  const frt_load load = {.w = w, .b = b, .mean = mean, .rstd = rstd};
  const float *part = scratch;
  const int64_t chunks = chunks_of(g), c = g->c;
  FRT_BY_BF16(g->bf16, parts_as, g, &load, x, dz, scratch);
  const int32_t threads = frt__team(g->n * chunks * SUMS * c);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t i = 0; i < g->n * SUMS; i++) {
    const int64_t photo = i / SUMS, k = i % SUMS;
    float *to = (k == 0 ? dgate : sums + (k - 1) * g->n * c) + photo * c;
    for (int64_t j = 0; j < c; j++) {
      double s = 0;
      for (int64_t o = photo * chunks; o < (photo + 1) * chunks; o++) {
        s += (double)part[(o * SUMS + k) * c + j];
      }
      to[j] = (float)s;
    }
  }
}

// dx = a * g + (x - mean) * k + d, g = (dz * gate + add) * act'; of rows of one photo.
typedef struct through {
  const float *mean, *a, *b, *k, *d, *gate, *add;
} through;
FRT_INLINE void write_rows(const int act, const bool bf16, const through *t, const void *x,
                           const void *dz, void *dx, int64_t rows, int64_t c)
{
  for (int64_t j = 0; j < c; j += FRT_VL) {
    const int64_t lanes = c - j;
    const vf mean = load_lanes(t->mean + j, lanes), a = load_lanes(t->a + j, lanes);
    const vf b = load_lanes(t->b + j, lanes), k = load_lanes(t->k + j, lanes);
    const vf d = load_lanes(t->d + j, lanes), gate = load_lanes(t->gate + j, lanes);
    const vf add = load_lanes(t->add + j, lanes);
    for (int64_t r = 0; r < rows; r++) {
      const int64_t at = r * c + j;
      v_ask(bf16, x, (r + ROWS) * c + j);
      v_ask(bf16, dz, (r + ROWS) * c + j);
      const vf v = v_some(bf16, x, at, lanes) - mean;
      const vf g = v_fma(v_some(bf16, dz, at, lanes), gate, add) * v_act_grad(act, v_fma(v, a, b));
      v_put_some(bf16, dx, at, v_fma(a, g, v_fma(v, k, d)), lanes);
    }
  }
}
FRT_INLINE void write(const int act, const bool bf16, const frt_bn_gate *g, const through *all,
                      const void *x, const void *dz, void *dx)
{
  const int64_t c = g->c, total = g->n * g->rows;
  const int32_t threads = frt__team(total * c);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int32_t i = 0; i < threads; i++) {
    int64_t from, to;
    frt__share(total, 1, i, threads, &from, &to);
    for (int64_t r = from, rows; r < to; r += rows) {
      const int64_t photo = r / g->rows;
      rows = FRT_MIN(FRT_MIN(ROWS, to - r), (photo + 1) * g->rows - r);
      through t = *all;
      t.gate += photo * c;
      t.add += photo * c;
      write_rows(act, bf16, &t, v_at(bf16, x, r * c), v_at(bf16, dz, r * c),
                 v_at_out(bf16, dx, r * c), rows, c);
    }
  }
}
FRT_INLINE void write_as(const bool bf16, const frt_bn_gate *g, const through *t, const void *x,
                         const void *dz, void *dx)
{
  FRT_BY_ACT(g->act, write, bf16, g, t, x, dz, dx);
}

FRT_SIMD void FRT_K(bn_gate_grad)(const frt_bn_gate *g, const void *x, const void *dz,
                                  const float *w, const float *b, const float *mean,
                                  const float *rstd, const float *gate, const float *add,
                                  const float *sums, void *dx, float *dw, float *db, void *scratch)
{
  const int64_t c = g->c, step = g->n * c;
  float *a = scratch, *k = a + c, *d = k + c;
  for (int64_t j = 0; j < c; j++) {
    double sum = 0, cross = 0;
    for (int64_t i = j; i < step; i += c) {
      sum += (double)gate[i] * (double)sums[i] + (double)add[i] * (double)sums[2 * step + i];
      cross +=
        (double)gate[i] * (double)sums[step + i] + (double)add[i] * (double)sums[3 * step + i];
    }
    const double r = (double)rstd[j], gain = r * (double)w[j], m = (double)(g->n * g->rows);
    db[j] = (float)sum;
    dw[j] = (float)(cross * r);
    a[j] = (float)gain;
    k[j] = (float)(-gain * r * r * cross / m);
    d[j] = (float)(-gain * sum / m);
  }
  const through t = {.mean = mean, .a = a, .b = b, .k = k, .d = d, .gate = gate, .add = add};
  FRT_BY_BF16(g->bf16, write_as, g, &t, x, dz, dx);
}
