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
#include "ops/reduce/reduce.h"

enum { X, WEIGHT, BIAS, MEAN, VAR };
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
    double rstd = 1 / sqrt((double)FRT_IN(real, VAR)[ch] + c->attr[FRT_BATCH_NORM_EPS]);
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
  return frt__g_sum(t, 63 - 2, false, out);
}

static frt_status grad(const frt_grad_call *c)
{
  const frt_shape *x = c->xs[X];
  frt_ref eps, rstd, slope, wide, t, dw = 0, db = 0;
  FRT_TRY(frt__gs(c->attr[FRT_BATCH_NORM_EPS], c->x[VAR], &eps));
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

/// batch_norm_train -- each channel brought to mean 0 and variance 1 over the batch, then scaled
/// and shifted; the running statistics move towards the batch's.
///
///     y = (x - mean) * rstd * w + b          rstd = 1 / sqrt(var + eps), var = M2 / n
///     new_mean = (1 - momentum) * running_mean + momentum * mean
///     new_var  = (1 - momentum) * running_var  + momentum * M2 / (n - 1)
///     M2 = sum of (x - mean)^2, from a second pass, so that a large mean costs no digits
///
/// in    x             f32 or f64 [N, C, ..], n = N * .. numbers per channel
/// in    w, b          dtype of x [C]
/// in    running_mean  dtype of x [C]
/// in    running_var   dtype of x [C], unbiased
/// out   y             shape of x
/// out   mean, rstd    [C], of this batch
/// out   new_mean      [C], running_mean after this batch
/// out   new_var       [C], running_var after this batch
/// attr  eps           added to the variance
/// attr  momentum      share of this batch in the running statistics
/// grad  dx, dw, db    batch_norm_grad(x, dy, w, mean, rstd); running statistics have none
/// errs  FRT_ESHAPE when sizes do not fit or a channel has a single number
/// from  Ioffe and Szegedy 2015 (arXiv:1502.03167)

enum { RUNNING_MEAN = MEAN, RUNNING_VAR = VAR };
enum { Y, BATCH_MEAN, BATCH_RSTD, NEW_MEAN, NEW_VAR };
static const frt_attr attrs_train[] = {
  {"eps",      1, 1e-5, 0, 1, "added to the variance"                        },
  {"momentum", 1, 0.1,  0, 1, "share of this batch in the running statistics"},
};

// clang-format off
static const frt_case cases_train[] = {
  {"map, odd sizes", 5, {{3, 4, 5, 7}, {4}, {4}, {4}, {4}}, "nnnnp", 0, {1e-5, 0.1}},
  {"two numbers per channel", 5, {{2, 3, 1, 1}, {3}, {3}, {3}, {3}}, "npnnp", 0, {1e-3, 0.01}},
  {"vectors", 5, {{9, 6}, {6}, {6}, {6}, {6}}, "nnnnp", 0, {1e-5, 1}},
  {"many channels", 5, {{3, 35, 7, 9}, {35}, {35}, {35}, {35}}, "nnnnp", 0, {1e-3, 0.1}},
};
// clang-format on

static frt_status infer_train(const frt_infer *c)
{
  static const char *const name[] = {"x", "w", "b", "running_mean", "running_var"};
  const char *op = "batch_norm_train";
  const frt_shape *x = c->x[X];
  frt_channels v = {0};
  FRT_TRY(frt__channels(op, x, &v));
  for (int32_t k = WEIGHT; k <= RUNNING_VAR; k++) {
    FRT_TRY(frt__check_channels(op, name[k], c->x[k], x));
  }
  FRT_CHECK(v.count > 1, FRT_ESHAPE, "%s: needs more than one value per channel, got x %s", op,
            frt__shape_text(x));
  c->y[Y] = *x;
  for (int32_t k = BATCH_MEAN; k <= NEW_VAR; k++) {
    c->y[k] = frt__vector(x->dtype, v.c);
  }
  return FRT_OK;
}

static frt_status forward_train(const frt_call *c)
{
  const real *x = FRT_IN(real, X), *w = FRT_IN(real, WEIGHT), *b = FRT_IN(real, BIAS);
  frt_channels v = {0};
  FRT_TRY(frt__channels("batch_norm_train", c->xs[X], &v));
  for (int64_t ch = 0; ch < v.c; ch++) {
    double mean = 0, m2 = 0, share = c->attr[FRT_BATCH_NORM_MOMENTUM];
    for (int64_t i = 0; i < v.count; i++) {
      mean += (double)x[frt__channel_at(&v, ch, i)];
    }
    mean /= (double)v.count;
    for (int64_t i = 0; i < v.count; i++) {
      double d = (double)x[frt__channel_at(&v, ch, i)] - mean;
      m2 += d * d;
    }
    double rstd = 1 / sqrt(m2 / (double)v.count + c->attr[FRT_BATCH_NORM_EPS]);
    for (int64_t i = 0; i < v.count; i++) {
      int64_t at = frt__channel_at(&v, ch, i);
      FRT_OUT(real, Y)[at] = (real)(((double)x[at] - mean) * rstd * (double)w[ch] + (double)b[ch]);
    }
    double old_mean = (double)FRT_IN(real, RUNNING_MEAN)[ch];
    double old_var = (double)FRT_IN(real, RUNNING_VAR)[ch];
    FRT_OUT(real, BATCH_MEAN)[ch] = (real)mean;
    FRT_OUT(real, BATCH_RSTD)[ch] = (real)rstd;
    FRT_OUT(real, NEW_MEAN)[ch] = (real)((1 - share) * old_mean + share * mean);
    FRT_OUT(real, NEW_VAR)[ch] = (real)((1 - share) * old_var + share * m2 / (double)(v.count - 1));
  }
  return FRT_OK;
}

static frt_status grad_train(const frt_grad_call *c)
{
  FRT_CHECK(!c->dy[BATCH_MEAN] && !c->dy[BATCH_RSTD], FRT_EARG,
            "batch_norm_train: mean and rstd have no gradient");
  if (!c->dy[Y]) {
    return FRT_OK;
  }
  frt_ref in[5] = {c->x[X], c->dy[Y], c->x[WEIGHT], c->y[BATCH_MEAN], c->y[BATCH_RSTD]}, out[3];
  FRT_TRY(frt__node(&frt_op_batch_norm_grad, 5, in, NULL, 3, out));
  for (int32_t k = X; k <= BIAS; k++) {
    if (c->need[k]) {
      c->dx[k] = out[k];
    }
  }
  return FRT_OK;
}

FRT_OP(batch_norm_train) = {
  .name = "batch_norm_train",
  .doc = "each channel brought to mean 0 and variance 1 over the batch, then scaled and shifted",
  .n_in = 5,
  .n_out = 5,
  .attr = attrs_train,
  .n_attr = FRT_COUNT(attrs_train),
  .cases = cases_train,
  .n_case = FRT_COUNT(cases_train),
  .infer = infer_train,
  .forward = forward_train,
  .grad = grad_train,
  .moving = {3, 3},
};

/// batch_norm_grad -- the gradient of batch_norm_train.
///
///     xhat = (x - mean) * rstd     db = sum of dy     dw = sum of dy * xhat     (per channel)
///     dx = w * rstd * (dy - db / n - xhat * dw / n)
///
/// in    x           f32 or f64 [N, C, ..], n = N * .. numbers per channel
/// in    dy          like x
/// in    w           dtype of x [C]
/// in    mean, rstd  dtype of x [C], as batch_norm_train left them
/// out   dx          shape of x
/// out   dw, db      [C]
/// grad  none
/// errs  FRT_ESHAPE when sizes do not fit

enum { GRAD_DY = 1, GRAD_WEIGHT, GRAD_MEAN, GRAD_RSTD }; // x is X

// clang-format off
static const frt_case cases_grad[] = {
  {"map, odd sizes", 5, {{3, 4, 5, 7}, {3, 4, 5, 7}, {4}, {4}, {4}}, "nnnup", 0, {0}},
  {"two numbers per channel", 5, {{2, 3, 1, 1}, {2, 3, 1, 1}, {3}, {3}, {3}}, "nnnup", 0, {0}},
  {"vectors", 5, {{9, 6}, {9, 6}, {6}, {6}, {6}}, "nnnup", 0, {0}},
  {"many channels", 5, {{3, 35, 7, 9}, {3, 35, 7, 9}, {35}, {35}, {35}}, "nnnup", 0, {0}},
};
// clang-format on

static frt_status infer_grad(const frt_infer *c)
{
  static const char *const name[] = {"x", "dy", "w", "mean", "rstd"};
  const char *op = "batch_norm_grad";
  const frt_shape *x = c->x[X];
  frt_channels v = {0};
  FRT_TRY(frt__channels(op, x, &v));
  FRT_TRY(frt__check_same(op, "dy", c->x[GRAD_DY], x));
  for (int32_t k = GRAD_WEIGHT; k <= GRAD_RSTD; k++) {
    FRT_TRY(frt__check_channels(op, name[k], c->x[k], x));
  }
  c->y[0] = *x;
  c->y[1] = c->y[2] = frt__vector(x->dtype, v.c);
  return FRT_OK;
}

static frt_status forward_grad(const frt_call *c)
{
  const real *x = FRT_IN(real, X), *dy = FRT_IN(real, GRAD_DY);
  frt_channels v = {0};
  FRT_TRY(frt__channels("batch_norm_grad", c->xs[X], &v));
  for (int64_t ch = 0; ch < v.c; ch++) {
    double w = (double)FRT_IN(real, GRAD_WEIGHT)[ch], mean = (double)FRT_IN(real, GRAD_MEAN)[ch];
    double rstd = (double)FRT_IN(real, GRAD_RSTD)[ch], n = (double)v.count, dw = 0, db = 0;
    for (int64_t i = 0; i < v.count; i++) {
      int64_t at = frt__channel_at(&v, ch, i);
      db += (double)dy[at];
      dw += (double)dy[at] * ((double)x[at] - mean) * rstd;
    }
    for (int64_t i = 0; i < v.count; i++) {
      int64_t at = frt__channel_at(&v, ch, i);
      double xhat = ((double)x[at] - mean) * rstd;
      FRT_OUT(real, 0)[at] = (real)(w * rstd * ((double)dy[at] - db / n - xhat * dw / n));
    }
    FRT_OUT(real, 1)[ch] = (real)dw;
    FRT_OUT(real, 2)[ch] = (real)db;
  }
  return FRT_OK;
}

FRT_OP(batch_norm_grad) = {
  .name = "batch_norm_grad",
  .doc = "the gradient of batch_norm_train",
  .n_in = 5,
  .n_out = 3,
  .cases = cases_grad,
  .n_case = FRT_COUNT(cases_grad),
  .infer = infer_grad,
  .forward = forward_grad,
};
