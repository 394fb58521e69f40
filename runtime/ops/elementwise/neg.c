/// neg -- -x, element-wise.
///
/// in    x   f32 or f64 [any]
/// out   y   shape of x
/// grad  dx  -dy
#include "ops/elementwise/elementwise.h"

FRT_UNARY(neg, "n", -x)

static frt_status grad(const frt_grad_call *c)
{
  return frt__g1(&frt_op_neg, c->dy[0], &c->dx[0]);
}

FRT_OP(neg) = {
  FRT_ELEMENTWISE_FIELDS(neg, 1, "-x"),
  .flags = FRT_ELEMENTWISE,
  .grad = grad,
};
