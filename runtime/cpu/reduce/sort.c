// sort.c -- numbers in order along one dimension, and where they were; stable, NaN the largest.
// Keys become integers of the same order, then runs are merged.
#include "cpu/reduce/lanes.h"
#include "ops/reduce/reduce.h"

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

static frt_status plan(frt_step *s)
{
  const frt_lanes l = frt__lanes(&s->in[0]->shape, (int32_t)s->attr[FRT_SORT_DIM]);
  s->scratch = 2 * sizeof(item) * (size_t)l.n * (size_t)FRT_MAX(frt_threads(), 1);
  return FRT_OK;
}

static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
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

FRT_KERNEL(sort) = {.name = "own", .can = frt__all_f32, .plan = plan, .run = run};
