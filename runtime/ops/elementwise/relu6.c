/// relu6 -- x kept between 0 and 6, element-wise.
///
/// in    x   f32 or f64 [any]
/// out   y   shape of x
/// grad  dx  dy where 0 < x < 6, else 0
/// from  Krizhevsky 2010, "Convolutional deep belief networks on CIFAR-10"
#include "ops/elementwise/elementwise.h"

FRT_UNARY(relu6, "k", x > 6 ? 6 : x > 0 ? x : x != x ? x : 0)

static frt_status grad(const frt_grad_call *c)
{
  return frt__g2(&frt_op_relu6_grad, c->y[0], c->dy[0], &c->dx[0]);
}

FRT_OP(relu6) = {
  FRT_ELEMENTWISE_FIELDS(relu6, 1, "x kept between 0 and 6"),
  .flags = FRT_ELEMENTWISE,
  .grad = grad,
};

/// relu6_grad -- the gradient of relu6 from its output, element-wise.
///
///     dx = dy where 0 < y < 6, else 0
///
/// in    y   f32 or f64 [any], the output of relu6
/// in    dy  like y
/// out   dx  shape of y
/// grad  none

FRT_SLOPE(relu6_grad, "kn", a > 0 && a < 6 ? b : 0)

FRT_OP(relu6_grad) = {
  FRT_ELEMENTWISE_FIELDS(relu6_grad, 2, "the gradient of relu6: dy where 0 < y < 6, else 0"),
  .flags = FRT_ELEMENTWISE,
};
