/// log -- natural logarithm of x, element-wise.
///
/// in    x   f32 or f64 [any]
/// out   y   shape of x
/// grad  dx  dy / x
#include "ops/elementwise/elementwise.h"

FRT_UNARY(log, "p", log(x))

static frt_status grad(const frt_grad_call *c)
{
  return frt__g2(&frt_op_div, c->dy[0], c->x[0], &c->dx[0]);
}

FRT_OP(log) = {
  FRT_ELEMENTWISE_FIELDS(log, 1, "natural logarithm of x"),
  .flags = FRT_ELEMENTWISE,
  .grad = grad,
};
