/// gelu_grad -- the gradient of gelu, element-wise.
///
///     y = dy * (Phi(x) + x * phi(x))      Phi, phi: the normal distribution and its density
///
/// in    x   f32 or f64 [any]
/// in    dy  like x
/// out   y   shape of x
/// grad  none
#include "ops/elementwise/elementwise.h"

static const frt_case cases[] = {
  {"vector",         2, {{9}, {9}},                   NULL, 0, {0}},
  {"map, odd sizes", 2, {{2, 3, 5, 7}, {2, 3, 5, 7}}, NULL, 0, {0}},
};

static double slope(double x)
{
  return 0.5 * (1 + erf(x * 0.70710678118654752440)) +
         x * 0.39894228040143267794 * exp(-0.5 * x * x);
}

FRT_BINARY(gelu_grad, slope(a) * b)

FRT_OP(gelu_grad) = {
  FRT_ELEMENTWISE_FIELDS(gelu_grad, 2, "the gradient of gelu: dy * (Phi(x) + x * phi(x))"),
  .flags = FRT_ELEMENTWISE,
};
