/// gather -- picks along one dimension, by an index per number of the result.
///
///     y[.., i, ..] = x[.., idx[.., i, ..] - base, ..]
///
/// in    x     any dtype [any]
/// in    idx   i32, x's shape but for `dim`
/// out   y     dtype of x, shape of idx
/// attr  dim   the dimension
/// attr  base  what the first index is called: 0 or 1
/// grad  dx    dy added where it came from; none by idx
/// errs  FRT_ESHAPE; FRT_EDATA when an index is out of range
#include "ops/index/index.h"

static const frt_attr attrs[] = {FRT_INDEX_ATTRS};

static const frt_case cases[] = {
  {"one per row",          2, {{5, 7}, {5, 1}},       "ni", 7, {1, 0}},
  {"more than there were", 2, {{3, 2}, {5, 2}},       "ni", 3, {0, 0}},
  {"middle dimension",     2, {{2, 4, 3}, {2, 2, 3}}, "ni", 4, {1, 0}},
};

static frt_status infer(const frt_infer *c)
{
  const frt_shape *x = c->x[0], *idx = c->x[1];
  FRT_TRY(frt__index_check("gather", x, idx, c->attr));
  frt_shape want = *x;
  bool fits = idx->ndim == x->ndim;
  want.dim[(int32_t)c->attr[FRT_INDEX_DIM]] = idx->dim[(int32_t)c->attr[FRT_INDEX_DIM]];
  FRT_CHECK(fits && frt__shape_equal(&want, idx), FRT_ESHAPE,
            "gather: idx must be like x %s in all dimensions but %d, got %s", frt__shape_text(x),
            (int)c->attr[FRT_INDEX_DIM] + 1, frt__shape_text(idx));
  c->y[0] = *idx;
  c->y[0].dtype = x->dtype;
  return FRT_OK;
}

static frt_status forward(const frt_call *c)
{
  const int32_t *idx = FRT_IN(int32_t, 1);
  int32_t dim = (int32_t)c->attr[FRT_INDEX_DIM], base = (int32_t)c->attr[FRT_INDEX_BASE];
  frt_lanes from = frt__lanes(c->xs[0], dim), to = frt__lanes(c->ys[0], dim);
  int64_t size = (int64_t)frt__dtype_size(c->xs[0]->dtype);
  FRT_TRY(frt__check_range("gather", idx, frt__numel(c->xs[1]), base, from.n));
  for (int64_t i = 0; i < to.outer * to.step; i++) {
    int64_t xi = frt__lane_start(&from, i), yi = frt__lane_start(&to, i);
    for (int64_t k = 0; k < to.n; k++) {
      int64_t at = yi + k * to.step;
      memcpy((char *)c->y[0] + at * size,
             (const char *)c->x[0] + (xi + (idx[at] - base) * from.step) * size, (size_t)size);
    }
  }
  return FRT_OK;
}

static frt_status grad(const frt_grad_call *c)
{
  return frt__index_grad_add(&frt_op_scatter_add, c);
}

FRT_OP(gather) = {
  .name = "gather",
  .doc = "picks along one dimension, by an index per number of the result",
  .n_in = 2,
  .n_out = 1,
  .attr = attrs,
  .n_attr = FRT_COUNT(attrs),
  .cases = cases,
  .n_case = FRT_COUNT(cases),
  .infer = infer,
  .forward = forward,
  .grad = grad,
};
