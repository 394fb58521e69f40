// table.c -- the table of one instruction set's kernels.
#include "cpu/vec.h"

size_t FRT_K(depthwise_gather_scratch)(const frt_depthwise *g, int32_t pass);
size_t FRT_K(depthwise_weight_scratch)(const frt_depthwise *g);
int32_t FRT_K(depthwise_team)(const frt_depthwise *g);

static size_t depthwise_scratch(const frt_depthwise *g, int32_t pass)
{
  return pass == FRT_DW_GRAD_WEIGHT ? FRT_K(depthwise_weight_scratch)(g)
                                    : FRT_K(depthwise_gather_scratch)(g, pass);
}

const frt_kernels FRT_K(kernels) = {
  .isa = FRT_ISA_TEXT(FRT_ISA),
  .depthwise_scratch = depthwise_scratch,
  .depthwise_team = FRT_K(depthwise_team),
  .depthwise = FRT_K(depthwise),
  .depthwise_grad_input = FRT_K(depthwise_grad_input),
  .depthwise_grad_weight = FRT_K(depthwise_grad_weight),
  .winograd_packed = FRT_K(winograd_packed),
  .winograd_pack = FRT_K(winograd_pack),
  .winograd_scratch = FRT_K(winograd_scratch),
  .winograd_team = FRT_K(winograd_team),
  .winograd = FRT_K(winograd),
  .winograd_weight_scratch = FRT_K(winograd_weight_scratch),
  .winograd_weight = FRT_K(winograd_weight),
  .dense_packed = FRT_K(dense_packed),
  .dense_pack = FRT_K(dense_pack),
  .dense_scratch = FRT_K(dense_scratch),
  .dense_team = FRT_K(dense_team),
  .dense = FRT_K(dense),
  .load_rows = FRT_K(load_rows),
  .moments_bytes = FRT_K(moments_bytes),
  .moments_rows = FRT_K(moments_rows),
  .moments_finish = FRT_K(moments_finish),
  .bn_scratch = FRT_K(bn_scratch),
  .bn_stats = FRT_K(bn_stats),
  .bn_apply = FRT_K(bn_apply),
  .bn_grad = FRT_K(bn_grad),
  .bn_gate_scratch = FRT_K(bn_gate_scratch),
  .bn_gate_sums = FRT_K(bn_gate_sums),
  .bn_gate_grad = FRT_K(bn_gate_grad),
  .reduce_rows_scratch = FRT_K(reduce_rows_scratch),
  .reduce_rows = FRT_K(reduce_rows),
  .max_pool = FRT_K(max_pool),
  .max_pool_grad = FRT_K(max_pool_grad),
  .bias_act = FRT_K(bias_act),
  .layer_norm = FRT_K(layer_norm),
  .layer_norm_grad = FRT_K(layer_norm_grad),
  .softmax = FRT_K(softmax),
  .softmax_grad = FRT_K(softmax_grad),
  .attention_scratch = FRT_K(attention_scratch),
  .attention = FRT_K(attention),
  .attention_grad_scratch = FRT_K(attention_grad_scratch),
  .attention_grad = FRT_K(attention_grad),
#if FRT_HALF
  .half_product = FRT_K(half_product),
  .half_pack = FRT_K(half_pack),
  .half_rows = FRT_K(half_rows),
#endif
  .to_half = FRT_K(to_half),
  .from_half = FRT_K(from_half),
  .chain = FRT_K(chain),
  .adam = FRT_K(adam),
  .sgd = FRT_K(sgd),
  .ema = FRT_K(ema),
  .norm_scratch = FRT_K(norm_scratch),
  .norm = FRT_K(norm),
  .uniform = FRT_K(uniform),
};
