/// layer_norm -- the last dimensions brought to mean 0 and variance 1, then scaled and shifted.
///
///     y = (x - mean) * rstd * w + b          rstd = 1 / sqrt(var + eps)
///
/// in    x       f32 or f64 [any]
/// in    w, b    dtype of x, shape of the last n_dims dimensions; optional: 1 and 0
/// out   y       shape of x
/// out   mean    [x's leading dimensions, 1 ..]
/// out   rstd    like mean
/// attr  n_dims  how many of the last dimensions are normalised together
/// attr  eps     added to the variance
/// grad  dx, dw, db  layer_norm_grad(x, dy, w, mean, rstd)
/// errs  FRT_ESHAPE when sizes do not fit
/// from  Ba, Kiros and Hinton 2016 (arXiv:1607.06450)
#include "ops/norm/norm.h"

enum { X, WEIGHT, BIAS };
enum { Y, MEAN, RSTD };
static const frt_attr attrs[] = {
  {"n_dims", 1, 1,    1, FRT_MAX_DIM, "how many of the last dimensions are normalised together"},
  {"eps",    1, 1e-5, 0, 1,           "added to the variance"                                  },
};

// clang-format off
static const frt_case cases[] = {
  {"tokens", 3, {{2, 5, 7}, {7}, {7}}, NULL, 0, {1, 1e-6}},
  {"no scale and shift", 1, {{5, 9}}, NULL, 0, {1, 1e-5}},
  {"two dimensions together", 3, {{3, 4, 5}, {4, 5}, {4, 5}}, NULL, 0, {2, 1e-5}},
  {"long rows", 3, {{5, 197}, {197}, {197}}, NULL, 0, {1, 1e-6}},
};
// clang-format on

// x as rows of n numbers.
typedef struct rows {
  int64_t rows, n;
  int32_t n_dims;
  frt_shape stat; // of mean and rstd: 1 in place of the last n_dims dimensions
} rows;

static frt_status read_rows(rows *r, const char *op, const frt_shape *x, double n_dims)
{
  FRT_TRY(frt__check_float(op, "x", x));
  FRT_CHECK(n_dims <= x->ndim, FRT_ESHAPE, "%s: x must have at least %d dimensions, got %s", op,
            (int)n_dims, frt__shape_text(x));
  *r = (rows){1, 1, (int32_t)n_dims, *x};
  for (int32_t d = 0; d < x->ndim; d++) {
    if (d < x->ndim - r->n_dims) {
      r->rows *= x->dim[d];
    } else {
      r->n *= x->dim[d];
      r->stat.dim[d] = 1;
    }
  }
  return FRT_OK;
}

// The shape of the last n_dims dimensions.
static frt_shape tail(const frt_shape *x, const rows *r)
{
  frt_shape s = {.ndim = r->n_dims, .dtype = x->dtype};
  memcpy(s.dim, x->dim + x->ndim - r->n_dims, (size_t)r->n_dims * sizeof *s.dim);
  return s;
}

static frt_status check_tail(const char *op, const char *what, const frt_shape *v,
                             const frt_shape *x, const rows *r)
{
  frt_shape s = tail(x, r);
  FRT_CHECK(frt__shape_equal(v, &s) && v->dtype == x->dtype, FRT_ESHAPE,
            "%s: %s must be %s %s (x is %s), got %s %s", op, what, frt__dtype_name(s.dtype),
            frt__shape_text(&s), frt__shape_text(x), frt__dtype_name(v->dtype), frt__shape_text(v));
  return FRT_OK;
}

static frt_status infer(const frt_infer *c)
{
  const frt_shape *x = c->x[X];
  rows r = {0};
  FRT_TRY(read_rows(&r, "layer_norm", x, c->attr[FRT_LAYER_NORM_DIMS]));
  for (int32_t k = WEIGHT; k <= BIAS && k < c->n_in; k++) {
    if (c->x[k]) {
      FRT_TRY(check_tail("layer_norm", k == WEIGHT ? "w" : "b", c->x[k], x, &r));
    }
  }
  c->y[Y] = *x;
  c->y[MEAN] = c->y[RSTD] = r.stat;
  return FRT_OK;
}

static frt_status forward(const frt_call *c)
{
  const real *w = c->n_in > WEIGHT ? FRT_IN(real, WEIGHT) : NULL;
  const real *b = c->n_in > BIAS ? FRT_IN(real, BIAS) : NULL;
  rows r = {0};
  FRT_TRY(read_rows(&r, "layer_norm", c->xs[X], c->attr[FRT_LAYER_NORM_DIMS]));
  for (int64_t i = 0; i < r.rows; i++) {
    const real *x = FRT_IN(real, X) + i * r.n;
    real *y = FRT_OUT(real, Y) + i * r.n;
    double mean = 0, m2 = 0;
    for (int64_t k = 0; k < r.n; k++) {
      mean += (double)x[k];
    }
    mean /= (double)r.n;
    for (int64_t k = 0; k < r.n; k++) {
      m2 += ((double)x[k] - mean) * ((double)x[k] - mean);
    }
    double rstd = 1 / sqrt(m2 / (double)r.n + c->attr[FRT_LAYER_NORM_EPS]);
    for (int64_t k = 0; k < r.n; k++) {
      double scale = w ? (double)w[k] : 1, shift = b ? (double)b[k] : 0;
      y[k] = (real)(((double)x[k] - mean) * rstd * scale + shift);
    }
    FRT_OUT(real, MEAN)[i] = (real)mean;
    FRT_OUT(real, RSTD)[i] = (real)rstd;
  }
  return FRT_OK;
}

static frt_status grad(const frt_grad_call *c)
{
  FRT_CHECK(!c->dy[MEAN] && !c->dy[RSTD], FRT_EARG, "layer_norm: mean and rstd have no gradient");
  if (!c->dy[Y]) {
    return FRT_OK;
  }
  frt_ref w = c->n_in > WEIGHT ? c->x[WEIGHT] : 0, out[3];
  frt_ref in[5] = {c->x[X], c->dy[Y], w, c->y[MEAN], c->y[RSTD]};
  FRT_TRY(frt__node(&frt_op_layer_norm_grad, 5, in, c->attr, 3, out));
  for (int32_t k = X; k <= BIAS && k < c->n_in; k++) {
    if (c->need[k]) {
      c->dx[k] = out[k];
    }
  }
  return FRT_OK;
}

FRT_OP(layer_norm) = {
  .name = "layer_norm",
  .doc = "the last dimensions brought to mean 0 and variance 1, then scaled and shifted",
  .n_in = 3,
  .n_out = 3,
  .n_optional = 2,
  .attr = attrs,
  .n_attr = FRT_COUNT(attrs),
  .cases = cases,
  .n_case = FRT_COUNT(cases),
  .infer = infer,
  .forward = forward,
  .grad = grad,
};

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

enum { GRAD_DY = 1, GRAD_WEIGHT, GRAD_MEAN, GRAD_RSTD }; // x is X
static const frt_attr attrs_grad[] = {
  {"n_dims", 1, 1, 1, FRT_MAX_DIM, "how many of the last dimensions are normalised together"},
};

// clang-format off
static const frt_case cases_grad[] = {
  {"tokens", 5, {{2, 5, 7}, {2, 5, 7}, {7}, {2, 5, 1}, {2, 5, 1}}, "nnnup", 0, {1}},
  {"two dimensions together", 5, {{3, 4, 5}, {3, 4, 5}, {4, 5}, {3, 1, 1}, {3, 1, 1}}, "nnnup", 0,
   {2}},
  {"long rows", 5, {{5, 197}, {5, 197}, {197}, {5, 1}, {5, 1}}, "nnnup", 0, {1}},
};
// clang-format on

static frt_status infer_grad(const frt_infer *c)
{
  const char *op = "layer_norm_grad";
  const frt_shape *x = c->x[X];
  rows r = {0};
  FRT_TRY(read_rows(&r, op, x, c->attr[FRT_LAYER_NORM_DIMS]));
  FRT_TRY(frt__check_same(op, "dy", c->x[GRAD_DY], x));
  if (c->x[GRAD_WEIGHT]) {
    FRT_TRY(check_tail(op, "w", c->x[GRAD_WEIGHT], x, &r));
  }
  for (int32_t k = GRAD_MEAN; k <= GRAD_RSTD; k++) {
    const frt_shape *s = k < c->n_in ? c->x[k] : NULL;
    FRT_CHECK(s && frt__shape_equal(s, &r.stat) && s->dtype == x->dtype, FRT_ESHAPE,
              "%s: %s must be %s, got %s", op, k == GRAD_MEAN ? "mean" : "rstd",
              frt__shape_text(&r.stat), s ? frt__shape_text(s) : "none");
  }
  c->y[0] = *x;
  c->y[1] = c->y[2] = tail(x, &r);
  return FRT_OK;
}

static void input_grad(const frt_call *c, const rows *r)
{
  const real *w = FRT_IN(real, GRAD_WEIGHT);
  for (int64_t i = 0; i < r->rows; i++) {
    const real *x = FRT_IN(real, X) + i * r->n, *dy = FRT_IN(real, GRAD_DY) + i * r->n;
    double mean = (double)FRT_IN(real, GRAD_MEAN)[i], rstd = (double)FRT_IN(real, GRAD_RSTD)[i];
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

static frt_status forward_grad(const frt_call *c)
{
  const real *x = FRT_IN(real, X), *dy = FRT_IN(real, GRAD_DY);
  rows r = {0};
  FRT_TRY(read_rows(&r, "layer_norm_grad", c->xs[X], c->attr[FRT_LAYER_NORM_DIMS]));
  input_grad(c, &r);
  for (int64_t k = 0; k < r.n; k++) {
    double dw = 0, db = 0;
    for (int64_t i = 0; i < r.rows; i++) {
      double mean = (double)FRT_IN(real, GRAD_MEAN)[i], rstd = (double)FRT_IN(real, GRAD_RSTD)[i];
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
  .attr = attrs_grad,
  .n_attr = FRT_COUNT(attrs_grad),
  .cases = cases_grad,
  .n_case = FRT_COUNT(cases_grad),
  .infer = infer_grad,
  .forward = forward_grad,
};
