/// softmax -- e^x over its sum along one dimension; the largest is subtracted first.
///
/// in    x    f32 or f64 [any]
/// out   y    shape of x; each lane along `dim` sums to 1
/// attr  dim  the dimension
/// grad  dx   y * (dy - sum of dy * y along dim)
#include "ops/norm/norm.h"
#include "ops/reduce/reduce.h"

static const frt_attr attrs[] = {
  {"dim", 1, 0, 0, FRT_MAX_DIM - 1, "the dimension"},
};

static const frt_case cases[] = {
  {"long rows",         1, {{3, 1031}},    NULL, 0, {1}},
  {"logits",            1, {{5, 7}},       NULL, 0, {1}},
  {"channels of a map", 1, {{2, 3, 4, 5}}, NULL, 0, {1}},
  {"attention",         1, {{2, 3, 5, 5}}, NULL, 0, {3}},
};

static frt_status infer_lanes(const char *op, const frt_infer *c)
{
  FRT_TRY(frt__check_float(op, "x", c->x[0]));
  FRT_TRY(frt__check_dim(op, c->attr[FRT_SOFTMAX_DIM], c->x[0]));
  return frt__infer_same(c);
}

// The largest number of a lane, and the sum of e^(x - top).
static double lane_sum(const real *x, const frt_lanes *l, double *top)
{
  double sum = 0;
  *top = -INFINITY;
  for (int64_t k = 0; k < l->n; k++) {
    *top = fmax(*top, (double)x[k * l->step]);
  }
  for (int64_t k = 0; k < l->n; k++) {
    sum += exp((double)x[k * l->step] - *top);
  }
  return sum;
}

// forward() of an op whose result is `y` of a number less its lane's largest, `x`, and the lane's
// sum.
#define SOFTMAX(id, y)                                                                             \
  static frt_status infer_##id(const frt_infer *c)                                                 \
  {                                                                                                \
    return infer_lanes(#id, c);                                                                    \
  }                                                                                                \
  static frt_status forward_##id(const frt_call *c)                                                \
  {                                                                                                \
    frt_lanes l = frt__lanes(c->xs[0], (int32_t)c->attr[FRT_SOFTMAX_DIM]);                         \
    for (int64_t i = 0; i < l.outer * l.step; i++) {                                               \
      const real *px = FRT_IN(real, 0) + frt__lane_start(&l, i);                                   \
      real *py = FRT_OUT(real, 0) + frt__lane_start(&l, i);                                        \
      double top, sum = lane_sum(px, &l, &top);                                                    \
      for (int64_t k = 0; k < l.n; k++) {                                                          \
        double x = (double)px[k * l.step] - top;                                                   \
        py[k * l.step] = (real)(y);                                                                \
      }                                                                                            \
    }                                                                                              \
    return FRT_OK;                                                                                 \
  }

SOFTMAX(softmax, exp(x) / sum)

static frt_status grad(const frt_grad_call *c)
{
  frt_ref in[2] = {c->y[0], c->dy[0]};
  return frt__node(&frt_op_softmax_grad, 2, in, c->attr, 1, &c->dx[0]);
}

FRT_OP(softmax) = {
  .name = "softmax",
  .doc = "e^x over its sum along one dimension",
  .n_in = 1,
  .n_out = 1,
  .attr = attrs,
  .n_attr = FRT_COUNT(attrs),
  .cases = cases,
  .n_case = FRT_COUNT(cases),
  .infer = infer_softmax,
  .forward = forward_softmax,
  .grad = grad,
};

/// softmax_grad -- the gradient of softmax along one dimension.
///
///     dx = y * (dy - sum of dy * y along dim)
///
/// in    y    f32 or f64 [any], as softmax left it
/// in    dy   like y
/// out   dx   shape of y
/// attr  dim  the dimension
/// grad  none

static const frt_case cases_grad[] = {
  {"long rows",         2, {{3, 1031}, {3, 1031}},       NULL, 0, {1}},
  {"channels of a map", 2, {{2, 3, 4, 5}, {2, 3, 4, 5}}, NULL, 0, {1}},
  {"attention",         2, {{2, 3, 5, 5}, {2, 3, 5, 5}}, NULL, 0, {3}},
};

static frt_status infer_grad(const frt_infer *c)
{
  FRT_TRY(frt__check_float("softmax_grad", "y", c->x[0]));
  FRT_TRY(frt__check_shape("softmax_grad", "dy", c->x[1], c->x[0], " like y"));
  FRT_TRY(frt__check_dim("softmax_grad", c->attr[FRT_SOFTMAX_DIM], c->x[0]));
  return frt__infer_same(c);
}

static frt_status forward_grad(const frt_call *c)
{
  frt_lanes l = frt__lanes(c->xs[0], (int32_t)c->attr[FRT_SOFTMAX_DIM]);
  for (int64_t i = 0; i < l.outer * l.step; i++) {
    const int64_t at = frt__lane_start(&l, i);
    const real *y = FRT_IN(real, 0) + at, *dy = FRT_IN(real, 1) + at;
    double sum = 0;
    for (int64_t k = 0; k < l.n; k++) {
      sum += (double)y[k * l.step] * (double)dy[k * l.step];
    }
    for (int64_t k = 0; k < l.n; k++) {
      const double d = (double)dy[k * l.step] - sum;
      FRT_OUT(real, 0)[at + k * l.step] = (real)((double)y[k * l.step] * d);
    }
  }
  return FRT_OK;
}

FRT_OP(softmax_grad) = {
  .name = "softmax_grad",
  .doc = "the gradient of softmax",
  .n_in = 2,
  .n_out = 1,
  .attr = attrs,
  .n_attr = FRT_COUNT(attrs),
  .cases = cases_grad,
  .n_case = FRT_COUNT(cases_grad),
  .infer = infer_grad,
  .forward = forward_grad,
};

/// log_softmax -- the logarithm of softmax along one dimension, without its underflow.
///
///     y = x - top - log(sum of e^(x - top))
///
/// in    x    f32 or f64 [any]
/// out   y    shape of x
/// attr  dim  the dimension
/// grad  dx   dy - e^y * sum of dy along dim

static const frt_case cases_log[] = {
  {"long rows",         1, {{3, 1031}},    NULL, 0, {1}},
  {"logits",            1, {{5, 7}},       NULL, 0, {1}},
  {"channels of a map", 1, {{2, 3, 4, 5}}, NULL, 0, {1}},
  {"vector",            1, {{9}},          NULL, 0, {0}},
};

SOFTMAX(log_softmax, x - log(sum))

static frt_status grad_log(const frt_grad_call *c)
{
  frt_ref p, sum;
  FRT_TRY(frt__g1(&frt_op_exp, c->y[0], &p));
  FRT_TRY(frt__g_sum(c->dy[0], 1u << (int32_t)c->attr[FRT_SOFTMAX_DIM], true, &sum));
  FRT_TRY(frt__g2(&frt_op_mul, p, sum, &p));
  return frt__g2(&frt_op_sub, c->dy[0], p, &c->dx[0]);
}

FRT_OP(log_softmax) = {
  .name = "log_softmax",
  .doc = "the logarithm of softmax along one dimension",
  .n_in = 1,
  .n_out = 1,
  .attr = attrs,
  .n_attr = FRT_COUNT(attrs),
  .cases = cases_log,
  .n_case = FRT_COUNT(cases_log),
  .infer = infer_log_softmax,
  .forward = forward_log_softmax,
  .grad = grad_log,
};
