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
#include "ops/norm/layer_norm.h"

enum { X, WEIGHT, BIAS };
enum { Y, MEAN, RSTD };
enum { N_DIMS, EPS };
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

static frt_status infer(const frt_infer *c)
{
  const frt_shape *x = c->x[X];
  frt_rows r = {0};
  FRT_TRY(frt__rows(&r, "layer_norm", x, c->attr[N_DIMS]));
  for (int32_t k = WEIGHT; k <= BIAS && k < c->n_in; k++) {
    if (c->x[k]) {
      FRT_TRY(frt__check_tail("layer_norm", k == WEIGHT ? "w" : "b", c->x[k], x, &r));
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
  frt_rows r = {0};
  FRT_TRY(frt__rows(&r, "layer_norm", c->xs[X], c->attr[N_DIMS]));
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
    double rstd = 1 / sqrt(m2 / (double)r.n + c->attr[EPS]);
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
