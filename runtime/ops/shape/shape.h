// shape.h -- what the ops that move numbers share: attributes as shapes, lanes along one dimension,
// index checks. A lane is one run of numbers along a dimension: element k lies at start + k * step.
#pragma once
#include "ir/op.h"

// Attributes.
enum { FRT_SHAPE_NDIM, FRT_SHAPE_DIMS }; // expand, reshape: how many dimensions y has, and which
enum { FRT_CAT_DIM };
enum { FRT_FLIP_MASK }; // bit d: dimension d
enum { FRT_NARROW_DIM, FRT_NARROW_START, FRT_NARROW_LENGTH, FRT_NARROW_ATTRS };
enum { FRT_PERMUTE_ORDER }; // y's dimension d is x's attr[FRT_PERMUTE_ORDER + d]
enum {
  FRT_PAD_BEFORE,
  FRT_PAD_AFTER = FRT_MAX_DIM,
  FRT_PAD_VALUE = 2 * FRT_MAX_DIM,
  FRT_PAD_ATTRS,
};

#define FRT_MAX_SIZE 1e15 // largest dimension an attribute may state

// A shape from the attributes {FRT_SHAPE_NDIM, FRT_SHAPE_DIMS ..}.
static inline frt_shape frt__shape_attr(int32_t dtype, const double *attr)
{
  frt_shape s = {.ndim = (int32_t)attr[FRT_SHAPE_NDIM], .dtype = dtype};
  for (int32_t d = 0; d < s.ndim; d++) {
    s.dim[d] = (int64_t)attr[FRT_SHAPE_DIMS + d];
  }
  return s;
}

static inline frt_status frt__check_dim(const char *op, double dim, const frt_shape *x)
{
  FRT_CHECK(dim >= 0 && dim < x->ndim, FRT_EARG, "%s: dim must be in 1..%d (x is %s), got %d", op,
            x->ndim, frt__shape_text(x), (int)dim + 1);
  return FRT_OK;
}

static inline frt_status frt__check_float(const char *op, const char *what, const frt_shape *x)
{
  FRT_CHECK(frt__is_real(x->dtype), FRT_ESHAPE, "%s: %s must be f32 or f64, got %s", op, what,
            frt__dtype_name(x->dtype));
  return FRT_OK;
}

static inline frt_status frt__check_map(const char *op, const char *what, const frt_shape *x)
{
  FRT_TRY(frt__check_float(op, what, x));
  FRT_CHECK(x->ndim == 4, FRT_ESHAPE, "%s: %s must be [N, C, H, W], got %s", op, what,
            frt__shape_text(x));
  return FRT_OK;
}

// `v` is of the dtype and shape of `want`; why: what the message adds, " like x".
static inline frt_status frt__check_shape(const char *op, const char *what, const frt_shape *v,
                                          const frt_shape *want, const char *why)
{
  FRT_CHECK(v->dtype == want->dtype && frt__shape_equal(v, want), FRT_ESHAPE,
            "%s: %s must be %s %s%s, got %s %s", op, what, frt__dtype_name(want->dtype),
            frt__shape_text(want), why, frt__dtype_name(v->dtype), frt__shape_text(v));
  return FRT_OK;
}

static inline frt_status frt__check_index(const char *op, const frt_shape *idx)
{
  FRT_CHECK(idx->dtype == FRT_I32, FRT_ESHAPE, "%s: idx must be i32, got %s", op,
            frt__dtype_name(idx->dtype));
  return FRT_OK;
}

// Every index lies in base .. base + size - 1: known only when the numbers are.
static inline frt_status frt__check_range(const char *op, const int32_t *idx, int64_t n,
                                          int32_t base, int64_t size)
{
  for (int64_t i = 0; i < n; i++) {
    int64_t k = (int64_t)idx[i] - base;
    FRT_CHECK(k >= 0 && k < size, FRT_EDATA, "%s: idx must be in %d..%lld, got %d", op, base,
              (long long)(base + size - 1), idx[i]);
  }
  return FRT_OK;
}

// The lanes of a shape along `dim`: n numbers each, `step` apart; `outer` blocks of `step` lanes.
typedef struct frt_lanes {
  int64_t outer, n, step;
} frt_lanes;
static inline frt_lanes frt__lanes(const frt_shape *s, int32_t dim)
{
  frt_lanes l = {1, s->dim[dim], 1};
  for (int32_t d = 0; d < s->ndim; d++) {
    l.outer *= d < dim ? s->dim[d] : 1;
    l.step *= d > dim ? s->dim[d] : 1;
  }
  return l;
}
// Where lane i of outer * step starts.
static inline int64_t frt__lane_start(const frt_lanes *l, int64_t i)
{
  return i / l->step * l->n * l->step + i % l->step;
}

// Row-major steps of each dimension.
static inline void frt__steps(const frt_shape *s, int64_t step[FRT_MAX_DIM])
{
  int64_t at = 1;
  for (int32_t d = s->ndim - 1; d >= 0; d--) {
    step[d] = at;
    at *= s->dim[d];
  }
}

// Copies a box of numbers of `size` bytes: dims dim[0 .. ndim-1], any steps (in numbers) on both
// sides.
static inline void frt__copy_box(int32_t ndim, const int64_t *dim, char *dst, const int64_t *to,
                                 const char *src, const int64_t *from, int64_t size)
{
  if (ndim == 0) {
    memcpy(dst, src, (size_t)size);
    return;
  }
  if (ndim == 1 && to[0] == 1 && from[0] == 1) {
    memcpy(dst, src, (size_t)(dim[0] * size));
    return;
  }
  for (int64_t i = 0; i < dim[0]; i++) {
    frt__copy_box(ndim - 1, dim + 1, dst + i * to[0] * size, to + 1, src + i * from[0] * size,
                  from + 1, size);
  }
}
