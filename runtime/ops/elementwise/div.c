/// div -- a / b, element-wise with broadcasting.
///
/// in    a   f32 or f64 [any]
/// in    b   dtype of a, a shape that broadcasts with a's
/// out   y   the broadcast shape
/// grad  da  dy / b
/// grad  db  -dy * y / b, both summed over what was broadcast
/// errs  FRT_ESHAPE when dtypes differ or shapes do not broadcast
#include "ops/elementwise/elementwise.h"

FRT_BINARY(div, "np", a / b)

static frt_status grad(const frt_grad_call *c)
{
  frt_ref da, t;
  FRT_TRY(frt__g2(&frt_op_div, c->dy[0], c->x[1], &da));
  if (c->need[0]) {
    FRT_TRY(frt__g_unbroadcast(da, c->xs[0], &c->dx[0]));
  }
  if (c->need[1]) {
    FRT_TRY(frt__g2(&frt_op_mul, da, c->y[0], &t));
    FRT_TRY(frt__g1(&frt_op_neg, t, &t));
    FRT_TRY(frt__g_unbroadcast(t, c->xs[1], &c->dx[1]));
  }
  return FRT_OK;
}

FRT_OP(div) = {
  FRT_ELEMENTWISE_FIELDS(div, 2, "a / b"),
  .flags = FRT_ELEMENTWISE,
  .grad = grad,
};
