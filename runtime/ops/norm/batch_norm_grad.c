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
#include "ops/norm/norm.h"

enum { X, DY, WEIGHT, MEAN, RSTD };

// clang-format off
static const frt_case cases[] = {
  {"map, odd sizes", 5, {{3, 4, 5, 7}, {3, 4, 5, 7}, {4}, {4}, {4}}, "nnnup", 0, {0}},
  {"two numbers per channel", 5, {{2, 3, 1, 1}, {2, 3, 1, 1}, {3}, {3}, {3}}, "nnnup", 0, {0}},
  {"vectors", 5, {{9, 6}, {9, 6}, {6}, {6}, {6}}, "nnnup", 0, {0}},
  {"many channels", 5, {{3, 35, 7, 9}, {3, 35, 7, 9}, {35}, {35}, {35}}, "nnnup", 0, {0}},
};
// clang-format on

static frt_status infer(const frt_infer *c)
{
  static const char *const name[] = {"x", "dy", "w", "mean", "rstd"};
  const char *op = "batch_norm_grad";
  const frt_shape *x = c->x[X];
  frt_channels v = {0};
  FRT_TRY(frt__channels(op, x, &v));
  FRT_TRY(frt__check_same(op, "dy", c->x[DY], x));
  for (int32_t k = WEIGHT; k <= RSTD; k++) {
    FRT_TRY(frt__check_channels(op, name[k], c->x[k], x));
  }
  c->y[0] = *x;
  c->y[1] = c->y[2] = frt__vector(x->dtype, v.c);
  return FRT_OK;
}

static frt_status forward(const frt_call *c)
{
  const real *x = FRT_IN(real, X), *dy = FRT_IN(real, DY);
  frt_channels v = {0};
  FRT_TRY(frt__channels("batch_norm_grad", c->xs[X], &v));
  for (int64_t ch = 0; ch < v.c; ch++) {
    double w = (double)FRT_IN(real, WEIGHT)[ch], mean = (double)FRT_IN(real, MEAN)[ch];
    double rstd = (double)FRT_IN(real, RSTD)[ch], n = (double)v.count, dw = 0, db = 0;
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
  .cases = cases,
  .n_case = FRT_COUNT(cases),
  .infer = infer,
  .forward = forward,
};
