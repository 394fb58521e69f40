/// fused_load_sum -- sum or mean over a map that is computed as it is read, act(batch norm(x)), or
/// over its product with another: squeeze-and-excitation's pooling, and the gradient of its gate.
///
/// in    x        f32 or f64 [N, C, H, W]
/// in    b        like x: the product's other side; may be absent
/// in    gamma, beta, mean, rstd  dtype of x [C]; all may be absent
/// out   y        x's shape without the dimensions of the mask, or with 1 in their place
/// attr  mask     bit d: reduce dimension d
/// attr  keepdim  1: reduced dimensions stay, of size 1
/// attr  act      the activation behind batch norm
/// attr  mean     1: the mean, 0: the sum
/// grad  none: the planner makes it behind the gradient
/// errs  FRT_ESHAPE when sizes do not fit
#include "ops/fused/fused.h"

enum { X, B, LOAD };
enum { MASK, KEEPDIM, ACT, MEAN };
static const frt_attr attrs[] = {
  {"mask",    1, 12, 0, 63, "bit d: reduce dimension d"            },
  {"keepdim", 1, 0,  0, 1,  "1: reduced dimensions stay, of size 1"},
  FRT_FUSED_ACT_ATTR("act"),
  {"mean",    1, 0,  0, 1,  "1: the mean, 0: the sum"              },
};
// clang-format off
static const frt_case cases[] = {
  {"mean of silu", 6, {{3, 4, 5, 7}, {3, 4, 5, 7}, {4}, {4}, {4}, {4}}, "n-nnnp", 0, {12, 1, FRT_ACT_SILU, 1}},
  {"sum of a product", 6, {{2, 35, 3, 5}, {2, 35, 3, 5}, {35}, {35}, {35}, {35}}, "nnnnnp", 0, {12, 1, FRT_ACT_RELU, 0}},
  {"of each channel", 6, {{2, 5, 3, 5}, {2, 5, 3, 5}, {5}, {5}, {5}, {5}}, "nnnnnp", 0, {13, 0, 0, 0}},
};
// clang-format on

static frt_status infer(const frt_infer *c)
{
  FRT_TRY(frt__check_load("fused_load_sum", c->x[X], c->x + LOAD, NULL));
  if (c->x[B]) {
    FRT_TRY(frt__check_same("fused_load_sum", "b", c->x[B], c->x[X]));
  }
  return frt__infer_reduce("fused_load_sum", c);
}

static frt_status expand(const frt_expand *c)
{
  frt_ref y;
  FRT_TRY(frt__g_load(c->x[X], c->x + LOAD, (int32_t)c->attr[ACT], 0, &y));
  if (c->x[B]) {
    FRT_TRY(frt__g2(&frt_op_mul, y, c->x[B], &y));
  }
  const frt_op *op = c->attr[MEAN] != 0 ? &frt_op_mean : &frt_op_sum;
  return frt__node(op, 1, &y, c->attr, 1, c->y);
}

FRT_OP(fused_load_sum) = {
  .name = "fused_load_sum",
  .doc = "sum over a map that is computed as it is read",
  .n_in = 6,
  .n_optional = 5,
  .n_out = 1,
  .flags = FRT_FUSED,
  .attr = attrs,
  .n_attr = FRT_COUNT(attrs),
  .cases = cases,
  .n_case = FRT_COUNT(cases),
  .infer = infer,
  .expand = expand,
};
