/// add -- a + b, element-wise with broadcasting.
///
/// in    a   f32 or f64 [any]
/// in    b   dtype of a, a shape that broadcasts with a's
/// out   y   the broadcast shape
/// grad  da  dy
/// grad  db  dy, both summed over what was broadcast
/// errs  FRT_ESHAPE when dtypes differ or shapes do not broadcast
#include "ops/elementwise/elementwise.h"

FRT_BINARY(add, "nn", a + b)

static frt_status grad(const frt_grad_call *c)
{
  for (int32_t k = 0; k < 2; k++) {
    if (c->need[k]) {
      FRT_TRY(frt__g_unbroadcast(c->dy[0], c->xs[k], &c->dx[k]));
    }
  }
  return FRT_OK;
}

FRT_OP(add) = {
  FRT_ELEMENTWISE_FIELDS(add, 2, "a + b"),
  .flags = FRT_ELEMENTWISE,
  .grad = grad,
};
