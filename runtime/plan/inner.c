// inner.c -- ops that only a plan has: what moves values into another form, chains of elementwise
// ops (a program), and attention, which is made only where a kernel takes it.
#include "device/kernel.h"

const frt_op frt_fused_chain = {.name = "fused_chain"};
const frt_op frt_fused_layout = {.name = "fused_layout"};
const frt_op frt_fused_store = {.name = "fused_store"};
const frt_op frt_fused_copy = {.name = "fused_copy"};

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
