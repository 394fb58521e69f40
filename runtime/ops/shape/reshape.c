/// reshape -- the same numbers in row-major order under another shape.
///
/// in    x      any dtype [any]
/// out   y      [shape], as many numbers as x
/// attr  ndim   how many dimensions y has
/// attr  shape  y's dimensions
/// grad  dx     dy in x's shape
/// errs  FRT_ESHAPE when the numbers do not come out even
/// cost  none: y is x's bytes
#include "ops/shape/shape.h"

static const frt_attr attrs[] = {
  {"ndim",  1,           0, 0, FRT_MAX_DIM,  "dimensions of y"},
  {"shape", FRT_MAX_DIM, 0, 0, FRT_MAX_SIZE, "the dimensions" },
};

static const frt_case cases[] = {
  {"map to vector",          1, {{2, 3, 5}}, NULL, 0, {1, 30}     },
  {"vector to map",          1, {{42}},      NULL, 0, {3, 2, 7, 3}},
  {"one number to a scalar", 1, {{1, 1}},    NULL, 0, {0}         },
};

static frt_status infer(const frt_infer *c)
{
  const frt_shape *x = c->x[0];
  frt_shape y = frt__shape_attr(x->dtype, c->attr + FRT_SHAPE_NDIM);
  FRT_CHECK(frt__numel(&y) == frt__numel(x), FRT_ESHAPE,
            "reshape: shape must be of %lld numbers (x is %s), got %s", (long long)frt__numel(x),
            frt__shape_text(x), frt__shape_text(&y));
  c->y[0] = y;
  return FRT_OK;
}

static frt_status forward(const frt_call *c)
{
  if (c->y[0] != c->x[0]) {
    memcpy(c->y[0], c->x[0], frt__bytes(c->ys[0]));
  }
  return FRT_OK;
}

static frt_status grad(const frt_grad_call *c)
{
  return frt__g_reshape(c->dy[0], c->xs[0], &c->dx[0]);
}

FRT_OP(reshape) = {
  .name = "reshape",
  .doc = "the same numbers under another shape",
  .n_in = 1,
  .n_out = 1,
  .flags = FRT_VIEW,
  .attr = attrs,
  .n_attr = FRT_COUNT(attrs),
  .cases = cases,
  .n_case = FRT_COUNT(cases),
  .infer = infer,
  .forward = forward,
  .grad = grad,
};
