/// relu_grad -- the gradient of relu from its output, element-wise.
///
///     dx = dy where y > 0, else 0
///
/// in    y   f32 or f64 [any], the output of relu
/// in    dy  like y
/// out   dx  shape of y
/// grad  none
#include "ops/elementwise/elementwise.h"

static const frt_case cases[] = {
  {"vector",         2, {{9}, {9}},                   "kn", 0, {0}},
  {"map, odd sizes", 2, {{2, 3, 5, 7}, {2, 3, 5, 7}}, "kn", 0, {0}},
};

FRT_BINARY(relu_grad, a > 0 ? b : 0)

FRT_OP(relu_grad) = {
  FRT_ELEMENTWISE_FIELDS(relu_grad, 2, "the gradient of relu: dy where y > 0, else 0"),
  .flags = FRT_ELEMENTWISE,
};
