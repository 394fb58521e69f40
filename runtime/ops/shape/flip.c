/// flip -- the order reversed in some dimensions.
///
/// in    x     any dtype [any]
/// out   y     shape of x
/// attr  mask  bit d: reverse dimension d
/// grad  dx    dy flipped likewise
/// errs  FRT_EARG when the mask names a dimension x does not have
#include "ops/shape/shape.h"

static const frt_attr attrs[] = {
  {"mask", 1, 1, 0, 63, "bit d: reverse dimension d"}
};

static const frt_case cases[] = {
  {"vector",                    1, {{5}},          NULL, 0, {1}},
  {"left and right of a photo", 1, {{2, 3, 4, 5}}, NULL, 0, {8}},
  {"two dimensions",            1, {{3, 2, 5}},    NULL, 0, {5}},
};

static frt_status infer(const frt_infer *c)
{
  FRT_CHECK((uint32_t)c->attr[FRT_FLIP_MASK] >> c->x[0]->ndim == 0, FRT_EARG,
            "flip: dims must be dimensions of x %s, got bits %d", frt__shape_text(c->x[0]),
            (int)c->attr[FRT_FLIP_MASK]);
  return frt__infer_same(c);
}

static frt_status forward(const frt_call *c)
{
  const frt_shape *x = c->xs[0];
  uint32_t mask = (uint32_t)c->attr[FRT_FLIP_MASK];
  int64_t from[FRT_MAX_DIM], to[FRT_MAX_DIM], at = 0, size = (int64_t)frt__dtype_size(x->dtype);
  frt__steps(x, from);
  frt__steps(x, to);
  for (int32_t d = 0; d < x->ndim; d++) {
    if (mask >> d & 1) {
      at += (x->dim[d] - 1) * from[d];
      from[d] = -from[d];
    }
  }
  if (frt__numel(x) > 0) {
    frt__copy_box(x->ndim, x->dim, c->y[0], to, (const char *)c->x[0] + at * size, from, size);
  }
  return FRT_OK;
}

static frt_status grad(const frt_grad_call *c)
{
  return frt__node(&frt_op_flip, 1, c->dy, c->attr, 1, &c->dx[0]);
}

FRT_OP(flip) = {
  .name = "flip",
  .doc = "the order reversed in some dimensions",
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
