/// relu6 -- x kept between 0 and 6, element-wise.
///
/// in    x   f32 or f64 [any]
/// out   y   shape of x
/// grad  dx  dy where 0 < x < 6, else 0
/// from  Krizhevsky 2010, "Convolutional deep belief networks on CIFAR-10"
#include "ops/elementwise/elementwise.h"

FRT_UNARY_CASES("k");
FRT_UNARY(relu6, x > 6 ? 6 : x > 0 ? x : x != x ? x : 0)

static frt_status grad(const frt_grad_call *c)
{
  return frt__g2(&frt_op_relu6_grad, c->y[0], c->dy[0], &c->dx[0]);
}

FRT_OP(relu6) = {
  FRT_ELEMENTWISE_FIELDS(relu6, 1, "x kept between 0 and 6"),
  .flags = FRT_ELEMENTWISE,
  .grad = grad,
};
