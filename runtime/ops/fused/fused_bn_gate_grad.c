/// fused_bn_gate_grad -- gradient of y = act(batch norm(x)) that is multiplied by a gate and
/// averaged (squeeze-and-excitation): y's gradient is dz * gate + add.
///
/// in    x          f32 or f64 [N, C, H, W]
/// in    dz         like x: the gradient of the gated map
/// in    gamma, beta, mean, rstd  dtype of x [C]
/// in    gate, add  [N, C, 1, 1]
/// in    sums       [4, N, C], as fused_gate_sums left them; may be absent
/// out   dx         shape of x
/// out   dgamma, dbeta  [C]
/// attr  act        the activation
/// grad  none: the planner makes it behind the gradient
/// errs  FRT_ESHAPE when sizes do not fit
#include "ops/fused/fused.h"

enum { X, DZ, LOAD, GATE = 6, ADD };
static const frt_attr attrs[] = {FRT_FUSED_ACT_ATTR("act")};
// Without sums, so that kernels are judged together with fused_gate_sums (spec/device).
// clang-format off
static const frt_case cases[] = {
  {"silu", 8, {{3, 4, 5, 7}, {3, 4, 5, 7}, {4}, {4}, {4}, {4}, {3, 4, 1, 1}, {3, 4, 1, 1}}, "nnnnnpnn", 0, {FRT_ACT_SILU}},
  {"relu", 8, {{2, 5, 3, 5}, {2, 5, 3, 5}, {5}, {5}, {5}, {5}, {2, 5, 1, 1}, {2, 5, 1, 1}}, "nnnnnpnn", 0, {FRT_ACT_RELU}},
};
// clang-format on

static frt_status infer(const frt_infer *c)
{
  FRT_TRY(frt__check_norm_grad("fused_bn_gate_grad", c));
  FRT_TRY(frt__check_load("fused_bn_gate_grad", c->x[X], c->x + LOAD, c->x[GATE]));
  FRT_TRY(frt__check_load("fused_bn_gate_grad", c->x[X], c->x + LOAD, c->x[ADD]));
  c->y[0] = *c->x[X];
  c->y[1] = c->y[2] = *c->x[LOAD];
  return FRT_OK;
}

static frt_status expand(const frt_expand *c)
{
  frt_ref dy;
  FRT_TRY(frt__g2(&frt_op_mul, c->x[DZ], c->x[GATE], &dy));
  FRT_TRY(frt__g2(&frt_op_add, dy, c->x[ADD], &dy));
  return frt__g_norm_grad(c->x[X], dy, c->x + LOAD, (int32_t)c->attr[0], c->y);
}

FRT_OP(fused_bn_gate_grad) = {
  .name = "fused_bn_gate_grad",
  .doc = "gradient of batch norm and activation behind a gate",
  .n_in = 9,
  .n_optional = 1,
  .n_out = 3,
  .flags = FRT_FUSED,
  .attr = attrs,
  .n_attr = FRT_COUNT(attrs),
  .cases = cases,
  .n_case = FRT_COUNT(cases),
  .infer = infer,
  .expand = expand,
};
