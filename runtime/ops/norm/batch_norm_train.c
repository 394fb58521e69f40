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
#include "ops/norm/norm.h"

enum { X, WEIGHT, BIAS, RUNNING_MEAN, RUNNING_VAR };
enum { Y, MEAN, RSTD, NEW_MEAN, NEW_VAR };
enum { EPS, MOMENTUM };
static const frt_attr attrs[] = {
  {"eps",      1, 1e-5, 0, 1, "added to the variance"                        },
  {"momentum", 1, 0.1,  0, 1, "share of this batch in the running statistics"},
};

// clang-format off
static const frt_case cases[] = {
  {"map, odd sizes", 5, {{3, 4, 5, 7}, {4}, {4}, {4}, {4}}, "nnnnp", 0, {1e-5, 0.1}},
  {"two numbers per channel", 5, {{2, 3, 1, 1}, {3}, {3}, {3}, {3}}, "npnnp", 0, {1e-3, 0.01}},
  {"vectors", 5, {{9, 6}, {6}, {6}, {6}, {6}}, "nnnnp", 0, {1e-5, 1}},
  {"many channels", 5, {{3, 35, 7, 9}, {35}, {35}, {35}, {35}}, "nnnnp", 0, {1e-3, 0.1}},
};
// clang-format on

static frt_status infer(const frt_infer *c)
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
  for (int32_t k = MEAN; k <= NEW_VAR; k++) {
    c->y[k] = frt__vector(x->dtype, v.c);
  }
  return FRT_OK;
}

static frt_status forward(const frt_call *c)
{
  const real *x = FRT_IN(real, X), *w = FRT_IN(real, WEIGHT), *b = FRT_IN(real, BIAS);
  frt_channels v = {0};
  FRT_TRY(frt__channels("batch_norm_train", c->xs[X], &v));
  for (int64_t ch = 0; ch < v.c; ch++) {
    double mean = 0, m2 = 0, share = c->attr[MOMENTUM];
    for (int64_t i = 0; i < v.count; i++) {
      mean += (double)x[frt__channel_at(&v, ch, i)];
    }
    mean /= (double)v.count;
    for (int64_t i = 0; i < v.count; i++) {
      double d = (double)x[frt__channel_at(&v, ch, i)] - mean;
      m2 += d * d;
    }
    double rstd = 1 / sqrt(m2 / (double)v.count + c->attr[EPS]);
    for (int64_t i = 0; i < v.count; i++) {
      int64_t at = frt__channel_at(&v, ch, i);
      FRT_OUT(real, Y)[at] = (real)(((double)x[at] - mean) * rstd * (double)w[ch] + (double)b[ch]);
    }
    double old_mean = (double)FRT_IN(real, RUNNING_MEAN)[ch];
    double old_var = (double)FRT_IN(real, RUNNING_VAR)[ch];
    FRT_OUT(real, MEAN)[ch] = (real)mean;
    FRT_OUT(real, RSTD)[ch] = (real)rstd;
    FRT_OUT(real, NEW_MEAN)[ch] = (real)((1 - share) * old_mean + share * mean);
    FRT_OUT(real, NEW_VAR)[ch] = (real)((1 - share) * old_var + share * m2 / (double)(v.count - 1));
  }
  return FRT_OK;
}

static frt_status grad(const frt_grad_call *c)
{
  FRT_CHECK(!c->dy[MEAN] && !c->dy[RSTD], FRT_EARG,
            "batch_norm_train: mean and rstd have no gradient");
  if (!c->dy[Y]) {
    return FRT_OK;
  }
  frt_ref in[5] = {c->x[X], c->dy[Y], c->x[WEIGHT], c->y[MEAN], c->y[RSTD]}, out[3];
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
  .attr = attrs,
  .n_attr = FRT_COUNT(attrs),
  .cases = cases,
  .n_case = FRT_COUNT(cases),
  .infer = infer,
  .forward = forward,
  .grad = grad,
};
