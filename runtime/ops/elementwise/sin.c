/// sin -- sine of x, element-wise.
///
/// in    x   f32 or f64 [any], radians
/// out   y   shape of x
/// grad  dx  dy * cos(x)
#include "ops/elementwise/elementwise.h"

FRT_UNARY(sin, "n", sin(x))

static frt_status grad(const frt_grad_call *c)
{
  frt_ref t;
  FRT_TRY(frt__g1(&frt_op_cos, c->x[0], &t));
  return frt__g2(&frt_op_mul, c->dy[0], t, &c->dx[0]);
}

FRT_OP(sin) = {
  FRT_ELEMENTWISE_FIELDS(sin, 1, "sine of x"),
  .flags = FRT_ELEMENTWISE,
  .grad = grad,
};
