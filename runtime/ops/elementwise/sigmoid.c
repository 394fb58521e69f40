/// sigmoid -- 1 / (1 + e^-x), element-wise.
///
/// in    x   f32 or f64 [any]
/// out   y   shape of x
/// grad  dx  dy * y * (1 - y)
#include "ops/elementwise/elementwise.h"

FRT_UNARY(sigmoid, "n", 1 / (1 + exp(-x)))

static frt_status grad(const frt_grad_call *c)
{
  frt_ref one, t;
  FRT_TRY(frt__gs(1, c->y[0], &one));
  FRT_TRY(frt__g2(&frt_op_sub, one, c->y[0], &t));
  FRT_TRY(frt__g2(&frt_op_mul, c->y[0], t, &t));
  return frt__g2(&frt_op_mul, c->dy[0], t, &c->dx[0]);
}

FRT_OP(sigmoid) = {
  FRT_ELEMENTWISE_FIELDS(sigmoid, 1, "1 / (1 + e^-x)"),
  .flags = FRT_ELEMENTWISE,
  .grad = grad,
};
