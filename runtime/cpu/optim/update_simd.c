// update.c -- optimizer steps and moving averages over all tensors in one parallel pass, and the
// norm of all gradients.
#include "cpu/optim/update_simd.h"

#include "cpu/chain/vmath_simd.h"

enum { UNIT = 1024, NORM_CHUNK = 16384 };

// Calls `part` for each piece of a tensor within elements [from, to) of all.
typedef void (*part_fn)(const void *settings, const frt_tensors *t, int32_t k, int64_t at,
                        int64_t n);
static void share(const void *settings, const frt_tensors *t, part_fn part)
{
  int64_t total = t->start[t->n];
  int32_t threads = frt__team(total);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int32_t th = 0; th < threads; th++) {
    int64_t from, to;
    frt__share(total, UNIT, th, threads, &from, &to);
    int32_t k = 0;
    while (k < t->n && t->start[k + 1] <= from) {
      k++;
    }
    for (; from < to; k++) {
      int64_t n = FRT_MIN(to, t->start[k + 1]) - from;
      if (n > 0) {
        part(settings, t, k, from - t->start[k], n);
        from += n;
      }
    }
  }
}

FRT_INLINE void adam_vector(const frt_adam *a, vf *p, vf g, vf *m, vf *v)
{
  g = v_fma(*p, v_set(a->l2), g * a->gscale);
  *m = v_fma(*m, v_set(a->beta1), g * a->one_beta1);
  *v = v_fma(*v, v_set(a->beta2), g * g * a->one_beta2);
  vf step = *m / (v_sqrt(*v * a->correct2) + a->eps);
  *p = v_fma(step, v_set(-a->rate), v_fma(*p, v_set(-a->shrink), *p));
}
static void adam_part(const void *settings, const frt_tensors *t, int32_t k, int64_t at, int64_t n)
{
  const frt_adam *a = settings;
  const float *p = (const float *)t->in[4 * k] + at, *g = (const float *)t->in[4 * k + 1] + at;
  const float *m = (const float *)t->in[4 * k + 2] + at, *v = (const float *)t->in[4 * k + 3] + at;
  float *po = (float *)t->out[3 * k] + at, *mo = (float *)t->out[3 * k + 1] + at;
  float *vo = (float *)t->out[3 * k + 2] + at;
  int64_t i = 0;
  for (; i + FRT_VL <= n; i += FRT_VL) {
    vf vp = v_load(p + i), vm = v_load(m + i), vv = v_load(v + i);
    adam_vector(a, &vp, v_load(g + i), &vm, &vv);
    v_store(po + i, vp);
    v_store(mo + i, vm);
    v_store(vo + i, vv);
  }
  if (i < n) {
    int64_t l = n - i;
    vf vp = v_load_n(p + i, l), vm = v_load_n(m + i, l), vv = v_load_n(v + i, l);
    adam_vector(a, &vp, v_load_n(g + i, l), &vm, &vv);
    v_store_n(po + i, vp, l);
    v_store_n(mo + i, vm, l);
    v_store_n(vo + i, vv, l);
  }
}
// Optimizer, over all tensors in one pass (update.h).
FRT_SIMD void FRT_K(adam)(const frt_adam *a)
{
  share(a, &a->t, adam_part);
}

FRT_INLINE void sgd_vector(const frt_sgd *s, vf *p, vf g, vf *buf)
{
  g = v_fma(*p, v_set(s->decay), g * s->gscale);
  *buf = v_fma(*buf, v_set(s->momentum), g * s->fresh);
  vf step = *buf;
  if (s->ahead) {
    step = v_fma(*buf, v_set(s->look), g);
  }
  *p = v_fma(step, v_set(-s->lr), *p);
}
static void sgd_part(const void *settings, const frt_tensors *t, int32_t k, int64_t at, int64_t n)
{
  const frt_sgd *s = settings;
  const float *p = (const float *)t->in[3 * k] + at, *g = (const float *)t->in[3 * k + 1] + at;
  const float *b = (const float *)t->in[3 * k + 2] + at;
  float *po = (float *)t->out[2 * k] + at, *bo = (float *)t->out[2 * k + 1] + at;
  // A buffer that is not read yet may hold anything: it is written, not scaled.
  bool blank = s->momentum == 0;
  int64_t i = 0;
  for (; i + FRT_VL <= n; i += FRT_VL) {
    vf vp = v_load(p + i), vb = v_zero();
    if (!blank) {
      vb = v_load(b + i);
    }
    sgd_vector(s, &vp, v_load(g + i), &vb);
    v_store(po + i, vp);
    v_store(bo + i, vb);
  }
  if (i < n) {
    int64_t l = n - i;
    vf vp = v_load_n(p + i, l), vb = v_zero();
    if (!blank) {
      vb = v_load_n(b + i, l);
    }
    sgd_vector(s, &vp, v_load_n(g + i, l), &vb);
    v_store_n(po + i, vp, l);
    v_store_n(bo + i, vb, l);
  }
}
FRT_SIMD void FRT_K(sgd)(const frt_sgd *s)
{
  share(s, &s->t, sgd_part);
}

FRT_INLINE vf ema_vector(const frt_ema *a, vf e, vf x)
{
  return a->from_x ? v_fma(e - x, v_set(a->share), x) : v_fma(x - e, v_set(a->share), e);
}
static void ema_part(const void *settings, const frt_tensors *t, int32_t k, int64_t at, int64_t n)
{
  const frt_ema *a = settings;
  const float *e = (const float *)t->in[2 * k] + at, *x = (const float *)t->in[2 * k + 1] + at;
  float *y = (float *)t->out[k] + at;
  int64_t i = 0;
  for (; i + FRT_VL <= n; i += FRT_VL) {
    v_store(y + i, ema_vector(a, v_load(e + i), v_load(x + i)));
  }
  if (i < n) {
    int64_t l = n - i;
    v_store_n(y + i, ema_vector(a, v_load_n(e + i, l), v_load_n(x + i, l)), l);
  }
}
FRT_SIMD void FRT_K(ema)(const frt_ema *a)
{
  share(a, &a->t, ema_part);
}

// --- norm ---------------------------------------------------------------------------------------
typedef float vhalf __attribute__((vector_size(FRT_VBYTES / 2), may_alias, aligned(4)));
typedef double vd __attribute__((vector_size(FRT_VBYTES)));

static double square_sum(const float *x, int64_t n)
{
  vd a = {0}, b = {0};
  int64_t i = 0;
  for (; i + FRT_VL <= n; i += FRT_VL) {
    vd lo = __builtin_convertvector(*(const vhalf *)(x + i), vd);
    vd hi = __builtin_convertvector(*(const vhalf *)(x + i + FRT_VL / 2), vd);
    a += lo * lo;
    b += hi * hi;
  }
  a += b;
  double sum = 0;
  for (int32_t l = 0; l < FRT_VL / 2; l++) {
    sum += a[l];
  }
  for (; i < n; i++) {
    sum += (double)x[i] * (double)x[i];
  }
  return sum;
}
static int64_t chunks_of(int64_t numel)
{
  return (numel + NORM_CHUNK - 1) / NORM_CHUNK;
}
// Square root of the sum of squares over n tensors, in double, whatever the number of threads.
// scratch: norm_scratch bytes.
FRT_SIMD size_t FRT_K(norm_scratch)(int32_t n, const int64_t *numel)
{
  int64_t chunks = 0;
  for (int32_t k = 0; k < n; k++) {
    chunks += chunks_of(numel[k]);
  }
  return (size_t)chunks * sizeof(double);
}
FRT_SIMD double FRT_K(norm)(int32_t n, const float *const *x, const int64_t *numel, void *scratch)
{
  double *part = scratch, sum = 0;
  int64_t chunks = 0, floats = 0;
  for (int32_t k = 0; k < n; k++) {
    chunks += chunks_of(numel[k]);
    floats += numel[k];
  }
  int32_t threads = frt__team(floats);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int32_t t = 0; t < threads; t++) {
    int64_t from, to, first = 0;
    frt__share(chunks, 1, t, threads, &from, &to);
    for (int32_t k = 0; k < n && first < to; k++) {
      int64_t count = chunks_of(numel[k]);
      for (int64_t c = FRT_MAX(from, first); c < FRT_MIN(to, first + count); c++) {
        int64_t at = (c - first) * NORM_CHUNK;
        part[c] = square_sum(x[k] + at, FRT_MIN(NORM_CHUNK, numel[k] - at));
      }
      first += count;
    }
  }
  for (int64_t c = 0; c < chunks; c++) {
    sum += part[c];
  }
  return sqrt(sum);
}
