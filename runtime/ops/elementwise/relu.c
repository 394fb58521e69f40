/// relu -- x where it is positive, else 0, element-wise.
///
/// in    x   f32 or f64 [any]
/// out   y   shape of x
/// grad  dx  dy where y > 0, else 0 (0 at x = 0)
#include "ops/elementwise/elementwise.h"

FRT_UNARY(relu, "k", x > 0 ? x : x != x ? x : 0)

static frt_status grad(const frt_grad_call *c)
{
  return frt__g2(&frt_op_relu_grad, c->y[0], c->dy[0], &c->dx[0]);
}

FRT_OP(relu) = {
  FRT_ELEMENTWISE_FIELDS(relu, 1, "x where it is positive, else 0"),
  .flags = FRT_ELEMENTWISE,
  .grad = grad,
};

/// relu_grad -- the gradient of relu from its output, element-wise.
///
///     dx = dy where y > 0, else 0
///
/// in    y   f32 or f64 [any], the output of relu
/// in    dy  like y
/// out   dx  shape of y
/// grad  none

FRT_SLOPE(relu_grad, "kn", a > 0 ? b : 0)

FRT_OP(relu_grad) = {
  FRT_ELEMENTWISE_FIELDS(relu_grad, 2, "the gradient of relu: dy where y > 0, else 0"),
  .flags = FRT_ELEMENTWISE,
};
