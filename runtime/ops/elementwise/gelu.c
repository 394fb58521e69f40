/// gelu -- x * Phi(x), Phi the normal distribution's, by the error function; element-wise.
///
/// in    x   f32 or f64 [any]
/// out   y   shape of x
/// grad  dx  gelu_grad(x, dy)
/// from  arXiv:1606.08415
#include "ops/elementwise/elementwise.h"

FRT_UNARY_CASES("n");
FRT_UNARY(gelu, 0.5 * x * (1 + erf(x * 0.70710678118654752440)))

static frt_status grad(const frt_grad_call *c)
{
  return frt__g2(&frt_op_gelu_grad, c->x[0], c->dy[0], &c->dx[0]);
}

FRT_OP(gelu) = {
  FRT_ELEMENTWISE_FIELDS(gelu, 1, "x * Phi(x)"),
  .flags = FRT_ELEMENTWISE,
  .grad = grad,
};
