/// rsqrt -- 1 / sqrt(x), element-wise.
///
/// in    x   f32 or f64 [any]
/// out   y   shape of x
/// grad  dx  -dy y^3 / 2
#include "ops/elementwise/elementwise.h"

FRT_UNARY(rsqrt, "p", 1 / sqrt(x))

static frt_status grad(const frt_grad_call *c)
{
  frt_ref t, cube;
  FRT_TRY(frt__g2(&frt_op_mul, c->y[0], c->y[0], &t));
  FRT_TRY(frt__g2(&frt_op_mul, t, c->y[0], &t));
  FRT_TRY(frt__g_scale(t, -0.5, &cube));
  return frt__g2(&frt_op_mul, c->dy[0], cube, &c->dx[0]);
}

FRT_OP(rsqrt) = {
  FRT_ELEMENTWISE_FIELDS(rsqrt, 1, "1 / sqrt(x)"),
  .flags = FRT_ELEMENTWISE,
  .grad = grad,
};
