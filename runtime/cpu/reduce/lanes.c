// lanes.c -- what works along one dimension: argmax, running sums, sorting.
#include "cpu/reduce/lanes.h"
#include "ops/reduce/reduce.h"

// Where the largest number lies along one dimension; the first one wins, NaN beats all.
static int64_t argmax(const float *x, int64_t n, int64_t step)
{
  int64_t best = 0;
  float top = x[0];
  for (int64_t k = 1; k < n && top == top; k++) {
    float v = x[k * step];
    if (v > top || v != v) {
      top = v;
      best = k;
    }
  }
  return best;
}

static frt_status run_argmax(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  (void)scratch;
  const frt_lanes l = frt__lanes(&s->in[0]->shape, (int32_t)s->attr[FRT_ARGMAX_DIM]);
  const int64_t base = (int64_t)s->attr[FRT_ARGMAX_BASE], n = l.outer * l.step;
  const float *x = in[0];
  int32_t *y = out[0];
#pragma omp parallel for schedule(static) if (n * l.n >= FRT_SMALL_LANES)
  for (int64_t i = 0; i < n; i++) {
    y[i] = (int32_t)(argmax(x + frt__lane_start(&l, i), l.n, l.step) + base);
  }
  return FRT_OK;
}

FRT_KERNEL(argmax) = {.name = "own", .can = frt__all_f32, .run = run_argmax};

// Running sums of f32 along one dimension, in double.
static frt_status run_cumsum(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  (void)scratch;
  const frt_lanes l = frt__lanes(&s->in[0]->shape, (int32_t)s->attr[FRT_CUMSUM_DIM]);
  const int64_t n = l.outer * l.step;
  const float *x = in[0];
  float *y = out[0];
#pragma omp parallel for schedule(static) if (n * l.n >= FRT_SMALL_LANES)
  for (int64_t i = 0; i < n; i++) {
    int64_t at = frt__lane_start(&l, i);
    double sum = 0;
    for (int64_t k = 0; k < l.n; k++, at += l.step) {
      sum += (double)x[at];
      y[at] = (float)sum;
    }
  }
  return FRT_OK;
}

FRT_KERNEL(cumsum) = {.name = "own", .can = frt__all_f32, .run = run_cumsum};

// Numbers in order along one dimension, and where they were; stable, NaN the largest. Keys become
// integers of the same order, then runs are merged.
typedef struct item {
  int32_t key, index;
} item;

// Order of floats as order of integers: negative ones reversed, zeros equal, NaN above infinity.
static int32_t key_of(float x, bool descending)
{
  int32_t k;
  x = x == 0 ? 0 : x;
  memcpy(&k, &x, sizeof k);
  k = x != x ? INT32_MAX : k < 0 ? INT32_MIN - k : k;
  return descending ? -k : k;
}

static item *sort_items(item *a, item *b, int64_t n)
{
  for (int64_t run = 1; run < n; run *= 2) {
    for (int64_t from = 0; from < n; from += 2 * run) {
      const int64_t mid = FRT_MIN(from + run, n), end = FRT_MIN(from + 2 * run, n);
      int64_t i = from, j = mid;
      for (int64_t k = from; k < end; k++) {
        bool second = j < end && (i == mid || a[j].key < a[i].key);
        b[k] = second ? a[j++] : a[i++];
      }
    }
    item *t = a;
    a = b;
    b = t;
  }
  return a;
}

static frt_status plan_sort(frt_step *s)
{
  const frt_lanes l = frt__lanes(&s->in[0]->shape, (int32_t)s->attr[FRT_SORT_DIM]);
  s->scratch = 2 * sizeof(item) * (size_t)l.n * (size_t)FRT_MAX(frt_threads(), 1);
  return FRT_OK;
}

static frt_status run_sort(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  const frt_lanes l = frt__lanes(&s->in[0]->shape, (int32_t)s->attr[FRT_SORT_DIM]);
  const bool descending = s->attr[FRT_SORT_DESCENDING] != 0;
  const int32_t base = (int32_t)s->attr[FRT_SORT_BASE], n_part = (int32_t)FRT_MAX(frt_threads(), 1);
  const int64_t n = l.outer * l.step;
  const float *x = in[0];
  float *y = out[0];
  int32_t *idx = out[1];
#pragma omp parallel for schedule(static, 1) if (n * l.n >= FRT_SMALL_LANES)
  for (int32_t part = 0; part < n_part; part++) {
    item *a = (item *)scratch + 2 * l.n * part;
    for (int64_t i = n * part / n_part; i < n * (part + 1) / n_part; i++) {
      const int64_t at = frt__lane_start(&l, i);
      for (int64_t k = 0; k < l.n; k++) {
        a[k] = (item){key_of(x[at + k * l.step], descending), (int32_t)k};
      }
      const item *order = sort_items(a, a + l.n, l.n);
      for (int64_t k = 0; k < l.n; k++) {
        y[at + k * l.step] = x[at + order[k].index * l.step];
        idx[at + k * l.step] = order[k].index + base;
      }
    }
  }
  return FRT_OK;
}

FRT_KERNEL(sort) = {.name = "own", .can = frt__all_f32, .plan = plan_sort, .run = run_sort};
