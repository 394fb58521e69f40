/// softmax_grad -- the gradient of softmax along one dimension.
///
///     dx = y * (dy - sum of dy * y along dim)
///
/// in    y    f32 or f64 [any], as softmax left it
/// in    dy   like y
/// out   dx   shape of y
/// attr  dim  the dimension
/// grad  none
#include "ops/norm/softmax.h"

static const frt_attr attrs[] = {FRT_SOFTMAX_ATTRS};

static const frt_case cases[] = {
  {"long rows",         2, {{3, 1031}, {3, 1031}},       NULL, 0, {1}},
  {"channels of a map", 2, {{2, 3, 4, 5}, {2, 3, 4, 5}}, NULL, 0, {1}},
  {"attention",         2, {{2, 3, 5, 5}, {2, 3, 5, 5}}, NULL, 0, {3}},
};

static frt_status infer(const frt_infer *c)
{
  FRT_TRY(frt__check_float("softmax_grad", "y", c->x[0]));
  FRT_CHECK(frt__shape_equal(c->x[0], c->x[1]) && c->x[0]->dtype == c->x[1]->dtype, FRT_ESHAPE,
            "softmax_grad: dy must be %s, got %s", frt__shape_text(c->x[0]),
            frt__shape_text(c->x[1]));
  FRT_TRY(frt__check_dim("softmax_grad", c->attr[FRT_SOFTMAX_DIM], c->x[0]));
  return frt__infer_same(c);
}

static frt_status forward(const frt_call *c)
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
  .cases = cases,
  .n_case = FRT_COUNT(cases),
  .infer = infer,
  .forward = forward,
};
