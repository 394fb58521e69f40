/// expand -- x repeated to a shape it broadcasts to.
///
/// in    x      f32 or f64 [any]
/// out   y      [shape]
/// attr  ndim   how many dimensions y has
/// attr  shape  y's dimensions; each equals x's (aligned at the last) or x's is 1
/// grad  dx     dy summed over what was repeated
/// errs  FRT_ESHAPE when x does not broadcast to the shape
#include "ops/shape/shape.h"

static const frt_attr attrs[] = {
  {"ndim",  1,           0, 0, FRT_MAX_DIM,  "dimensions of y"},
  {"shape", FRT_MAX_DIM, 0, 0, FRT_MAX_SIZE, "the dimensions" },
};

static const frt_case cases[] = {
  {"number to matrix",  1, {{0}},    NULL, 0, {2, 3, 5}      },
  {"column to map",     1, {{3, 1}}, NULL, 0, {4, 2, 5, 3, 7}},
  {"nothing to repeat", 1, {{3, 5}}, NULL, 0, {2, 3, 5}      },
};

static frt_status infer(const frt_infer *c)
{
  const frt_shape *x = c->x[0];
  frt_shape y = frt__shape_attr(x->dtype, c->attr + FRT_SHAPE_NDIM);
  FRT_CHECK(frt__is_real(x->dtype), FRT_ESHAPE, "expand: x must be f32 or f64, got %s",
            frt__dtype_name(x->dtype));
  bool fits = x->ndim <= y.ndim;
  for (int32_t d = 0; fits && d < x->ndim; d++) {
    int64_t from = x->dim[d], to = y.dim[y.ndim - x->ndim + d];
    fits = from == to || from == 1;
  }
  FRT_CHECK(fits, FRT_ESHAPE, "expand: x must broadcast to %s, got %s", frt__shape_text(&y),
            frt__shape_text(x));
  c->y[0] = y;
  return FRT_OK;
}

static frt_status forward(const frt_call *c)
{
  const real *x = FRT_IN(real, 0);
  real *y = FRT_OUT(real, 0);
  frt_walk w;
  frt__walk_start(&w, c);
  for (int64_t i = 0; i < w.n; i++) {
    y[i] = x[frt__walk_at(&w, 0, i)];
  }
  return FRT_OK;
}

static frt_status grad(const frt_grad_call *c)
{
  return frt__g_unbroadcast(c->dy[0], c->xs[0], &c->dx[0]);
}

FRT_OP(expand) = {
  .name = "expand",
  .doc = "x repeated to a shape it broadcasts to",
  .n_in = 1,
  .n_out = 1,
  .flags = FRT_ELEMENTWISE,
  .attr = attrs,
  .n_attr = FRT_COUNT(attrs),
  .cases = cases,
  .n_case = FRT_COUNT(cases),
  .infer = infer,
  .forward = forward,
  .grad = grad,
};
