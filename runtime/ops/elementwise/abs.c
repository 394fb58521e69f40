/// abs -- |x|, element-wise.
///
/// in    x   f32 or f64 [any]
/// out   y   shape of x
/// grad  dx  dy * sign(x); zero at 0
#include "ops/elementwise/elementwise.h"

FRT_UNARY(abs, "k", fabs(x))

static frt_status grad(const frt_grad_call *c)
{
  frt_ref s;
  FRT_TRY(frt__g1(&frt_op_sign, c->x[0], &s));
  return frt__g2(&frt_op_mul, c->dy[0], s, &c->dx[0]);
}

FRT_OP(abs) = {
  FRT_ELEMENTWISE_FIELDS(abs, 1, "|x|"),
  .flags = FRT_ELEMENTWISE,
  .grad = grad,
};
