/// softmax -- e^x over its sum along one dimension; the largest is subtracted first.
///
/// in    x    f32 or f64 [any]
/// out   y    shape of x; each lane along `dim` sums to 1
/// attr  dim  the dimension
/// grad  dx   y * (dy - sum of dy * y along dim)
#include "ops/norm/softmax.h"

static const frt_attr attrs[] = {FRT_SOFTMAX_ATTRS};

static const frt_case cases[] = {
  {"long rows",         1, {{3, 1031}},    NULL, 0, {1}},
  {"logits",            1, {{5, 7}},       NULL, 0, {1}},
  {"channels of a map", 1, {{2, 3, 4, 5}}, NULL, 0, {1}},
  {"attention",         1, {{2, 3, 5, 5}}, NULL, 0, {3}},
};

FRT_SOFTMAX(softmax, exp(x) / sum)

static frt_status grad(const frt_grad_call *c)
{
  frt_ref in[2] = {c->y[0], c->dy[0]};
  return frt__node(&frt_op_softmax_grad, 2, in, c->attr, 1, &c->dx[0]);
}

FRT_OP(softmax) = {
  .name = "softmax",
  .doc = "e^x over its sum along one dimension",
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
