// fused.c -- the ops only the planner makes: names for explain and for kernel lookup. What they
// mean is the graph they replace, which the reference backend runs unfused.
#include "backend.h"

const frt_op frt_fused_chain = {.name = "fused_chain"};
const frt_op frt_fused_bn_act = {.name = "fused_bn_act"};
const frt_op frt_fused_bn_act_grad = {.name = "fused_bn_act_grad"};
const frt_op frt_fused_layout = {.name = "fused_layout"};
const frt_op frt_fused_copy = {.name = "fused_copy"};
const frt_op frt_fused_mul_sum = {.name = "fused_mul_sum"};
const frt_op frt_fused_bn_stats = {.name = "fused_bn_stats"};
const frt_op frt_fused_bn_apply = {.name = "fused_bn_apply"};
