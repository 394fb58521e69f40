// norm.h -- what the normalising ops share: batch norm's view of a tensor as [n, c, inner], checks.
#pragma once
#include "ops/shape/shape.h"

// Attributes.
enum { FRT_BATCH_NORM_EPS, FRT_BATCH_NORM_MOMENTUM };
enum { FRT_LAYER_NORM_DIMS, FRT_LAYER_NORM_EPS };
enum { FRT_SOFTMAX_DIM };

// x [N, C, ..]: dimension 1 holds the channels; `count` numbers belong to each.
typedef struct frt_channels {
  int64_t n, c, inner, count;
} frt_channels;

static inline frt_status frt__channels(const char *op, const frt_shape *x, frt_channels *out)
{
  FRT_TRY(frt__check_float(op, "x", x));
  FRT_CHECK(x->ndim >= 2, FRT_ESHAPE, "%s: x must be [N, C, ..], got %s", op, frt__shape_text(x));
  *out = (frt_channels){.n = x->dim[0], .c = x->dim[1], .inner = 1};
  for (int32_t d = 2; d < x->ndim; d++) {
    out->inner *= x->dim[d];
  }
  out->count = out->n * out->inner;
  return FRT_OK;
}

// `v` is one number per channel of x.
static inline frt_status frt__check_channels(const char *op, const char *what, const frt_shape *v,
                                             const frt_shape *x)
{
  FRT_CHECK(v->ndim == 1 && v->dim[0] == x->dim[1] && v->dtype == x->dtype, FRT_ESHAPE,
            "%s: %s must be %s [%lld] (x is %s), got %s %s", op, what, frt__dtype_name(x->dtype),
            (long long)x->dim[1], frt__shape_text(x), frt__dtype_name(v->dtype),
            frt__shape_text(v));
  return FRT_OK;
}

static inline frt_shape frt__vector(int32_t dtype, int64_t n)
{
  return (frt_shape){.ndim = 1, .dtype = dtype, .dim = {n}};
}

static inline frt_status frt__check_same(const char *op, const char *what, const frt_shape *v,
                                         const frt_shape *x)
{
  return frt__check_shape(op, what, v, x, " like x");
}

// Number i of channel `ch`, counted through the batch.
static inline int64_t frt__channel_at(const frt_channels *v, int64_t ch, int64_t i)
{
  return (i / v->inner * v->c + ch) * v->inner + i % v->inner;
}
