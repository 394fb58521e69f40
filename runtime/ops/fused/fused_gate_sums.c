/// fused_gate_sums -- of y = act(batch norm(x)) times a gate: the gate's gradient, and the sums
/// that batch norm's gradient behind it needs (fused_bn_gate_grad).
///
/// in    x          f32 or f64 [N, C, H, W]
/// in    dz         like x: the gradient of the gated map
/// in    gamma, beta, mean, rstd  dtype of x [C]
/// out   dgate      [N, C], with keepdim [N, C, 1, 1]: sums over the map of dz y
/// out   sums       [4, N, C]: of dz act', dz act' (x - mean), act', act' (x - mean)
/// attr  act        the activation
/// attr  keepdim    the gate's gradient stays a map
/// grad  none: the planner makes it behind the gradient
/// errs  FRT_ESHAPE when sizes do not fit
#include "ops/fused/fused.h"

enum { X, DZ, LOAD };
enum { MAP = 1 << 2 | 1 << 3 };
static const frt_attr attrs[] = {
  FRT_FUSED_ACT_ATTR("act"), {"keepdim", 1, 1, 0, 1, "1: dgate is [N, C, 1, 1]"}
};
// clang-format off
static const frt_case cases[] = {
  {"silu, kept as a map", 6, {{3, 4, 5, 7}, {3, 4, 5, 7}, {4}, {4}, {4}, {4}}, "nnnnnp", 0, {FRT_ACT_SILU, 1}},
  {"relu", 6, {{2, 35, 3, 5}, {2, 35, 3, 5}, {35}, {35}, {35}, {35}}, "nnnnnp", 0, {FRT_ACT_RELU, 0}},
};
// clang-format on

static frt_status infer(const frt_infer *c)
{
  const frt_shape *x = c->x[X];
  FRT_TRY(frt__check_norm_grad("fused_gate_sums", c));
  FRT_CHECK(x->ndim == 4, FRT_ESHAPE, "fused_gate_sums: x must be [N, C, H, W], got %s",
            frt__shape_text(x));
  c->y[0] = frt__reduced(x, MAP, c->attr[1] != 0);
  c->y[1] = (frt_shape){
    .ndim = 3, .dtype = x->dtype, .dim = {4, x->dim[0], x->dim[1]}
  };
  return FRT_OK;
}

static frt_status expand(const frt_expand *c)
{
  const frt_shape *x = c->xs[X];
  const int32_t act = (int32_t)c->attr[0];
  const frt_shape row = {
    .ndim = 3, .dtype = x->dtype, .dim = {1, x->dim[0], x->dim[1]}
  };
  frt_ref z, y, one, slope, wide, apart, part[4];
  FRT_TRY(frt__g_norm(c->x[X], c->x + LOAD, &z));
  FRT_TRY(frt__g_act(act, z, &y));
  FRT_TRY(frt__g2(&frt_op_mul, c->x[DZ], y, &y));
  FRT_TRY(frt__g_sum(y, MAP, c->attr[1] != 0, &c->y[0]));
  FRT_TRY(frt__gs(1, c->x[X], &one));
  double like[1 + FRT_MAX_DIM] = {x->ndim};
  for (int32_t d = 0; d < FRT_MAX_DIM; d++) {
    like[1 + d] = d < x->ndim ? (double)x->dim[d] : 0;
  }
  FRT_TRY(frt__node(&frt_op_expand, 1, &one, like, 1, &one));
  FRT_TRY(frt__g_act_grad(act, z, one, &slope));
  FRT_TRY(frt__g_per_channel(c->x[LOAD + FRT_LOAD_MEAN_OF], x, &wide));
  FRT_TRY(frt__g2(&frt_op_sub, c->x[X], wide, &apart));
  FRT_TRY(frt__g2(&frt_op_mul, c->x[DZ], slope, &part[0]));
  FRT_TRY(frt__g2(&frt_op_mul, part[0], apart, &part[1]));
  part[2] = slope;
  FRT_TRY(frt__g2(&frt_op_mul, slope, apart, &part[3]));
  for (int32_t k = 0; k < 4; k++) {
    FRT_TRY(frt__g_sum(part[k], MAP, false, &part[k]));
    FRT_TRY(frt__g_reshape(part[k], &row, &part[k]));
  }
  return frt__node(&frt_op_cat, 4, part, (double[]){0}, 1, &c->y[1]);
}

FRT_OP(fused_gate_sums) = {
  .name = "fused_gate_sums",
  .doc = "a gate's gradient and the sums behind it",
  .n_in = 6,
  .n_optional = 0,
  .n_out = 2,
  .flags = FRT_FUSED,
  .attr = attrs,
  .n_attr = FRT_COUNT(attrs),
  .cases = cases,
  .n_case = FRT_COUNT(cases),
  .infer = infer,
  .expand = expand,
};
