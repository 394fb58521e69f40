/// exp -- e^x, element-wise.
///
/// in    x   f32 or f64 [any]
/// out   y   shape of x
/// grad  dx  dy * y
#include "ops/elementwise/elementwise.h"

FRT_UNARY(exp, "n", exp(x))

static frt_status grad(const frt_grad_call *c)
{
  return frt__g2(&frt_op_mul, c->dy[0], c->y[0], &c->dx[0]);
}

FRT_OP(exp) = {
  FRT_ELEMENTWISE_FIELDS(exp, 1, "e^x"),
  .flags = FRT_ELEMENTWISE,
  .grad = grad,
};
