/// le -- 1 where a <= b, else 0, element-wise with broadcasting.
///
/// in    a   f32, f64 or i32 [any]
/// in    b   dtype of a, a shape that broadcasts with a's
/// out   y   f64 for f64, else f32, in the broadcast shape
/// grad  none: zero wherever it exists
/// errs  FRT_ESHAPE when dtypes differ or shapes do not broadcast
#include "ops/elementwise/elementwise.h"

FRT_COMPARE(le, "nn", a <= b)

FRT_OP(le) = {
  FRT_ELEMENTWISE_FIELDS(le, 2, "1 where a <= b, else 0"),
  .flags = FRT_ELEMENTWISE | FRT_NO_GRAD,
};
