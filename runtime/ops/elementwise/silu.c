/// silu -- x * sigmoid(x), element-wise.
///
/// in    x   f32 or f64 [any]
/// out   y   shape of x
/// grad  dx  silu_grad(x, dy)
/// from  arXiv:1702.03118
#include "ops/elementwise/elementwise.h"

FRT_UNARY(silu, "n", x / (1 + exp(-x)))

static frt_status grad(const frt_grad_call *c)
{
  return frt__g2(&frt_op_silu_grad, c->x[0], c->dy[0], &c->dx[0]);
}

FRT_OP(silu) = {
  FRT_ELEMENTWISE_FIELDS(silu, 1, "x * sigmoid(x)"),
  .flags = FRT_ELEMENTWISE,
  .grad = grad,
};

/// silu_grad -- the gradient of silu, element-wise.
///
///     s = 1 / (1 + e^-x)      y = dy * s * (1 + x * (1 - s))
///
/// in    x   f32 or f64 [any]
/// in    dy  like x
/// out   y   shape of x
/// grad  none

static double slope(double x)
{
  double s = 1 / (1 + exp(-x));
  return s * (1 + x * (1 - s));
}

FRT_SLOPE(silu_grad, "nn", slope(a) * b)

FRT_OP(silu_grad) = {
  FRT_ELEMENTWISE_FIELDS(silu_grad, 2, "the gradient of silu: dy * s * (1 + x * (1 - s))"),
  .flags = FRT_ELEMENTWISE,
};
