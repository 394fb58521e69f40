/// softmax -- e^x over its sum along one dimension; the largest is subtracted first.
///
/// in    x    f32 or f64 [any]
/// out   y    shape of x; each lane along `dim` sums to 1
/// attr  dim  the dimension
/// grad  dx   y * (dy - sum of dy * y along dim)
#include "ops/reduce.h"

enum { DIM };
static const frt_attr attrs[] = {
  {"dim", 1, 0, 0, FRT_MAX_DIM - 1, "the dimension"}
};

static const frt_case cases[] = {
  {"long rows",         1, {{3, 1031}},    NULL, 0, {1}},
  {"logits",            1, {{5, 7}},       NULL, 0, {1}},
  {"channels of a map", 1, {{2, 3, 4, 5}}, NULL, 0, {1}},
  {"attention",         1, {{2, 3, 5, 5}}, NULL, 0, {3}},
};

static frt_status infer(const frt_infer *c)
{
  FRT_TRY(frt__check_float("softmax", "x", c->x[0]));
  FRT_TRY(frt__check_dim("softmax", c->attr[DIM], c->x[0]));
  return frt__infer_same(c);
}

static frt_status forward(const frt_call *c)
{
  frt_lanes l = frt__lanes(c->xs[0], (int32_t)c->attr[DIM]);
  for (int64_t i = 0; i < l.outer * l.step; i++) {
    const real *x = FRT_IN(real, 0) + frt__lane_start(&l, i);
    real *y = FRT_OUT(real, 0) + frt__lane_start(&l, i);
    double top = -INFINITY, sum = 0;
    for (int64_t k = 0; k < l.n; k++) {
      top = fmax(top, (double)x[k * l.step]);
    }
    for (int64_t k = 0; k < l.n; k++) {
      sum += exp((double)x[k * l.step] - top);
    }
    for (int64_t k = 0; k < l.n; k++) {
      y[k * l.step] = (real)(exp((double)x[k * l.step] - top) / sum);
    }
  }
  return FRT_OK;
}

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
