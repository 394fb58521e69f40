/// cos -- cosine of x, element-wise.
///
/// in    x   f32 or f64 [any], radians
/// out   y   shape of x
/// grad  dx  -dy * sin(x)
#include "ops/elementwise/elementwise.h"

FRT_UNARY(cos, "n", cos(x))

static frt_status grad(const frt_grad_call *c)
{
  frt_ref t;
  FRT_TRY(frt__g1(&frt_op_sin, c->x[0], &t));
  FRT_TRY(frt__g1(&frt_op_neg, t, &t));
  return frt__g2(&frt_op_mul, c->dy[0], t, &c->dx[0]);
}

FRT_OP(cos) = {
  FRT_ELEMENTWISE_FIELDS(cos, 1, "cosine of x"),
  .flags = FRT_ELEMENTWISE,
  .grad = grad,
};
