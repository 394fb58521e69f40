/// tanh -- hyperbolic tangent of x, element-wise.
///
/// in    x   f32 or f64 [any]
/// out   y   shape of x
/// grad  dx  dy * (1 - y^2)
#include "ops/elementwise/elementwise.h"

FRT_UNARY(tanh, "n", tanh(x))

static frt_status grad(const frt_grad_call *c)
{
  frt_ref one, t;
  FRT_TRY(frt__gs(1, c->y[0], &one));
  FRT_TRY(frt__g2(&frt_op_mul, c->y[0], c->y[0], &t));
  FRT_TRY(frt__g2(&frt_op_sub, one, t, &t));
  return frt__g2(&frt_op_mul, c->dy[0], t, &c->dx[0]);
}

FRT_OP(tanh) = {
  FRT_ELEMENTWISE_FIELDS(tanh, 1, "hyperbolic tangent of x"),
  .flags = FRT_ELEMENTWISE,
  .grad = grad,
};
