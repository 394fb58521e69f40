/// relu -- x where it is positive, else 0, element-wise.
///
/// in    x   f32 or f64 [any]
/// out   y   shape of x
/// grad  dx  dy where y > 0, else 0 (0 at x = 0)
#include "ops/elementwise/elementwise.h"

FRT_UNARY_CASES("k");
FRT_UNARY(relu, x > 0 ? x : x != x ? x : 0)

static frt_status grad(const frt_grad_call *c)
{
  return frt__g2(&frt_op_relu_grad, c->y[0], c->dy[0], &c->dx[0]);
}

FRT_OP(relu) = {
  FRT_ELEMENTWISE_FIELDS(relu, 1, "x where it is positive, else 0"),
  .flags = FRT_ELEMENTWISE,
  .grad = grad,
};
