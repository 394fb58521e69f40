/// log_softmax -- the logarithm of softmax along one dimension, without its underflow.
///
///     y = x - top - log(sum of e^(x - top))
///
/// in    x    f32 or f64 [any]
/// out   y    shape of x
/// attr  dim  the dimension
/// grad  dx   dy - e^y * sum of dy along dim
#include "ops/norm/softmax.h"

static const frt_attr attrs[] = {FRT_SOFTMAX_ATTRS};

static const frt_case cases[] = {
  {"long rows",         1, {{3, 1031}},    NULL, 0, {1}},
  {"logits",            1, {{5, 7}},       NULL, 0, {1}},
  {"channels of a map", 1, {{2, 3, 4, 5}}, NULL, 0, {1}},
  {"vector",            1, {{9}},          NULL, 0, {0}},
};

FRT_SOFTMAX(log_softmax, x - log(sum))

static frt_status grad(const frt_grad_call *c)
{
  frt_ref p, sum;
  FRT_TRY(frt__g1(&frt_op_exp, c->y[0], &p));
  FRT_TRY(frt__g_sum(c->dy[0], 1u << (int32_t)c->attr[FRT_SOFTMAX_DIM], true, &sum));
  FRT_TRY(frt__g2(&frt_op_mul, p, sum, &p));
  return frt__g2(&frt_op_sub, c->dy[0], p, &c->dx[0]);
}

FRT_OP(log_softmax) = {
  .name = "log_softmax",
  .doc = "the logarithm of softmax along one dimension",
  .n_in = 1,
  .n_out = 1,
  .attr = attrs,
  .n_attr = FRT_COUNT(attrs),
  .cases = cases,
  .n_case = FRT_COUNT(cases),
  .infer = infer,
  .forward = forward,
  .grad = grad,
};
