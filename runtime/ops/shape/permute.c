/// permute -- dimensions in another order.
///
///     y's dimension d is x's dimension perm[d]
///
/// in    x     any dtype [any]
/// out   y     the same numbers
/// attr  perm  the order, one entry per dimension of x
/// grad  dx    dy in the order that undoes perm
/// errs  FRT_EARG when perm does not name each dimension once
#include "ops/shape/shape.h"

static const frt_attr attrs[] = {
  {"perm", FRT_MAX_DIM, 0, 0, FRT_MAX_DIM - 1, "y's dimension d is x's perm[d]"},
};

static const frt_case cases[] = {
  {"transpose",           1, {{3, 5}},       NULL, 0, {1, 0}      },
  {"channels last",       1, {{2, 3, 5, 7}}, NULL, 0, {0, 2, 3, 1}},
  {"heads before tokens", 1, {{2, 5, 3, 4}}, NULL, 0, {0, 2, 1, 3}},
};

static frt_status infer(const frt_infer *c)
{
  const frt_shape *x = c->x[0];
  uint32_t seen = 0;
  c->y[0] = *x;
  for (int32_t d = 0; d < x->ndim; d++) {
    int32_t from = (int32_t)c->attr[FRT_PERMUTE_ORDER + d];
    FRT_CHECK(from < x->ndim && !(seen >> from & 1), FRT_EARG,
              "permute: the order must name each dimension of x %s once, got %d in place %d",
              frt__shape_text(x), from + 1, d + 1);
    seen |= 1u << from;
    c->y[0].dim[d] = x->dim[from];
  }
  return FRT_OK;
}

static frt_status forward(const frt_call *c)
{
  const frt_shape *x = c->xs[0], *y = c->ys[0];
  int64_t step[FRT_MAX_DIM], from[FRT_MAX_DIM], to[FRT_MAX_DIM];
  frt__steps(x, step);
  frt__steps(y, to);
  for (int32_t d = 0; d < y->ndim; d++) {
    from[d] = step[(int32_t)c->attr[FRT_PERMUTE_ORDER + d]];
  }
  frt__copy_box(y->ndim, y->dim, c->y[0], to, c->x[0], from, (int64_t)frt__dtype_size(y->dtype));
  return FRT_OK;
}

static frt_status grad(const frt_grad_call *c)
{
  double back[FRT_MAX_DIM] = {0};
  for (int32_t d = 0; d < c->xs[0]->ndim; d++) {
    back[(int32_t)c->attr[FRT_PERMUTE_ORDER + d]] = d;
  }
  return frt__node(&frt_op_permute, 1, c->dy, back, 1, &c->dx[0]);
}

FRT_OP(permute) = {
  .name = "permute",
  .doc = "dimensions in another order",
  .n_in = 1,
  .n_out = 1,
  .attr = attrs,
  .n_attr = FRT_COUNT(attrs),
  .cases = cases,
  .n_case = FRT_COUNT(cases),
  .infer = infer,
  .forward = forward,
  .grad = grad,
};
