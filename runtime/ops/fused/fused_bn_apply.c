/// fused_bn_apply -- batch norm's second half with what follows it: y = act((x - mean) * rstd *
/// gamma + beta + residual).
///
/// in    x          f32 or f64 [N, C, ..]
/// in    gamma, beta, mean, rstd  dtype of x [C]
/// in    residual   like x; may be absent
/// out   y          shape of x
/// attr  act        what follows in the same pass
/// grad  none: the planner makes it behind the gradient
/// errs  FRT_ESHAPE when sizes do not fit
#include "ops/fused/fused.h"

enum { X, LOAD, RESIDUAL = 5 };
static const frt_attr attrs[] = {FRT_FUSED_ACT_ATTR("act")};
// clang-format off
static const frt_case cases[] = {
  {"silu", 5, {{3, 4, 5, 7}, {4}, {4}, {4}, {4}}, "nnnnp", 0, {FRT_ACT_SILU}},
  {"relu behind a residual", 6, {{2, 35, 3, 5}, {35}, {35}, {35}, {35}, {2, 35, 3, 5}}, "nnnnpn", 0, {FRT_ACT_RELU}},
  {"no activation", 6, {{2, 5, 9, 7}, {5}, {5}, {5}, {5}, {2, 5, 9, 7}}, "nnnnpn", 0, {0}},
  {"relu6", 5, {{2, 16, 4, 4}, {16}, {16}, {16}, {16}}, "nnnnp", 0, {FRT_ACT_RELU6}},
};
// clang-format on

static frt_status infer(const frt_infer *c)
{
  frt_channels v = {0};
  FRT_TRY(frt__channels("fused_bn_apply", c->x[X], &v));
  FRT_CHECK(c->x[LOAD], FRT_EARG, "fused_bn_apply: gamma is missing");
  FRT_TRY(frt__check_load("fused_bn_apply", c->x[X], c->x + LOAD, NULL));
  if (c->n_in > RESIDUAL && c->x[RESIDUAL]) {
    FRT_TRY(frt__check_same("fused_bn_apply", "residual", c->x[RESIDUAL], c->x[X]));
  }
  return frt__infer_same(c);
}

static frt_status expand(const frt_expand *c)
{
  frt_ref y;
  FRT_TRY(frt__g_norm(c->x[X], c->x + LOAD, &y));
  if (c->n_in > RESIDUAL && c->x[RESIDUAL]) {
    FRT_TRY(frt__g2(&frt_op_add, y, c->x[RESIDUAL], &y));
  }
  return frt__g_act((int32_t)c->attr[0], y, &c->y[0]);
}

FRT_OP(fused_bn_apply) = {
  .name = "fused_bn_apply",
  .doc = "batch norm applied, residual and activation",
  .n_in = 6,
  .n_optional = 1,
  .n_out = 1,
  .flags = FRT_FUSED,
  .attr = attrs,
  .n_attr = FRT_COUNT(attrs),
  .cases = cases,
  .n_case = FRT_COUNT(cases),
  .infer = infer,
  .expand = expand,
};
