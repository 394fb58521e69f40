/// cumsum -- running sums along one dimension, in double.
///
///     y[.., i, ..] = x[.., 0, ..] + ... + x[.., i, ..]
///
/// in    x    f32 or f64 [any]
/// out   y    shape of x
/// attr  dim  the dimension
/// grad  dx   running sums of dy from the other end
#include "ops/reduce/reduce.h"

static const frt_attr attrs[] = {
  {"dim", 1, 0, 0, FRT_MAX_DIM - 1, "the dimension"}
};

static const frt_case cases[] = {
  {"vector",           1, {{9}},       NULL, 0, {0}},
  {"middle dimension", 1, {{2, 5, 3}}, NULL, 0, {1}},
  {"rows",             1, {{3, 7}},    NULL, 0, {1}},
};

static frt_status infer(const frt_infer *c)
{
  FRT_TRY(frt__check_float("cumsum", "x", c->x[0]));
  FRT_TRY(frt__check_dim("cumsum", c->attr[FRT_CUMSUM_DIM], c->x[0]));
  return frt__infer_same(c);
}

static frt_status forward(const frt_call *c)
{
  const real *x = FRT_IN(real, 0);
  real *y = FRT_OUT(real, 0);
  frt_lanes l = frt__lanes(c->xs[0], (int32_t)c->attr[FRT_CUMSUM_DIM]);
  for (int64_t i = 0; i < l.outer * l.step; i++) {
    int64_t at = frt__lane_start(&l, i);
    double sum = 0;
    for (int64_t k = 0; k < l.n; k++, at += l.step) {
      sum += (double)x[at];
      y[at] = (real)sum;
    }
  }
  return FRT_OK;
}

static frt_status grad(const frt_grad_call *c)
{
  double mask = 1 << (int32_t)c->attr[FRT_CUMSUM_DIM];
  frt_ref t;
  FRT_TRY(frt__node(&frt_op_flip, 1, c->dy, &mask, 1, &t));
  FRT_TRY(frt__node(&frt_op_cumsum, 1, &t, c->attr, 1, &t));
  return frt__node(&frt_op_flip, 1, &t, &mask, 1, &c->dx[0]);
}

FRT_OP(cumsum) = {
  .name = "cumsum",
  .doc = "running sums along one dimension",
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
