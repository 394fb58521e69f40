// reduce.h -- what the reductions share: shapes, the two loops of a reference (results outside, the
// numbers of one result inside), and the shape a gradient is brought to.
#pragma once
#include "ops/shape/shape.h"

enum { FRT_REDUCE_MASK, FRT_REDUCE_KEEPDIM, FRT_REDUCE_ATTRS }; // sum, mean, prod, amax, amin
enum { FRT_ARGMAX_DIM, FRT_ARGMAX_KEEPDIM, FRT_ARGMAX_BASE };
enum { FRT_CUMSUM_DIM };
enum { FRT_SORT_DIM, FRT_SORT_DESCENDING, FRT_SORT_BASE };
#define FRT_REDUCE_ATTR_TABLE                                                                      \
  static const frt_attr attrs[] = {                                                                \
    {"mask",    1, 63, 0, 63, "bit d: reduce dimension d; bits past the last mean nothing"},          \
    {"keepdim", 1, 0,  0, 1,  "1: reduced dimensions stay, of size 1"                     },                              \
  }
// clang-format off
#define FRT_REDUCE_CASES(fill)                                                                     \
  static const frt_case cases[] = {                                                                \
    {"everything", 1, {{3, 5, 7}}, fill, 0, {63, 0}},                                              \
    {"height and width", 1, {{2, 3, 5, 4}}, fill, 0, {12, 0}},                                     \
    {"all but channels, kept", 1, {{2, 3, 5, 4}}, fill, 0, {13, 1}},                               \
    {"first dimension", 1, {{4, 9}}, fill, 0, {1, 0}},                                             \
    {"nothing", 1, {{4, 3}}, fill, 0, {0, 0}},                                                     \
    {"large maps", 1, {{3, 35, 9, 11}}, fill, 0, {12, 1}},                                         \
    {"large channels", 1, {{5, 35, 7, 9}}, fill, 0, {13, 0}},                                      \
    {"long rows", 1, {{3, 1031}}, fill, 0, {2, 0}},                                                     \
  }
// clang-format on
#define FRT_REDUCE_FIELDS(id, text)                                                                \
  .name = #id, .doc = text, .n_in = 1, .n_out = 1, .attr = attrs, .n_attr = FRT_COUNT(attrs),      \
  .cases = cases, .n_case = FRT_COUNT(cases), .infer = infer, .forward = forward, .grad = grad

// x's shape without the dimensions of the mask, or with 1 in their place.
static inline frt_shape frt__reduced(const frt_shape *x, uint32_t mask, bool keepdim)
{
  frt_shape y = {.dtype = x->dtype};
  for (int32_t d = 0; d < x->ndim; d++) {
    if (!(mask >> d & 1)) {
      y.dim[y.ndim++] = x->dim[d];
    } else if (keepdim) {
      y.dim[y.ndim++] = 1;
    }
  }
  return y;
}

static inline frt_status frt__infer_reduce(const char *op, const frt_infer *c)
{
  FRT_TRY(frt__check_float(op, "x", c->x[0]));
  c->y[0] =
    frt__reduced(c->x[0], (uint32_t)c->attr[FRT_REDUCE_MASK], c->attr[FRT_REDUCE_KEEPDIM] != 0);
  return FRT_OK;
}

// Dimensions of x split into those of the result and those reduced, with their steps in x.
typedef struct frt_reduce {
  int64_t n_out, n_in; // results; numbers of one result
  struct {
    int32_t ndim;
    int64_t dim[FRT_MAX_DIM], step[FRT_MAX_DIM];
  } out, in;
} frt_reduce;

static inline void frt__reduce_start(frt_reduce *r, const frt_shape *x, uint32_t mask)
{
  int64_t step[FRT_MAX_DIM];
  frt__steps(x, step);
  *r = (frt_reduce){.n_out = 1, .n_in = 1};
  for (int32_t d = 0; d < x->ndim; d++) {
    if (mask >> d & 1) {
      r->n_in *= x->dim[d];
      r->in.dim[r->in.ndim] = x->dim[d];
      r->in.step[r->in.ndim++] = step[d];
    } else {
      r->n_out *= x->dim[d];
      r->out.dim[r->out.ndim] = x->dim[d];
      r->out.step[r->out.ndim++] = step[d];
    }
  }
}

// Where result i starts in x, and how far from there its k-th number lies.
static inline int64_t frt__reduce_out(const frt_reduce *r, int64_t i)
{
  int64_t at = 0;
  for (int32_t d = r->out.ndim - 1; d >= 0; d--) {
    at += i % r->out.dim[d] * r->out.step[d];
    i /= r->out.dim[d];
  }
  return at;
}
static inline int64_t frt__reduce_in(const frt_reduce *r, int64_t k)
{
  int64_t at = 0;
  for (int32_t d = r->in.ndim - 1; d >= 0; d--) {
    at += k % r->in.dim[d] * r->in.step[d];
    k /= r->in.dim[d];
  }
  return at;
}

// infer() and forward() of a reduction: `sum` starts as `first`, takes every number `x` by `step`
// and ends as `last`; `n` is how many there are.
#define FRT_REDUCE(id, first, step, last)                                                          \
  static frt_status infer(const frt_infer *c)                                                      \
  {                                                                                                \
    return frt__infer_reduce(#id, c);                                                              \
  }                                                                                                \
  static frt_status forward(const frt_call *c)                                                     \
  {                                                                                                \
    const real *px = FRT_IN(real, 0);                                                              \
    real *py = FRT_OUT(real, 0);                                                                   \
    frt_reduce r;                                                                                  \
    frt__reduce_start(&r, c->xs[0], (uint32_t)c->attr[FRT_REDUCE_MASK]);                           \
    for (int64_t i = 0; i < r.n_out; i++) {                                                        \
      const real *from = px + frt__reduce_out(&r, i);                                              \
      double sum = (first), n = (double)r.n_in;                                                    \
      (void)n;                                                                                     \
      for (int64_t k = 0; k < r.n_in; k++) {                                                       \
        double x = (double)from[frt__reduce_in(&r, k)];                                            \
        step;                                                                                      \
      }                                                                                            \
      py[i] = (real)(last);                                                                        \
    }                                                                                              \
    return FRT_OK;                                                                                 \
  }

#ifndef FRT_NO_OP_LIST
// A result (or its gradient) in the shape it has with keepdim, so that it broadcasts with x.
static inline frt_status frt__g_keepdim(frt_ref y, const frt_grad_call *c, frt_ref *out)
{
  frt_shape kept = frt__reduced(c->xs[0], (uint32_t)c->attr[FRT_REDUCE_MASK], true);
  kept.dtype = c->ys[0]->dtype;
  return frt__g_reshape(y, &kept, out);
}
// y in the shape of x, which it broadcasts to.
static inline frt_status frt__g_expand(frt_ref y, const frt_shape *x, frt_ref *out)
{
  double attr[FRT_SHAPE_DIMS + FRT_MAX_DIM] = {x->ndim};
  for (int32_t d = 0; d < x->ndim; d++) {
    attr[FRT_SHAPE_DIMS + d] = (double)x->dim[d];
  }
  return frt__node(&frt_op_expand, 1, &y, attr, 1, out);
}
// sum(x) over the dimensions of the mask.
static inline frt_status frt__g_sum(frt_ref x, uint32_t mask, bool keepdim, frt_ref *out)
{
  double attr[FRT_REDUCE_ATTRS] = {mask, keepdim};
  return frt__node(&frt_op_sum, 1, &x, attr, 1, out);
}
// The gradient of amax and amin: dy over all that equal the result, in equal shares.
static inline frt_status frt__g_extreme(const frt_grad_call *c)
{
  frt_ref y, dy, mask, count;
  FRT_TRY(frt__g_keepdim(c->y[0], c, &y));
  FRT_TRY(frt__g_keepdim(c->dy[0], c, &dy));
  FRT_TRY(frt__g2(&frt_op_eq, c->x[0], y, &mask));
  FRT_TRY(frt__g_sum(mask, (uint32_t)c->attr[FRT_REDUCE_MASK], true, &count));
  FRT_TRY(frt__g2(&frt_op_div, dy, count, &dy));
  return frt__g2(&frt_op_mul, mask, dy, &c->dx[0]);
}
#endif
