/// gelu -- x * Phi(x), Phi the normal distribution's, by the error function; element-wise.
///
/// in    x   f32 or f64 [any]
/// out   y   shape of x
/// grad  dx  gelu_grad(x, dy)
/// from  arXiv:1606.08415
#include "ops/elementwise/elementwise.h"

FRT_UNARY(gelu, "n", 0.5 * x * (1 + erf(x * 0.70710678118654752440)))

static frt_status grad(const frt_grad_call *c)
{
  return frt__g2(&frt_op_gelu_grad, c->x[0], c->dy[0], &c->dx[0]);
}

FRT_OP(gelu) = {
  FRT_ELEMENTWISE_FIELDS(gelu, 1, "x * Phi(x)"),
  .flags = FRT_ELEMENTWISE,
  .grad = grad,
};

/// gelu_grad -- the gradient of gelu, element-wise.
///
///     y = dy * (Phi(x) + x * phi(x))      Phi, phi: the normal distribution and its density
///
/// in    x   f32 or f64 [any]
/// in    dy  like x
/// out   y   shape of x
/// grad  none

static double slope(double x)
{
  return 0.5 * (1 + erf(x * 0.70710678118654752440)) +
         x * 0.39894228040143267794 * exp(-0.5 * x * x);
}

FRT_SLOPE(gelu_grad, "nn", slope(a) * b)

FRT_OP(gelu_grad) = {
  FRT_ELEMENTWISE_FIELDS(gelu_grad, 2, "the gradient of gelu: dy * (Phi(x) + x * phi(x))"),
  .flags = FRT_ELEMENTWISE,
};
