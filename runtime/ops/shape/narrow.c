/// narrow -- a stretch of one dimension.
///
///     y[.., i, ..] = x[.., start + i, ..]
///
/// in    x       any dtype [any]
/// out   y       x's shape with `length` in that dimension
/// attr  dim     the dimension
/// attr  start   first index taken
/// attr  length  how many
/// grad  dx      dy between zeros
/// errs  FRT_EARG when the stretch leaves x
#include "ops/shape/shape.h"

static const frt_attr attrs[] = {
  {"dim",    1, 0, 0, FRT_MAX_DIM - 1, "the dimension"    },
  {"start",  1, 0, 0, FRT_MAX_SIZE,    "first index taken"},
  {"length", 1, 1, 0, FRT_MAX_SIZE,    "how many"         },
};

static const frt_case cases[] = {
  {"middle of a vector", 1, {{9}},          NULL, 0, {0, 2, 5}},
  {"channels",           1, {{2, 5, 3, 4}}, NULL, 0, {1, 3, 2}},
  {"one column",         1, {{3, 7}},       NULL, 0, {1, 6, 1}},
};

static frt_status infer(const frt_infer *c)
{
  const frt_shape *x = c->x[0];
  FRT_TRY(frt__check_dim("narrow", c->attr[FRT_NARROW_DIM], x));
  int32_t dim = (int32_t)c->attr[FRT_NARROW_DIM];
  int64_t start = (int64_t)c->attr[FRT_NARROW_START], length = (int64_t)c->attr[FRT_NARROW_LENGTH];
  FRT_CHECK(start + length <= x->dim[dim], FRT_EARG,
            "narrow: start..start + length - 1 must be in 1..%lld (dimension %d of x %s), got "
            "%lld..%lld",
            (long long)x->dim[dim], dim + 1, frt__shape_text(x), (long long)start + 1,
            (long long)(start + length));
  c->y[0] = *x;
  c->y[0].dim[dim] = length;
  return FRT_OK;
}

static frt_status forward(const frt_call *c)
{
  int32_t dim = (int32_t)c->attr[FRT_NARROW_DIM];
  frt_lanes from = frt__lanes(c->xs[0], dim), to = frt__lanes(c->ys[0], dim);
  size_t size = frt__dtype_size(c->xs[0]->dtype), run = (size_t)(to.n * to.step) * size;
  size_t row = (size_t)(from.n * from.step) * size;
  const char *x =
    (const char *)c->x[0] + (size_t)c->attr[FRT_NARROW_START] * (size_t)from.step * size;
  for (int64_t i = 0; i < to.outer; i++) {
    memcpy((char *)c->y[0] + (size_t)i * run, x + (size_t)i * row, run);
  }
  return FRT_OK;
}

static frt_status grad(const frt_grad_call *c)
{
  int32_t dim = (int32_t)c->attr[FRT_NARROW_DIM];
  double pad[FRT_PAD_ATTRS] = {0};
  pad[FRT_PAD_BEFORE + dim] = c->attr[FRT_NARROW_START];
  pad[FRT_PAD_AFTER + dim] =
    (double)c->xs[0]->dim[dim] - c->attr[FRT_NARROW_START] - c->attr[FRT_NARROW_LENGTH];
  return frt__node(&frt_op_pad, 1, c->dy, pad, 1, &c->dx[0]);
}

FRT_OP(narrow) = {
  .name = "narrow",
  .doc = "a stretch of one dimension",
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
