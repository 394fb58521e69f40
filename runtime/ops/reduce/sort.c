/// sort -- numbers in order along one dimension, and where they were. Equal ones keep their order;
/// NaN counts as the largest.
///
/// in    x           f32 or f64 [any]
/// out   y           shape of x, in order
/// out   idx         i32, shape of x: y[i] was x[idx[i] - base]
/// attr  dim         the dimension
/// attr  descending  1: largest first
/// attr  base        what the first index is called: 0 or 1
/// grad  dx          dy put back where it came from
/// cost  n log n per lane by merging, 16 bytes of workspace per number of a lane
#include "ops/index/index.h"
#include "ops/reduce/reduce.h"

static const frt_attr attrs[] = {
  {"dim",        1, 0, 0, FRT_MAX_DIM - 1, "the dimension"                 },
  {"descending", 1, 0, 0, 1,               "1: largest first"              },
  {"base",       1, 0, 0, 1,               "what the first index is called"},
};

static const frt_case cases[] = {
  {"vector",                   1, {{9}},       NULL, 0, {0, 0, 0}},
  {"rows, largest first",      1, {{4, 7}},    NULL, 0, {1, 1, 0}},
  {"middle dimension, from 1", 1, {{2, 5, 3}}, NULL, 0, {1, 0, 1}},
};

static frt_status infer(const frt_infer *c)
{
  FRT_TRY(frt__check_float("sort", "x", c->x[0]));
  FRT_TRY(frt__check_dim("sort", c->attr[FRT_SORT_DIM], c->x[0]));
  c->y[0] = *c->x[0];
  c->y[1] = *c->x[0];
  c->y[1].dtype = FRT_I32;
  return FRT_OK;
}

// True when b must come before a, which stands before it.
static bool must_swap(double a, double b, bool descending)
{
  if (isnan(a) || isnan(b)) {
    return descending ? isnan(b) && !isnan(a) : isnan(a) && !isnan(b);
  }
  return descending ? b > a : b < a;
}

// Merges runs of doubling length, from `idx` to `spare` and back; returns where the result lies.
static int32_t *sort_lane(const double *key, int64_t n, bool descending, int32_t *idx,
                          int32_t *spare)
{
  for (int64_t run = 1; run < n; run *= 2) {
    for (int64_t from = 0; from < n; from += 2 * run) {
      int64_t mid = FRT_MIN(from + run, n), end = FRT_MIN(from + 2 * run, n);
      int64_t a = from, b = mid;
      for (int64_t k = from; k < end; k++) {
        bool second = b < end && (a == mid || must_swap(key[idx[a]], key[idx[b]], descending));
        spare[k] = second ? idx[b++] : idx[a++];
      }
    }
    int32_t *t = idx;
    idx = spare;
    spare = t;
  }
  return idx;
}

static frt_status forward(const frt_call *c)
{
  const real *x = FRT_IN(real, 0);
  frt_lanes l = frt__lanes(c->xs[0], (int32_t)c->attr[FRT_SORT_DIM]);
  double *key = frt__alloc((size_t)l.n * (sizeof *key + 2 * sizeof(int32_t)));
  FRT_CHECK(key, FRT_ENOMEM, "sort: out of memory for a lane of %lld numbers", (long long)l.n);
  int32_t *idx = (int32_t *)(key + l.n);
  for (int64_t i = 0; i < l.outer * l.step; i++) {
    int64_t at = frt__lane_start(&l, i);
    for (int64_t k = 0; k < l.n; k++) {
      key[k] = (double)x[at + k * l.step];
      idx[k] = (int32_t)k;
    }
    const int32_t *order = sort_lane(key, l.n, c->attr[FRT_SORT_DESCENDING] != 0, idx, idx + l.n);
    for (int64_t k = 0; k < l.n; k++) {
      FRT_OUT(real, 0)[at + k * l.step] = (real)key[order[k]];
      FRT_OUT(int32_t, 1)[at + k * l.step] = order[k] + (int32_t)c->attr[FRT_SORT_BASE];
    }
  }
  frt__free(key);
  return FRT_OK;
}

static frt_status grad(const frt_grad_call *c)
{
  int32_t dim = (int32_t)c->attr[FRT_SORT_DIM];
  frt_ref in[2] = {c->y[1], c->dy[0]};
  double attr[FRT_INDEX_SIZED] = {dim, c->attr[FRT_SORT_BASE], (double)c->xs[0]->dim[dim]};
  if (!c->dy[0]) {
    c->dx[0] = 0; // only the indices are used
    return FRT_OK;
  }
  return frt__node(&frt_op_scatter_add, 2, in, attr, 1, &c->dx[0]);
}

FRT_OP(sort) = {
  .name = "sort",
  .doc = "numbers in order along one dimension, and where they were",
  .n_in = 1,
  .n_out = 2,
  .attr = attrs,
  .n_attr = FRT_COUNT(attrs),
  .cases = cases,
  .n_case = FRT_COUNT(cases),
  .infer = infer,
  .forward = forward,
  .grad = grad,
};
