/// fused_mul_sum -- the sum of a product over height and width (and photos): the gradient of a gate
/// or of a channel's factor, the product never stored.
///
/// in    a, b     f32 or f64 [N, C, H, W]
/// out   y        a's shape without the dimensions of the mask, or with 1 in their place
/// attr  mask     bit d: reduce dimension d
/// attr  keepdim  1: reduced dimensions stay, of size 1
/// grad  none: the planner makes it behind the gradient
/// errs  FRT_ESHAPE when the two differ
#include "ops/fused/fused.h"

FRT_REDUCE_ATTR_TABLE;
// clang-format off
static const frt_case cases[] = {
  {"of each photo", 2, {{3, 5, 7, 4}, {3, 5, 7, 4}}, "nn", 0, {12, 1}},
  {"of each channel", 2, {{3, 35, 5, 3}, {3, 35, 5, 3}}, "nn", 0, {13, 0}},
};
// clang-format on

static frt_status infer(const frt_infer *c)
{
  FRT_TRY(frt__check_float("fused_mul_sum", "a", c->x[0]));
  FRT_TRY(frt__check_same("fused_mul_sum", "b", c->x[1], c->x[0]));
  return frt__infer_reduce("fused_mul_sum", c);
}

static frt_status expand(const frt_expand *c)
{
  frt_ref y;
  FRT_TRY(frt__g2(&frt_op_mul, c->x[0], c->x[1], &y));
  return frt__node(&frt_op_sum, 1, &y, c->attr, 1, c->y);
}

FRT_OP(fused_mul_sum) = {
  .name = "fused_mul_sum",
  .doc = "sum of a product",
  .n_in = 2,
  .n_optional = 0,
  .n_out = 1,
  .flags = FRT_FUSED,
  .attr = attrs,
  .n_attr = FRT_COUNT(attrs),
  .cases = cases,
  .n_case = FRT_COUNT(cases),
  .infer = infer,
  .expand = expand,
};
