/// fused_bn_act_grad -- gradient of batch norm + activation: the activation's input is computed
/// again from x.
///
/// in    x          f32 or f64 [N, C, ..]
/// in    dy         like x: the gradient of the activation's output
/// in    gamma, beta, mean, rstd  dtype of x [C]
/// out   dx         shape of x
/// out   dgamma, dbeta  [C]
/// attr  act        the activation
/// grad  none: the planner makes it behind the gradient
/// errs  FRT_ESHAPE when sizes do not fit
#include "ops/fused/fused.h"

enum { X, DY, LOAD };
static const frt_attr attrs[] = {FRT_FUSED_ACT_ATTR("act")};
// clang-format off
static const frt_case cases[] = {
  {"silu", 6, {{3, 4, 5, 7}, {3, 4, 5, 7}, {4}, {4}, {4}, {4}}, "nnnnnp", 0, {FRT_ACT_SILU}},
  {"relu", 6, {{2, 35, 3, 5}, {2, 35, 3, 5}, {35}, {35}, {35}, {35}}, "nnnnnp", 0, {FRT_ACT_RELU}},
};
// clang-format on

static frt_status infer(const frt_infer *c)
{
  FRT_TRY(frt__check_norm_grad("fused_bn_act_grad", c));
  c->y[0] = *c->x[X];
  c->y[1] = c->y[2] = *c->x[LOAD];
  return FRT_OK;
}

static frt_status expand(const frt_expand *c)
{
  return frt__g_norm_grad(c->x[X], c->x[DY], c->x + LOAD, (int32_t)c->attr[0], c->y);
}

FRT_OP(fused_bn_act_grad) = {
  .name = "fused_bn_act_grad",
  .doc = "gradient of batch norm and activation",
  .n_in = 6,
  .n_optional = 0,
  .n_out = 3,
  .flags = FRT_FUSED,
  .attr = attrs,
  .n_attr = FRT_COUNT(attrs),
  .cases = cases,
  .n_case = FRT_COUNT(cases),
  .infer = infer,
  .expand = expand,
};
