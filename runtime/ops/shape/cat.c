/// cat -- tensors one after the other along one dimension.
///
/// in    x...  one dtype, one shape but for `dim`
/// out   y     their sizes in `dim` added up
/// attr  dim   the dimension
/// grad  dx    the input's stretch of dy
/// errs  FRT_ESHAPE when dtypes or other dimensions differ
#include "ops/shape/shape.h"

static const frt_attr attrs[] = {
  {"dim", 1, 0, 0, FRT_MAX_DIM - 1, "the dimension"}
};

static const frt_case cases[] = {
  {"channels of two maps", 2, {{2, 3, 4, 5}, {2, 2, 4, 5}}, NULL, 0, {1}},
  {"three vectors",        3, {{3}, {1}, {5}},              NULL, 0, {0}},
  {"last dimension",       2, {{2, 3}, {2, 4}},             NULL, 0, {1}},
  {"a single tensor",      1, {{2, 3}},                     NULL, 0, {0}},
};

static frt_status infer(const frt_infer *c)
{
  const frt_shape *first = c->x[0];
  FRT_TRY(frt__check_dim("cat", c->attr[FRT_CAT_DIM], first));
  int32_t dim = (int32_t)c->attr[FRT_CAT_DIM];
  frt_shape y = *first;
  for (int32_t k = 1; k < c->n_in; k++) {
    const frt_shape *x = c->x[k];
    frt_shape same = *x;
    bool fits = x->ndim == first->ndim;
    same.dim[dim] = first->dim[dim];
    FRT_CHECK(x->dtype == first->dtype, FRT_ESHAPE,
              "cat: input %d must be %s like the first, got %s", k + 1,
              frt__dtype_name(first->dtype), frt__dtype_name(x->dtype));
    FRT_CHECK(fits && frt__shape_equal(&same, first), FRT_ESHAPE,
              "cat: input %d must be like the first, %s, in all dimensions but %d, got %s", k + 1,
              frt__shape_text(first), dim + 1, frt__shape_text(x));
    y.dim[dim] += x->dim[dim];
  }
  c->y[0] = y;
  return FRT_OK;
}

static frt_status forward(const frt_call *c)
{
  int32_t dim = (int32_t)c->attr[FRT_CAT_DIM];
  frt_lanes to = frt__lanes(c->ys[0], dim);
  size_t size = frt__dtype_size(c->ys[0]->dtype), row = (size_t)(to.n * to.step) * size;
  char *y = c->y[0];
  for (int32_t k = 0; k < c->n_in; k++) {
    size_t run = (size_t)(c->xs[k]->dim[dim] * to.step) * size;
    for (int64_t i = 0; i < to.outer; i++) {
      memcpy(y + (size_t)i * row, (const char *)c->x[k] + (size_t)i * run, run);
    }
    y += run;
  }
  return FRT_OK;
}

static frt_status grad(const frt_grad_call *c)
{
  double narrow[FRT_NARROW_ATTRS] = {[FRT_NARROW_DIM] = c->attr[FRT_CAT_DIM]};
  for (int32_t k = 0; k < c->n_in; k++) {
    narrow[FRT_NARROW_LENGTH] = (double)c->xs[k]->dim[(int32_t)c->attr[FRT_CAT_DIM]];
    if (c->need[k]) {
      FRT_TRY(frt__node(&frt_op_narrow, 1, c->dy, narrow, 1, &c->dx[k]));
    }
    narrow[FRT_NARROW_START] += narrow[FRT_NARROW_LENGTH];
  }
  return FRT_OK;
}

FRT_OP(cat) = {
  .name = "cat",
  .doc = "tensors one after the other along one dimension",
  .n_in = -1,
  .n_out = 1,
  .attr = attrs,
  .n_attr = FRT_COUNT(attrs),
  .cases = cases,
  .n_case = FRT_COUNT(cases),
  .infer = infer,
  .forward = forward,
  .grad = grad,
};
