/// softplus -- log(1 + e^x), element-wise.
///
/// in    x   f32 or f64 [any]
/// out   y   shape of x
/// grad  dx  dy * sigmoid(x)
#include "ops/elementwise/elementwise.h"

FRT_UNARY(softplus, "n", fmax(x, 0) + log1p(exp(-fabs(x))))

static frt_status grad(const frt_grad_call *c)
{
  frt_ref t;
  FRT_TRY(frt__g1(&frt_op_sigmoid, c->x[0], &t));
  return frt__g2(&frt_op_mul, c->dy[0], t, &c->dx[0]);
}

FRT_OP(softplus) = {
  FRT_ELEMENTWISE_FIELDS(softplus, 1, "log(1 + e^x)"),
  .flags = FRT_ELEMENTWISE,
  .grad = grad,
};
