// fused.c -- the ops only the planner makes: names for explain and for kernel lookup. What they
// mean is the graph they replace, which the reference backend runs unfused.
#include "device/kernel.h"

const frt_op frt_fused_chain = {.name = "fused_chain"};
const frt_op frt_fused_bn_act_grad = {.name = "fused_bn_act_grad"};
const frt_op frt_fused_layout = {.name = "fused_layout"};
const frt_op frt_fused_store = {.name = "fused_store"};
const frt_op frt_fused_copy = {.name = "fused_copy"};
const frt_op frt_fused_load_sum = {.name = "fused_load_sum"};
const frt_op frt_fused_gate_sums = {.name = "fused_gate_sums"};
const frt_op frt_fused_bn_gate_grad = {.name = "fused_bn_gate_grad"};
const frt_op frt_fused_mul_sum = {.name = "fused_mul_sum"};
const frt_op frt_fused_bn_stats = {.name = "fused_bn_stats"};
const frt_op frt_fused_bn_apply = {.name = "fused_bn_apply"};

static double conv_flops(const frt_infer *c)
{
  return frt_op_conv2d.flops(c);
}
static double weight_flops(const frt_infer *c)
{
  return frt_op_conv2d_grad_weight.flops(c);
}
const frt_op frt_fused_conv2d = {.name = "fused_conv2d", .flops = conv_flops};
const frt_op frt_fused_conv2d_grad_weight = {.name = "fused_conv2d_grad_weight",
                                             .flops = weight_flops};

// Products of queries, keys and numbers; backward computes the scores again.
static double attention_flops(const frt_infer *c, double products)
{
  double flops = products * 2;
  for (int32_t i = 0; i < FRT_ATTENTION_SIZES; i++) {
    flops *= c->attr[i];
  }
  return flops;
}
static double forward_flops(const frt_infer *c)
{
  return attention_flops(c, 2);
}
static double backward_flops(const frt_infer *c)
{
  return attention_flops(c, 5);
}
const frt_op frt_fused_attention = {.name = "fused_attention", .flops = forward_flops};
const frt_op frt_fused_attention_grad = {.name = "fused_attention_grad", .flops = backward_flops};
