/// floor -- largest whole number not above x, element-wise.
///
/// in    x   f32 or f64 [any]
/// out   y   shape of x
/// grad  none: zero wherever it exists
#include "ops/elementwise/elementwise.h"

FRT_UNARY(floor, "k", floor(x))

FRT_OP(floor) = {
  FRT_ELEMENTWISE_FIELDS(floor, 1, "largest whole number not above x"),
  .flags = FRT_ELEMENTWISE | FRT_NO_GRAD,
};
