// reduce.c -- reductions. Dimensions are taken in the order of memory and merged; what is left is
// rows of kept numbers to add up (columns) or runs of reduced numbers (runs). The order of
// additions depends on shapes alone, never on the number of threads.
#include "ops/reduce/reduce.h"
#include "cpu/kernels.h"
#include "cpu/move/move.h"

typedef enum kind {
  SUM,
  MEAN,
  MAX,
  MIN,
  PROD,
} kind;

enum { BLOCK = 256, STRETCH = 256, MAX_PART = 512, SMALL = 32768 };

typedef struct dims {
  int32_t ndim;
  int64_t dim[FRT_MAX_DIM], in[FRT_MAX_DIM], out[FRT_MAX_DIM];
} dims;

typedef struct reduction {
  kind kind;
  dims kept, gone;           // all dimensions but the innermost
  int64_t n_kept, n_gone, n; // n: of the innermost one
  int64_t count;             // numbers of one result
} reduction;

static void push(dims *d, int64_t n, int64_t in, int64_t out)
{
  d->dim[d->ndim] = n;
  d->in[d->ndim] = in;
  d->out[d->ndim++] = out;
}

// All dimensions in the order of memory; `out` is 0 for the reduced ones.
static dims in_memory_order(const frt_step *s)
{
  const frt_value *x = s->in[0], *y = s->out[0];
  const uint32_t mask = (uint32_t)s->attr[FRT_REDUCE_MASK];
  const bool keepdim = s->attr[FRT_REDUCE_KEEPDIM] != 0;
  int64_t in[FRT_MAX_DIM], out[FRT_MAX_DIM];
  dims d = {0};
  frt__value_steps(x, in);
  frt__value_steps(y, out);
  for (int32_t i = 0, o = 0; i < x->shape.ndim; i++) {
    const bool gone = mask >> i & 1;
    if (x->shape.dim[i] != 1) {
      push(&d, x->shape.dim[i], in[i], gone ? 0 : out[o]);
    }
    o += !gone || keepdim;
  }
  for (int32_t i = 1; i < d.ndim; i++) {
    for (int32_t k = i; k > 0 && d.in[k - 1] < d.in[k]; k--) {
      dims t = d;
      d.dim[k] = t.dim[k - 1], d.in[k] = t.in[k - 1], d.out[k] = t.out[k - 1];
      d.dim[k - 1] = t.dim[k], d.in[k - 1] = t.in[k], d.out[k - 1] = t.out[k];
    }
  }
  return d;
}

static dims merged(const dims *d)
{
  dims m = {0};
  for (int32_t i = 0; i < d->ndim; i++) {
    int32_t last = m.ndim - 1;
    if (last >= 0 && m.out[last] == d->out[i] * d->dim[i]) {
      m.dim[last] *= d->dim[i];
      m.in[last] = d->in[i];
      m.out[last] = d->out[i];
    } else {
      push(&m, d->dim[i], d->in[i], d->out[i]);
    }
  }
  return m;
}

static int64_t count(const dims *d)
{
  int64_t n = 1;
  for (int32_t i = 0; i < d->ndim; i++) {
    n *= d->dim[i];
  }
  return n;
}

static void at(const dims *d, int64_t i, int64_t *in, int64_t *out)
{
  *in = *out = 0;
  for (int32_t k = d->ndim - 1; k >= 0; k--) {
    int64_t j = i % d->dim[k];
    i /= d->dim[k];
    *in += j * d->in[k];
    *out += j * d->out[k];
  }
}

static inline double first_of(kind kind)
{
  return kind == MAX ? -(double)INFINITY : kind == MIN ? (double)INFINITY : kind == PROD ? 1 : 0;
}

static inline double take(kind kind, double a, double x)
{
  switch (kind) {
  case MAX:
    return x > a || x != x ? x : a;
  case MIN:
    return x < a || x != x ? x : a;
  case PROD:
    return a * x;
  default:
    return a + x;
  }
}

// --- runs: the innermost dimension is reduced
// -----------------------------------------------------
static double take_run(kind kind, double a, const float *x, int64_t n)
{
  if (kind == SUM || kind == MEAN) {
    for (int64_t i = 0; i < n; i += STRETCH) {
      float sum = 0;
      const int64_t end = FRT_MIN(i + STRETCH, n);
#pragma omp simd reduction(+ : sum)
      for (int64_t k = i; k < end; k++) {
        sum += x[k];
      }
      a += (double)sum;
    }
    return a;
  }
  if (kind == PROD) {
    for (int64_t k = 0; k < n; k++) {
      a *= (double)x[k];
    }
    return a;
  }
  float top = (float)first_of(kind), nan = 0;
  const float sign = kind == MIN ? -1.0f : 1.0f;
  top *= sign;
#pragma omp simd reduction(max : top) reduction(+ : nan)
  for (int64_t k = 0; k < n; k++) {
    float v = x[k] * sign;
    top = v > top ? v : top;
    nan += x[k] != x[k] ? 1.0f : 0.0f;
  }
  return take(kind, a, nan > 0 ? (double)NAN : (double)(top * sign));
}

static double finish(const reduction *r, double a)
{
  return r->kind == MEAN ? a / (double)r->count : a;
}

static void runs(const reduction *r, const float *x, float *y)
{
#pragma omp parallel for schedule(static) if (r->n_kept * r->n_gone * r->n >= SMALL)
  for (int64_t i = 0; i < r->n_kept; i++) {
    int64_t in, out, from, none;
    double a = first_of(r->kind);
    at(&r->kept, i, &in, &out);
    for (int64_t k = 0; k < r->n_gone; k++) {
      at(&r->gone, k, &from, &none);
      a = take_run(r->kind, a, x + in + from, r->n);
    }
    y[out] = (float)finish(r, a);
  }
}

// One long run: in parts whose number depends on its length.
static void one_run(const reduction *r, const float *x, float *y)
{
  double part[MAX_PART];
  const int64_t size = FRT_MAX((int64_t)16384, (r->n + MAX_PART - 1) / MAX_PART);
  const int64_t n_part = (r->n + size - 1) / size;
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < n_part; i++) {
    part[i] = take_run(r->kind, first_of(r->kind), x + i * size, FRT_MIN(size, r->n - i * size));
  }
  double a = first_of(r->kind);
  for (int64_t i = 0; i < n_part; i++) {
    a = take(r->kind, a, part[i]);
  }
  y[0] = (float)finish(r, a);
}

// --- columns: the innermost dimension is kept
// -----------------------------------------------------
static void take_sums(const float *restrict x, int64_t n, double *restrict a)
{
#pragma omp simd
  for (int64_t c = 0; c < n; c++) {
    a[c] += (double)x[c];
  }
}

static void take_products(const float *restrict x, int64_t n, double *restrict a)
{
#pragma omp simd
  for (int64_t c = 0; c < n; c++) {
    a[c] *= (double)x[c];
  }
}

// Of x * sign: the largest, NaN once there was one.
static void take_largest(const float *restrict x, int64_t n, float sign, float *restrict a)
{
#pragma omp simd
  for (int64_t c = 0; c < n; c++) {
    const float v = x[c] * sign, t = a[c];
    a[c] = (v > t) | (v != v) ? v : t;
  }
}

static void column_block(const reduction *r, const float *x, int64_t n, float *y, int64_t step)
{
  const bool extreme = r->kind == MAX || r->kind == MIN;
  const float sign = r->kind == MIN ? -1.0f : 1.0f;
  double sum[BLOCK];
  float top[BLOCK];
  for (int64_t c = 0; c < n; c++) {
    sum[c] = first_of(r->kind);
    top[c] = -INFINITY;
  }
  for (int64_t k = 0; k < r->n_gone; k++) {
    int64_t from, none;
    at(&r->gone, k, &from, &none);
    if (extreme) {
      take_largest(x + from, n, sign, top);
    } else if (r->kind == PROD) {
      take_products(x + from, n, sum);
    } else {
      take_sums(x + from, n, sum);
    }
  }
  for (int64_t c = 0; c < n; c++) {
    y[c * step] = extreme ? top[c] * sign : (float)finish(r, sum[c]);
  }
}

static void columns(const reduction *r, const float *x, float *y, int64_t step)
{
  const int64_t n_block = (r->n + BLOCK - 1) / BLOCK;
#pragma omp parallel for schedule(static) if (r->n_kept * r->n_gone * r->n >= SMALL)
  for (int64_t i = 0; i < r->n_kept * n_block; i++) {
    int64_t in, out;
    const int64_t c0 = i % n_block * BLOCK;
    at(&r->kept, i / n_block, &in, &out);
    column_block(r, x + in + c0, FRT_MIN(r->n - c0, BLOCK), y + out + c0 * step, step);
  }
}

// --- kernels ------------------------------------------------------------------------------------
// [outer, rows, c] with rows reduced and the results densely in order, for the table's kernel.
static bool is_rows(const dims *d, int64_t *outer, int64_t *rows, int64_t *c)
{
  const int32_t n = d->ndim;
  if (n < 2 || n > 3 || d->out[n - 1] != 1 || d->out[n - 2] != 0) {
    return false;
  }
  *c = d->dim[n - 1];
  *rows = d->dim[n - 2];
  *outer = n == 3 ? d->dim[0] : 1;
  return n == 2 || d->out[0] == *c;
}

static bool step_is_rows(const frt_step *s)
{
  int64_t outer, rows, c;
  dims all = in_memory_order(s), d = merged(&all);
  return is_rows(&d, &outer, &rows, &c);
}

static bool can(const frt_step *s)
{
  return s->in[0]->shape.dtype == FRT_F32 && frt__numel(&s->in[0]->shape) > 0 &&
         (!frt__bf16(s->in[0]) || step_is_rows(s));
}

// Of sum and mean.
static frt_status plan(frt_step *s)
{
  int64_t outer, rows, c;
  dims all = in_memory_order(s), d = merged(&all);
  if (is_rows(&d, &outer, &rows, &c)) {
    s->scratch = frt__kernels()->reduce_rows_scratch(outer, rows, c);
  }
  return FRT_OK;
}

static void reduce(const frt_step *s, kind kind, const float *x, float *y, void *scratch)
{
  int64_t outer, rows, c;
  dims all = in_memory_order(s), d = merged(&all);
  const int32_t last = d.ndim - 1;
  const bool sums = kind == SUM || kind == MEAN;
  if (sums && is_rows(&d, &outer, &rows, &c)) {
    float scale = kind == MEAN ? (float)(1.0 / (double)rows) : 1.0f;
    frt__kernels()->reduce_rows(NULL, frt__bf16(s->in[0]), x, NULL, outer, rows, c, scale, y,
                                scratch);
    return;
  }
  reduction r = {.kind = kind, .n = last >= 0 ? d.dim[last] : 1};
  for (int32_t i = 0; i < last; i++) {
    push(d.out[i] == 0 ? &r.gone : &r.kept, d.dim[i], d.in[i], d.out[i]);
  }
  r.n_kept = count(&r.kept);
  r.n_gone = count(&r.gone);
  const bool inner_gone = last < 0 || d.out[last] == 0;
  r.count = inner_gone ? r.n_gone * r.n : r.n_gone;
  if (!inner_gone) {
    columns(&r, x, y, d.out[last]);
  } else if (r.n_kept == 1 && r.n_gone == 1 && r.n >= SMALL) {
    one_run(&r, x, y);
  } else {
    runs(&r, x, y);
  }
}

#define REDUCTION(id, kind)                                                                        \
  static frt_status id(const frt_step *s, void *const *in, void *const *out, void *scratch)        \
  {                                                                                                \
    reduce(s, kind, in[0], out[0], scratch);                                                       \
    return FRT_OK;                                                                                 \
  }
REDUCTION(sum, SUM)
REDUCTION(mean, MEAN)
REDUCTION(amax, MAX)
REDUCTION(amin, MIN)
REDUCTION(prod, PROD)

FRT_KERNEL(sum) = {
  .name = "own",
  .any_layout = true,
  .can = can,
  .plan = plan,
  .run = sum,
  .bf16_in = 1,
};
FRT_KERNEL(mean) = {
  .name = "own",
  .any_layout = true,
  .can = can,
  .plan = plan,
  .run = mean,
  .bf16_in = 1,
};
FRT_KERNEL(amax) = {.name = "own", .any_layout = true, .can = can, .run = amax};
FRT_KERNEL(amin) = {.name = "own", .any_layout = true, .can = can, .run = amin};
FRT_KERNEL(prod) = {.name = "own", .any_layout = true, .can = can, .run = prod};

// --- sums of products ----------------------------------------------------------------------------
// The sum of a product over height and width (and photos) in one pass: the gradient of a gate or
// of a channel's factor.
static bool can_mul_sum(const frt_step *s)
{
  const frt_shape *a = &s->in[0]->shape;
  return a->dtype == FRT_F32 && s->in[1]->shape.dtype == FRT_F32 &&
         frt__shape_equal(a, &s->in[1]->shape) && step_is_rows(s);
}

static frt_status mul_sum(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  int64_t outer, rows, c;
  dims all = in_memory_order(s), d = merged(&all);
  if (is_rows(&d, &outer, &rows, &c)) {
    frt__kernels()->reduce_rows(NULL, frt__bf16(s->in[0]), in[0], in[1], outer, rows, c, 1.0f,
                                out[0], scratch);
  }
  return FRT_OK;
}

FRT_KERNEL(fused_mul_sum) = {
  .name = "own",
  .channels_last = true,
  .can = can_mul_sum,
  .plan = plan,
  .run = mul_sum,
  .bf16_in = 3,
};

// Sum or mean over a map that is computed as it is read, or over its product with another:
// squeeze-and-excitation's pooling, and the gradient of its gate.
static bool can_load_sum(const frt_step *s)
{
  for (int32_t i = 0; i < s->n_in; i++) {
    if (s->in[i] && s->in[i]->shape.dtype != FRT_F32) {
      return false;
    }
  }
  return s->in[0]->shape.ndim == 4 && frt__numel(&s->in[0]->shape) > 0 &&
         (!s->in[1] || frt__shape_equal(&s->in[0]->shape, &s->in[1]->shape)) && step_is_rows(s);
}

static frt_status load_sum(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  int64_t outer, rows, c;
  dims all = in_memory_order(s), d = merged(&all);
  if (!is_rows(&d, &outer, &rows, &c)) {
    return FRT_OK; // can() saw to it
  }
  const frt_load load = {.w = in[2],
                         .b = in[3],
                         .mean = in[4],
                         .rstd = in[5],
                         .map = rows,
                         .act = (int32_t)s->attr[FRT_FUSED_SUM_ACT]};
  const bool mean = s->attr[FRT_FUSED_SUM_MEAN] != 0;
  frt__kernels()->reduce_rows(&load, frt__bf16(s->in[0]), in[0], in[1], outer, rows, c,
                              mean ? (float)(1.0 / (double)rows) : 1.0f, out[0], scratch);
  return FRT_OK;
}

FRT_KERNEL(fused_load_sum) = {
  .name = "own",
  .channels_last = true,
  .can = can_load_sum,
  .plan = plan,
  .run = load_sum,
  .bf16_in = 3,
};
