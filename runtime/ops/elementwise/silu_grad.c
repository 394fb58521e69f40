/// silu_grad -- the gradient of silu, element-wise.
///
///     s = 1 / (1 + e^-x)      y = dy * s * (1 + x * (1 - s))
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
  double s = 1 / (1 + exp(-x));
  return s * (1 + x * (1 - s));
}

FRT_BINARY(silu_grad, slope(a) * b)

FRT_OP(silu_grad) = {
  FRT_ELEMENTWISE_FIELDS(silu_grad, 2, "the gradient of silu: dy * s * (1 + x * (1 - s))"),
  .flags = FRT_ELEMENTWISE,
};
