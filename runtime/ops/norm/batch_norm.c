/// batch_norm -- batch norm with fixed statistics: evaluation, and frozen layers.
///
///     y = (x - mean) * rstd * w + b          rstd = 1 / sqrt(var + eps)
///
/// in    x     f32 or f64 [N, C, ..]
/// in    w, b, mean, var  dtype of x [C]
/// out   y     shape of x
/// attr  eps   added to the variance
/// grad  dx     dy * w * rstd
/// grad  dw     sum of dy * (x - mean) * rstd
/// grad  db     sum of dy
/// grad  dmean  -db * w * rstd
/// grad  dvar   -dw * w * rstd^2 / 2
/// errs  FRT_ESHAPE when sizes do not fit
#include "ops/norm/norm.h"

enum { X, WEIGHT, BIAS, MEAN, VAR };
enum { EPS };
static const frt_attr attrs[] = {
  {"eps", 1, 1e-5, 0, 1, "added to the variance"}
};

// clang-format off
static const frt_case cases[] = {
  {"map, odd sizes", 5, {{3, 4, 5, 7}, {4}, {4}, {4}, {4}}, "nnnnp", 0, {1e-5}},
  {"one number per channel", 5, {{1, 3, 1, 1}, {3}, {3}, {3}, {3}}, "nnnnp", 0, {1e-3}},
  {"vectors", 5, {{9, 6}, {6}, {6}, {6}, {6}}, "nnnnp", 0, {1e-5}},
  {"many channels", 5, {{3, 35, 7, 9}, {35}, {35}, {35}, {35}}, "nnnnp", 0, {1e-3}},
};
// clang-format on

static frt_status infer(const frt_infer *c)
{
  static const char *const name[] = {"x", "w", "b", "mean", "var"};
  frt_channels v = {0};
  FRT_TRY(frt__channels("batch_norm", c->x[X], &v));
  for (int32_t k = WEIGHT; k <= VAR; k++) {
    FRT_TRY(frt__check_channels("batch_norm", name[k], c->x[k], c->x[X]));
  }
  return frt__infer_same(c);
}

static frt_status forward(const frt_call *c)
{
  const real *x = FRT_IN(real, X);
  frt_channels v = {0};
  FRT_TRY(frt__channels("batch_norm", c->xs[X], &v));
  for (int64_t ch = 0; ch < v.c; ch++) {
    double w = (double)FRT_IN(real, WEIGHT)[ch], b = (double)FRT_IN(real, BIAS)[ch];
    double mean = (double)FRT_IN(real, MEAN)[ch];
    double rstd = 1 / sqrt((double)FRT_IN(real, VAR)[ch] + c->attr[EPS]);
    for (int64_t i = 0; i < v.count; i++) {
      int64_t at = frt__channel_at(&v, ch, i);
      FRT_OUT(real, 0)[at] = (real)(((double)x[at] - mean) * rstd * w + b);
    }
  }
  return FRT_OK;
}

// A number per channel, shaped to broadcast with x.
static frt_status spread(frt_ref v, const frt_shape *x, frt_ref *out)
{
  frt_shape s = {
    .ndim = x->ndim, .dtype = x->dtype, .dim = {1, 1, 1, 1, 1, 1}
  };
  s.dim[1] = x->dim[1];
  return frt__g_reshape(v, &s, out);
}

// Summed over all dimensions but the channels.
static frt_status per_channel(frt_ref t, frt_ref *out)
{
  double attr[2] = {63 - 2, 0};
  return frt__node(&frt_op_sum, 1, &t, attr, 1, out);
}

static frt_status grad(const frt_grad_call *c)
{
  const frt_shape *x = c->xs[X];
  frt_ref eps, rstd, slope, wide, t, dw = 0, db = 0;
  FRT_TRY(frt__gs(c->attr[EPS], c->x[VAR], &eps));
  FRT_TRY(frt__g2(&frt_op_add, c->x[VAR], eps, &t));
  FRT_TRY(frt__g1(&frt_op_rsqrt, t, &rstd));
  FRT_TRY(frt__g2(&frt_op_mul, c->x[WEIGHT], rstd, &slope));
  if (c->need[X]) {
    FRT_TRY(spread(slope, x, &wide));
    FRT_TRY(frt__g2(&frt_op_mul, c->dy[0], wide, &c->dx[X]));
  }
  if (c->need[WEIGHT] || c->need[VAR]) {
    FRT_TRY(spread(c->x[MEAN], x, &wide));
    FRT_TRY(frt__g2(&frt_op_sub, c->x[X], wide, &t));
    FRT_TRY(frt__g2(&frt_op_mul, c->dy[0], t, &t));
    FRT_TRY(per_channel(t, &t));
    FRT_TRY(frt__g2(&frt_op_mul, t, rstd, &dw));
  }
  if (c->need[BIAS] || c->need[MEAN]) {
    FRT_TRY(per_channel(c->dy[0], &db));
  }
  if (c->need[WEIGHT]) {
    c->dx[WEIGHT] = dw;
  }
  if (c->need[BIAS]) {
    c->dx[BIAS] = db;
  }
  if (c->need[MEAN]) {
    FRT_TRY(frt__g2(&frt_op_mul, db, slope, &t));
    FRT_TRY(frt__g1(&frt_op_neg, t, &c->dx[MEAN]));
  }
  if (c->need[VAR]) {
    FRT_TRY(frt__g2(&frt_op_mul, dw, slope, &t));
    FRT_TRY(frt__g2(&frt_op_mul, t, rstd, &t));
    FRT_TRY(frt__g_scale(t, -0.5, &c->dx[VAR]));
  }
  return FRT_OK;
}

FRT_OP(batch_norm) = {
  .name = "batch_norm",
  .doc = "batch norm with fixed statistics",
  .n_in = 5,
  .n_out = 1,
  .attr = attrs,
  .n_attr = FRT_COUNT(attrs),
  .cases = cases,
  .n_case = FRT_COUNT(cases),
  .infer = infer,
  .forward = forward,
  .grad = grad,
};
