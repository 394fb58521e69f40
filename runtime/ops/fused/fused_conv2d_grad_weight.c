/// fused_conv2d_grad_weight -- gradient of a convolution by its weights, its input computed again
/// as it is read: act_x(batch norm(x)) * gate.
///
/// in    x         f32 or f64 [N, C, H, W]
/// in    dy        [N, K, oh, ow]
/// in    gamma, beta, mean, rstd  dtype of x [C]; all may be absent
/// in    gate      [N, C, 1, 1]; may be absent
/// out   dw        [K, C / groups, kh, kw]
/// attr  stride, pad, dilation, groups, act  those of conv2d
/// attr  kh, kw    height and width of w
/// attr  act_x     the activation behind x's batch norm
/// attr  eps, momentum  not used: so that both fused convolutions have the same attributes
/// grad  none: the planner makes it behind the gradient
/// errs  FRT_ESHAPE when sizes do not fit
#include "ops/fused/fused.h"

enum { X, DY, LOAD = FRT_CONV_WEIGHT_LOAD };
static const frt_attr attrs[] = {
  FRT_CONV_ATTR_ROWS,
  {"kh",       1, 1,    0, 1e9, "height of w"},
  {"kw",       1, 1,    0, 1e9, "width of w" },
  FRT_FUSED_ACT_ATTR("act_x"),
  {"eps",      1, 1e-5, 0, 1,   "not used"   },
  {"momentum", 1, 0.1,  0, 1,   "not used"   },
};
#define CONV(stride, pad, groups, k) stride, stride, pad, pad, pad, pad, 1, 1, groups, 0, k, k
// clang-format off
static const frt_case cases[] = {
  {"batch norm, silu and a gate on load", 7, {{2, 5, 6, 7}, {2, 4, 6, 7}, {5}, {5}, {5}, {5}, {2, 5, 1, 1}}, "nnnnnpn", 0, {CONV(1, 1, 1, 3), FRT_ACT_SILU}},
  {"1 x 1 behind relu", 6, {{2, 16, 6, 5}, {2, 8, 6, 5}, {16}, {16}, {16}, {16}}, "nnnnnp", 0, {CONV(1, 0, 1, 1), FRT_ACT_RELU}},
  {"depthwise behind silu, stride 2", 6, {{2, 16, 9, 8}, {2, 16, 5, 4}, {16}, {16}, {16}, {16}}, "nnnnnp", 0, {CONV(2, 1, 16, 3), FRT_ACT_SILU}},
};
// clang-format on

static frt_status infer(const frt_infer *c)
{
  const frt_shape *gate = c->n_in > LOAD + FRT_LOAD_GATE ? c->x[LOAD + FRT_LOAD_GATE] : NULL;
  frt_infer conv = *c;
  conv.n_in = 2;
  FRT_TRY(frt_op_conv2d_grad_weight.infer(&conv));
  return frt__check_load("fused_conv2d_grad_weight", c->x[X], c->x + LOAD, gate);
}

static frt_status expand(const frt_expand *c)
{
  const frt_ref gate = c->n_in > LOAD + FRT_LOAD_GATE ? c->x[LOAD + FRT_LOAD_GATE] : 0;
  frt_ref in[2] = {0, c->x[DY]};
  FRT_TRY(frt__g_load(c->x[X], c->x + LOAD, (int32_t)c->attr[FRT_FUSED_CONV_LOAD_ACT], gate, in));
  return frt__node(&frt_op_conv2d_grad_weight, 2, in, c->attr, 1, c->y);
}

static double flops(const frt_infer *c)
{
  return frt_op_conv2d_grad_weight.flops(c);
}

FRT_OP(fused_conv2d_grad_weight) = {
  .name = "fused_conv2d_grad_weight",
  .doc = "gradient by weights of a map that is computed as it is read",
  .n_in = FRT_CONV_WEIGHT_INPUTS,
  .n_optional = FRT_CONV_WEIGHT_INPUTS - 2,
  .n_out = 1,
  .flags = FRT_FUSED,
  .attr = attrs,
  .n_attr = FRT_COUNT(attrs),
  .cases = cases,
  .n_case = FRT_COUNT(cases),
  .infer = infer,
  .expand = expand,
  .flops = flops,
};
