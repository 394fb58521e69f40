/// silu -- x * sigmoid(x), element-wise.
///
/// in    x   f32 or f64 [any]
/// out   y   shape of x
/// grad  dx  silu_grad(x, dy)
/// from  arXiv:1702.03118
#include "ops/elementwise/elementwise.h"

FRT_UNARY_CASES("n");
FRT_UNARY(silu, x / (1 + exp(-x)))

static frt_status grad(const frt_grad_call *c)
{
  return frt__g2(&frt_op_silu_grad, c->x[0], c->dy[0], &c->dx[0]);
}

FRT_OP(silu) = {
  FRT_ELEMENTWISE_FIELDS(silu, 1, "x * sigmoid(x)"),
  .flags = FRT_ELEMENTWISE,
  .grad = grad,
};
