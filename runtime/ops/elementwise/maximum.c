/// maximum -- the larger of a and b, element-wise with broadcasting.
///
/// in    a   f32 or f64 [any]
/// in    b   dtype of a, a shape that broadcasts with a's
/// out   y   the broadcast shape
/// grad  da  dy where a is taken, dy / 2 where a = b
/// grad  db  likewise; both summed over what was broadcast
/// errs  FRT_ESHAPE when dtypes differ or shapes do not broadcast
#include "ops/elementwise/elementwise.h"

FRT_BINARY(maximum, "nn", a > b || a != a ? a : b)

static frt_status grad(const frt_grad_call *c)
{
  for (int32_t k = 0; k < 2; k++) {
    if (c->need[k]) {
      frt_ref t;
      FRT_TRY(frt__g_share(c->dy[0], c->x[1 - k], c->x[k], &t));
      FRT_TRY(frt__g_unbroadcast(t, c->xs[k], &c->dx[k]));
    }
  }
  return FRT_OK;
}

FRT_OP(maximum) = {
  FRT_ELEMENTWISE_FIELDS(maximum, 2, "the larger of a and b"),
  .flags = FRT_ELEMENTWISE,
  .grad = grad,
};
