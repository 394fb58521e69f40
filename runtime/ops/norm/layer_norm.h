// layer_norm.h -- what layer_norm and its gradient share: x as rows of n numbers, checks.
#pragma once
#include "ops/norm/norm.h"

typedef struct frt_rows {
  int64_t rows, n;
  int32_t n_dims;
  frt_shape stat; // of mean and rstd: 1 in place of the last n_dims dimensions
} frt_rows;

static inline frt_status frt__rows(frt_rows *r, const char *op, const frt_shape *x, double n_dims)
{
  FRT_TRY(frt__check_float(op, "x", x));
  FRT_CHECK(n_dims <= x->ndim, FRT_ESHAPE, "%s: x must have at least %d dimensions, got %s", op,
            (int)n_dims, frt__shape_text(x));
  *r = (frt_rows){1, 1, (int32_t)n_dims, *x};
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
static inline frt_shape frt__tail(const frt_shape *x, const frt_rows *r)
{
  frt_shape s = {.ndim = r->n_dims, .dtype = x->dtype};
  memcpy(s.dim, x->dim + x->ndim - r->n_dims, (size_t)r->n_dims * sizeof *s.dim);
  return s;
}

static inline frt_status frt__check_tail(const char *op, const char *what, const frt_shape *v,
                                         const frt_shape *x, const frt_rows *r)
{
  frt_shape s = frt__tail(x, r);
  FRT_CHECK(frt__shape_equal(v, &s) && v->dtype == x->dtype, FRT_ESHAPE,
            "%s: %s must be %s %s (x is %s), got %s %s", op, what, frt__dtype_name(s.dtype),
            frt__shape_text(&s), frt__shape_text(x), frt__dtype_name(v->dtype), frt__shape_text(v));
  return FRT_OK;
}
