// optim.h -- what the optimizers' steps share: scalars first, then groups of parameter, gradient
// and state. Outputs may lie over the inputs they replace: every number is read before it is
// written.
#pragma once
#include "ops/elementwise/elementwise.h"

// Attributes.
enum { FRT_ADAM_DECOUPLED, FRT_ADAM_AMSGRAD };
enum { FRT_SGD_NESTEROV };

static inline double frt__setting(const frt_call *c, int32_t k)
{
  return frt__get(c->x[k], c->xs[k]->dtype, 0);
}

// `first` scalars, then groups of `in`, all tensors of a group alike; each gives in - 1 outputs.
static inline frt_status frt__infer_update(const char *op, const frt_infer *c, int32_t first,
                                           int32_t in, const char *const *names)
{
  int32_t groups = (c->n_in - first) / in;
  FRT_CHECK(groups > 0 && c->n_in == first + groups * in && c->n_out == groups * (in - 1), FRT_EARG,
            "%s: inputs must be %d scalars and groups of %d tensors, got %d inputs for %d outputs",
            op, first, in, c->n_in, c->n_out);
  for (int32_t k = 0; k < first; k++) {
    FRT_CHECK(frt__numel(c->x[k]) == 1 && frt__is_real(c->x[k]->dtype), FRT_ESHAPE,
              "%s: %s must be a scalar, got %s %s", op, names[k], frt__dtype_name(c->x[k]->dtype),
              frt__shape_text(c->x[k]));
  }
  for (int32_t g = 0; g < groups; g++) {
    const frt_shape *const *x = c->x + first + g * in;
    FRT_CHECK(frt__is_real(x[0]->dtype), FRT_ESHAPE, "%s: a parameter must be f32 or f64, got %s",
              op, frt__dtype_name(x[0]->dtype));
    for (int32_t k = 1; k < in; k++) {
      FRT_CHECK(frt__shape_equal(x[k], x[0]) && x[k]->dtype == x[0]->dtype, FRT_ESHAPE,
                "%s: %s of parameter %d must be %s %s, got %s %s", op, names[first + k], g + 1,
                frt__dtype_name(x[0]->dtype), frt__shape_text(x[0]), frt__dtype_name(x[k]->dtype),
                frt__shape_text(x[k]));
    }
    for (int32_t k = 0; k < in - 1; k++) {
      c->y[g * (in - 1) + k] = *x[0];
    }
  }
  return FRT_OK;
}

// For update.check, before the first write: a gradient that is no number must not reach the
// parameters.
static inline frt_status frt__check_gscale(const frt_op *op, double gscale)
{
  FRT_CHECK(isfinite(gscale), FRT_EDATA, "%s: gradient norm is not finite", op->name);
  return FRT_OK;
}
static inline frt_status frt__check_age(const frt_op *op, double t)
{
  FRT_CHECK(t >= 1, FRT_EARG, "%s: t must be at least 1, got %g", op->name, t);
  return FRT_OK;
}
