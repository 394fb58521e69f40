/// argmax -- where the largest number lies along one dimension; the first one wins, NaN beats all.
///
/// in    x        f32, f64 or i32 [any]
/// out   y        i32, x's shape without the dimension, or with 1 in its place
/// attr  dim      the dimension
/// attr  keepdim  1: the dimension stays, of size 1
/// attr  base     what the first index is called: 0 or 1
/// grad  none: indices have no slope
/// errs  FRT_ESHAPE when the dimension is empty
#include "ops/elementwise/elementwise.h"
#include "ops/reduce/reduce.h"

static const frt_attr attrs[] = {
  {"dim",     1, 0, 0, FRT_MAX_DIM - 1, "the dimension"                    },
  {"keepdim", 1, 0, 0, 1,               "1: the dimension stays, of size 1"},
  {"base",    1, 0, 0, 1,               "what the first index is called"   },
};

static const frt_case cases[] = {
  {"rows of scores", 1, {{5, 7}},       NULL, 0, {1, 0, 0}},
  {"channels, kept", 1, {{2, 3, 4, 5}}, NULL, 0, {1, 1, 0}},
  {"vector, from 1", 1, {{9}},          NULL, 0, {0, 0, 1}},
};

static frt_status infer(const frt_infer *c)
{
  const frt_shape *x = c->x[0];
  FRT_TRY(frt__check_dim("argmax", c->attr[FRT_ARGMAX_DIM], x));
  int32_t dim = (int32_t)c->attr[FRT_ARGMAX_DIM];
  FRT_CHECK(frt__is_real(x->dtype) || x->dtype == FRT_I32, FRT_ESHAPE,
            "argmax: x must be f32, f64 or i32, got %s", frt__dtype_name(x->dtype));
  FRT_CHECK(x->dim[dim] > 0, FRT_ESHAPE, "argmax: dimension %d must not be empty, got %s", dim + 1,
            frt__shape_text(x));
  c->y[0] = frt__reduced(x, 1u << dim, c->attr[FRT_ARGMAX_KEEPDIM] != 0);
  c->y[0].dtype = FRT_I32;
  return FRT_OK;
}

static frt_status forward(const frt_call *c)
{
  int32_t dtype = c->xs[0]->dtype;
  frt_lanes l = frt__lanes(c->xs[0], (int32_t)c->attr[FRT_ARGMAX_DIM]);
  for (int64_t i = 0; i < l.outer * l.step; i++) {
    int64_t at = frt__lane_start(&l, i), best = 0;
    double top = frt__get(c->x[0], dtype, at);
    for (int64_t k = 1; k < l.n; k++) {
      double x = frt__get(c->x[0], dtype, at + k * l.step);
      if (x > top || (isnan(x) && !isnan(top))) {
        top = x, best = k;
      }
    }
    FRT_OUT(int32_t, 0)[i] = (int32_t)(best + (int64_t)c->attr[FRT_ARGMAX_BASE]);
  }
  return FRT_OK;
}

FRT_OP(argmax) = {
  .name = "argmax",
  .doc = "where the largest number lies along one dimension",
  .n_in = 1,
  .n_out = 1,
  .flags = FRT_NO_GRAD,
  .attr = attrs,
  .n_attr = FRT_COUNT(attrs),
  .cases = cases,
  .n_case = FRT_COUNT(cases),
  .infer = infer,
  .forward = forward,
};
