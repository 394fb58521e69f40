/// sqrt -- square root of x, element-wise.
///
/// in    x   f32 or f64 [any]
/// out   y   shape of x
/// grad  dx  dy / (2 y)
#include "ops/elementwise/elementwise.h"

FRT_UNARY(sqrt, "p", sqrt(x))

static frt_status grad(const frt_grad_call *c)
{
  frt_ref half;
  FRT_TRY(frt__g_scale(c->dy[0], 0.5, &half));
  return frt__g2(&frt_op_div, half, c->y[0], &c->dx[0]);
}

FRT_OP(sqrt) = {
  FRT_ELEMENTWISE_FIELDS(sqrt, 1, "square root of x"),
  .flags = FRT_ELEMENTWISE,
  .grad = grad,
};
