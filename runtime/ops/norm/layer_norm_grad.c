/// layer_norm_grad -- the gradient of layer_norm.
///
///     xhat = (x - mean) * rstd     g = dy * w
///     dx = rstd * (g - mean of g - xhat * mean of g * xhat)     (means over a row)
///     dw = sum of dy * xhat     db = sum of dy                  (sums over the rows)
///
/// in    x           f32 or f64 [any]
/// in    dy          like x
/// in    w           dtype of x, shape of the last n_dims dimensions; optional: 1
/// in    mean, rstd  as layer_norm left them
/// out   dx          shape of x
/// out   dw, db      shape of the last n_dims dimensions
/// attr  n_dims      that of layer_norm
/// grad  none
/// errs  FRT_ESHAPE when sizes do not fit
#include "ops/norm/layer_norm.h"

enum { X, DY, WEIGHT, MEAN, RSTD };
enum { N_DIMS };
static const frt_attr attrs[] = {
  {"n_dims", 1, 1, 1, FRT_MAX_DIM, "how many of the last dimensions are normalised together"},
};

// clang-format off
static const frt_case cases[] = {
  {"tokens", 5, {{2, 5, 7}, {2, 5, 7}, {7}, {2, 5, 1}, {2, 5, 1}}, "nnnup", 0, {1}},
  {"two dimensions together", 5, {{3, 4, 5}, {3, 4, 5}, {4, 5}, {3, 1, 1}, {3, 1, 1}}, "nnnup", 0,
   {2}},
  {"long rows", 5, {{5, 197}, {5, 197}, {197}, {5, 1}, {5, 1}}, "nnnup", 0, {1}},
};
// clang-format on

static frt_status infer(const frt_infer *c)
{
  const char *op = "layer_norm_grad";
  const frt_shape *x = c->x[X];
  frt_rows r = {0};
  FRT_TRY(frt__rows(&r, op, x, c->attr[N_DIMS]));
  FRT_TRY(frt__check_same(op, "dy", c->x[DY], x));
  if (c->x[WEIGHT]) {
    FRT_TRY(frt__check_tail(op, "w", c->x[WEIGHT], x, &r));
  }
  for (int32_t k = MEAN; k <= RSTD; k++) {
    const frt_shape *s = k < c->n_in ? c->x[k] : NULL;
    FRT_CHECK(s && frt__shape_equal(s, &r.stat) && s->dtype == x->dtype, FRT_ESHAPE,
              "%s: %s must be %s, got %s", op, k == MEAN ? "mean" : "rstd",
              frt__shape_text(&r.stat), s ? frt__shape_text(s) : "none");
  }
  c->y[0] = *x;
  c->y[1] = c->y[2] = frt__tail(x, &r);
  return FRT_OK;
}

static void input_grad(const frt_call *c, const frt_rows *r)
{
  const real *w = FRT_IN(real, WEIGHT);
  for (int64_t i = 0; i < r->rows; i++) {
    const real *x = FRT_IN(real, X) + i * r->n, *dy = FRT_IN(real, DY) + i * r->n;
    double mean = (double)FRT_IN(real, MEAN)[i], rstd = (double)FRT_IN(real, RSTD)[i];
    double sum = 0, dot = 0;
    for (int64_t k = 0; k < r->n; k++) {
      double g = (double)dy[k] * (w ? (double)w[k] : 1);
      sum += g;
      dot += g * ((double)x[k] - mean) * rstd;
    }
    for (int64_t k = 0; k < r->n; k++) {
      double g = (double)dy[k] * (w ? (double)w[k] : 1), xhat = ((double)x[k] - mean) * rstd;
      FRT_OUT(real, 0)[i * r->n + k] = (real)(rstd * (g - (sum + xhat * dot) / (double)r->n));
    }
  }
}

static frt_status forward(const frt_call *c)
{
  const real *x = FRT_IN(real, X), *dy = FRT_IN(real, DY);
  frt_rows r = {0};
  FRT_TRY(frt__rows(&r, "layer_norm_grad", c->xs[X], c->attr[N_DIMS]));
  input_grad(c, &r);
  for (int64_t k = 0; k < r.n; k++) {
    double dw = 0, db = 0;
    for (int64_t i = 0; i < r.rows; i++) {
      double mean = (double)FRT_IN(real, MEAN)[i], rstd = (double)FRT_IN(real, RSTD)[i];
      dw += (double)dy[i * r.n + k] * ((double)x[i * r.n + k] - mean) * rstd;
      db += (double)dy[i * r.n + k];
    }
    FRT_OUT(real, 1)[k] = (real)dw;
    FRT_OUT(real, 2)[k] = (real)db;
  }
  return FRT_OK;
}

FRT_OP(layer_norm_grad) = {
  .name = "layer_norm_grad",
  .doc = "the gradient of layer_norm",
  .n_in = 5,
  .n_out = 3,
  .n_optional = 3,
  .attr = attrs,
  .n_attr = FRT_COUNT(attrs),
  .cases = cases,
  .n_case = FRT_COUNT(cases),
  .infer = infer,
  .forward = forward,
};
