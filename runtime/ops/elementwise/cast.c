/// cast -- x in another dtype, element-wise.
///
/// in    x      f32, f64 or i32 [any]
/// out   y      shape of x; numbers go to i32 toward zero, stop at its ends, NaN becomes 0
/// attr  dtype  0 f32, 1 f64, 2 i32
/// grad  dx     dy in x's dtype; none through i32
#include "ops/elementwise/elementwise.h"

static const frt_attr attrs[] = {
  {"dtype", 1, FRT_F32, FRT_F32, FRT_I32, "0 f32, 1 f64, 2 i32"}
};

static const frt_case cases_cast[] = {
  {"to f32",               1, {{2, 3, 5}}, NULL, 0, {FRT_F32}},
  {"to f64",               1, {{7}},       NULL, 0, {FRT_F64}},
  {"class numbers to f32", 1, {{7}},       "i",  5, {FRT_F32}},
  {"class numbers to i32", 1, {{2, 5}},    "i",  5, {FRT_I32}},
};

static frt_status infer_cast(const frt_infer *c)
{
  int32_t dtype = c->x[0]->dtype;
  FRT_CHECK(frt__is_real(dtype) || dtype == FRT_I32, FRT_ESHAPE,
            "cast: x must be f32, f64 or i32, got %s", frt__dtype_name(dtype));
  c->y[0] = *c->x[0];
  c->y[0].dtype = (int32_t)c->attr[FRT_CAST_DTYPE];
  return FRT_OK;
}

static frt_status forward_cast(const frt_call *c)
{
  int32_t from = c->xs[0]->dtype, to = c->ys[0]->dtype;
  for (int64_t i = 0, n = frt__numel(c->ys[0]); i < n; i++) {
    frt__put(c->y[0], to, i, frt__get(c->x[0], from, i));
  }
  return FRT_OK;
}

static frt_status grad(const frt_grad_call *c)
{
  if (!frt__is_real(c->xs[0]->dtype) || !frt__is_real(c->ys[0]->dtype)) {
    c->dx[0] = 0;
    return FRT_OK;
  }
  double dtype = c->xs[0]->dtype;
  return frt__node(&frt_op_cast, 1, c->dy, &dtype, 1, &c->dx[0]);
}

FRT_OP(cast) = {
  FRT_ELEMENTWISE_FIELDS(cast, 1, "x in another dtype"),
  .flags = FRT_ELEMENTWISE,
  .attr = attrs,
  .n_attr = FRT_COUNT(attrs),
  .grad = grad,
};
