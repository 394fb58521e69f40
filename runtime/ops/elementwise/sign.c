/// sign -- -1, 0 or 1 with the sign of x, element-wise.
///
/// in    x   f32 or f64 [any]
/// out   y   shape of x
/// grad  none: zero wherever it exists
#include "ops/elementwise/elementwise.h"

FRT_UNARY(sign, "k", x > 0 ? 1 : x < 0 ? -1 : x)

FRT_OP(sign) = {
  FRT_ELEMENTWISE_FIELDS(sign, 1, "-1, 0 or 1 with the sign of x"),
  .flags = FRT_ELEMENTWISE | FRT_NO_GRAD,
};
