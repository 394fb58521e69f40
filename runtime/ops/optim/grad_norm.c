/// grad_norm -- the length of all given tensors as one vector.
///
///     y = sqrt(sum of the squares of all numbers), added up in double
///
/// in    g...  f32 or f64, any shapes
/// out   y     f32 scalar; infinite or NaN when a gradient is
/// grad  none: it scales gradients, it is not trained through
/// errs  FRT_ESHAPE when an input is not f32 or f64
#include "ops/elementwise/elementwise.h"

static const frt_case cases[] = {
  {"one tensor",     1, {{3, 5}},              NULL, 0, {0}},
  {"several shapes", 3, {{3, 4, 2}, {7}, {0}}, NULL, 0, {0}},
};

static frt_status infer(const frt_infer *c)
{
  for (int32_t k = 0; k < c->n_in; k++) {
    FRT_CHECK(frt__is_real(c->x[k]->dtype), FRT_ESHAPE,
              "grad_norm: input %d must be f32 or f64, got %s", k + 1,
              frt__dtype_name(c->x[k]->dtype));
  }
  c->y[0] = (frt_shape){.dtype = FRT_F32};
  return FRT_OK;
}

static frt_status forward(const frt_call *c)
{
  double sum = 0;
  for (int32_t k = 0; k < c->n_in; k++) {
    for (int64_t i = 0, n = frt__numel(c->xs[k]); i < n; i++) {
      double g = frt__get(c->x[k], c->xs[k]->dtype, i);
      sum += g * g;
    }
  }
  frt__put(c->y[0], FRT_F32, 0, sqrt(sum));
  return FRT_OK;
}

FRT_OP(grad_norm) = {
  .name = "grad_norm",
  .doc = "the length of all given tensors as one vector",
  .n_in = -1,
  .n_out = 1,
  .cases = cases,
  .n_case = FRT_COUNT(cases),
  .infer = infer,
  .forward = forward,
};
