/// fused_conv2d -- convolution of a map that is computed as it is read, with what follows it:
/// residual, activation, the batch's statistics of its result.
///
///     y = act(conv2d(load(x), w, bias) + residual)      load(x) = act_x(batch norm(x)) * gate
///
/// in    x         f32 or f64 [N, C, H, W]
/// in    w         [K, C / groups, kh, kw]
/// in    bias      [K]; may be absent, as all that follows
/// in    gamma, beta, mean, rstd  dtype of x [C]
/// in    gate      [N, C, 1, 1]
/// in    running_mean, running_var  [K]: y's statistics are wanted
/// in    residual  like y
/// out   y         [N, K, oh, ow]
/// out   mean, rstd, new_mean, new_var  [K], with running statistics
/// attr  stride, pad, dilation, groups, act  those of conv2d
/// attr  kh, kw    not used: so that both fused convolutions have the same attributes
/// attr  act_x     the activation behind x's batch norm
/// attr  eps, momentum  of y's statistics
/// grad  none: the planner makes it behind the gradient
/// errs  FRT_ESHAPE when sizes do not fit
#include "ops/fused/fused.h"

static const frt_attr attrs[] = {
  FRT_CONV_ATTR_ROWS,
  {"kh",       1, 0,    0, 1e9, "not used"                                          },
  {"kw",       1, 0,    0, 1e9, "not used"                                          },
  FRT_FUSED_ACT_ATTR("act_x"),
  {"eps",      1, 1e-5, 0, 1,   "added to the variance of y"                        },
  {"momentum", 1, 0.1,  0, 1,   "share of this batch in the running statistics of y"},
};
#define CONV(stride, pad, groups, act) stride, stride, pad, pad, pad, pad, 1, 1, groups, act, 0, 0
// clang-format off
static const frt_case cases[] = {
  {"batch norm, silu and a gate on load", 8, {{2, 5, 6, 7}, {4, 5, 3, 3}, {0}, {5}, {5}, {5}, {5}, {2, 5, 1, 1}}, "nn-nnnpn", 0, {CONV(1, 1, 1, 0), FRT_ACT_SILU}},
  {"1 x 1 behind relu", 7, {{2, 16, 6, 5}, {8, 16, 1, 1}, {8}, {16}, {16}, {16}, {16}}, "nnnnnnp", 0, {CONV(1, 0, 1, 0), FRT_ACT_RELU}},
  {"depthwise behind silu, stride 2", 7, {{2, 16, 9, 8}, {16, 1, 3, 3}, {0}, {16}, {16}, {16}, {16}}, "nn-nnnp", 0, {CONV(2, 1, 16, 0), FRT_ACT_SILU}},
  {"bias and relu", 3, {{2, 5, 6, 7}, {4, 5, 3, 3}, {4}}, "nnn", 0, {CONV(1, 1, 1, FRT_ACT_RELU), 0}},
  {"residual and relu", 11, {{2, 5, 6, 7}, {4, 5, 1, 1}, {4}, {0}, {0}, {0}, {0}, {0}, {0}, {0}, {2, 4, 6, 7}}, "nnn-------n", 0, {CONV(1, 0, 1, FRT_ACT_RELU), 0}},
  {"statistics behind relu", 10, {{2, 16, 6, 5}, {8, 16, 1, 1}, {0}, {16}, {16}, {16}, {16}, {0}, {8}, {8}}, "nn-nnnp-np", 0, {CONV(1, 0, 1, 0), FRT_ACT_RELU, 1e-5, 0.1}, FRT_CONV_OUTPUTS},
};
// clang-format on

static const frt_shape *input(const frt_infer *c, int32_t k)
{
  return k < c->n_in ? c->x[k] : NULL;
}

static frt_status infer(const frt_infer *c)
{
  const frt_shape *in[FRT_CONV_INPUTS];
  for (int32_t k = 0; k < FRT_CONV_INPUTS; k++) {
    in[k] = input(c, k);
  }
  frt_infer conv = *c;
  conv.n_in = 3;
  conv.n_out = 1;
  conv.x = in;
  FRT_TRY(frt_op_conv2d.infer(&conv));
  FRT_TRY(
    frt__check_load("fused_conv2d", in[0], in + FRT_CONV_LOAD, in[FRT_CONV_LOAD + FRT_LOAD_GATE]));
  FRT_CHECK(c->n_out == 1 || c->n_out == FRT_CONV_OUTPUTS, FRT_EARG,
            "fused_conv2d: gives y, or y and four statistics, not %d values", c->n_out);
  if (in[FRT_CONV_RESIDUAL]) {
    FRT_TRY(frt__check_same("fused_conv2d", "residual", in[FRT_CONV_RESIDUAL], &c->y[0]));
  }
  for (int32_t k = 1; k < c->n_out; k++) {
    FRT_CHECK(in[FRT_CONV_RUNNING] && in[FRT_CONV_RUNNING + 1], FRT_EARG,
              "fused_conv2d: statistics need the running ones");
    c->y[k] = *in[FRT_CONV_RUNNING];
  }
  return FRT_OK;
}

static frt_status expand(const frt_expand *c)
{
  frt_ref in[FRT_CONV_INPUTS] = {0}, y;
  for (int32_t k = 0; k < c->n_in; k++) {
    in[k] = c->x[k];
  }
  const frt_ref *load = in + FRT_CONV_LOAD;
  FRT_TRY(frt__g_load(in[0], load, (int32_t)c->attr[FRT_FUSED_CONV_LOAD_ACT], load[FRT_LOAD_GATE],
                      &in[0]));
  double attr[FRT_CONV_ATTRS];
  memcpy(attr, c->attr, sizeof attr);
  attr[FRT_CONV_ACT] = 0;
  FRT_TRY(frt__node(&frt_op_conv2d, in[2] ? 3 : 2, in, attr, 1, &y));
  if (c->n_out > 1) {
    const frt_ref any = in[FRT_CONV_RUNNING];
    const frt_ref bn[] = {y, any, any, any, in[FRT_CONV_RUNNING + 1]};
    frt_ref out[5];
    FRT_TRY(frt__node(&frt_op_batch_norm_train, 5, bn, c->attr + FRT_FUSED_CONV_EPS, 5, out));
    memcpy(c->y + 1, out + 1, sizeof *out * 4);
  }
  if (in[FRT_CONV_RESIDUAL]) {
    FRT_TRY(frt__g2(&frt_op_add, y, in[FRT_CONV_RESIDUAL], &y));
  }
  return frt__g_act((int32_t)c->attr[FRT_CONV_ACT], y, &c->y[0]);
}

static double flops(const frt_infer *c)
{
  return frt_op_conv2d.flops(c);
}

FRT_OP(fused_conv2d) = {
  .name = "fused_conv2d",
  .doc = "convolution with its neighbours",
  .n_in = FRT_CONV_INPUTS,
  .n_optional = FRT_CONV_INPUTS - 2,
  .n_out = -1,
  .flags = FRT_FUSED,
  .attr = attrs,
  .n_attr = FRT_COUNT(attrs),
  .cases = cases,
  .n_case = FRT_COUNT(cases),
  .infer = infer,
  .expand = expand,
  .flops = flops,
};
