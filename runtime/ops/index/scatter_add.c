/// scatter_add -- adds numbers into zeros along one dimension, each where its index says.
///
///     y[.., idx[.., i, ..] - base, ..] += src[.., i, ..]
///
/// in    idx   i32 [any]
/// in    src   f32 or f64, shape of idx
/// out   y     dtype of src, its shape with `size` in `dim`; additions in the order of src
/// attr  dim   the dimension
/// attr  base  what the first index is called: 0 or 1
/// attr  size  y's size in that dimension
/// grad  dsrc  dy gathered by idx
/// errs  FRT_ESHAPE; FRT_EDATA when an index is out of range
#include "ops/index/index.h"

static const frt_attr attrs[] = {FRT_INDEX_SIZED_ATTRS};

static const frt_case cases[] = {
  {"one per row",      2, {{5, 1}, {5, 1}},       "in", 7, {1, 0, 7}},
  {"several into one", 2, {{9, 2}, {9, 2}},       "in", 3, {0, 0, 3}},
  {"middle dimension", 2, {{2, 4, 3}, {2, 4, 3}}, "in", 5, {1, 0, 6}},
};

static frt_status infer(const frt_infer *c)
{
  const frt_shape *idx = c->x[0], *src = c->x[1];
  FRT_TRY(frt__index_added("scatter_add", c));
  FRT_CHECK(frt__shape_equal(idx, src), FRT_ESHAPE, "scatter_add: src must be %s like idx, got %s",
            frt__shape_text(idx), frt__shape_text(src));
  return FRT_OK;
}

static frt_status forward(const frt_call *c)
{
  const int32_t *idx = FRT_IN(int32_t, 0);
  const real *src = FRT_IN(real, 1);
  real *y = FRT_OUT(real, 0);
  int32_t dim = (int32_t)c->attr[FRT_INDEX_DIM], base = (int32_t)c->attr[FRT_INDEX_BASE];
  frt_lanes from = frt__lanes(c->xs[1], dim), to = frt__lanes(c->ys[0], dim);
  FRT_TRY(frt__check_range("scatter_add", idx, frt__numel(c->xs[0]), base, to.n));
  memset(y, 0, frt__bytes(c->ys[0]));
  for (int64_t i = 0; i < from.outer * from.step; i++) {
    int64_t xi = frt__lane_start(&from, i), yi = frt__lane_start(&to, i);
    for (int64_t k = 0; k < from.n; k++) {
      int64_t at = xi + k * from.step;
      y[yi + (idx[at] - base) * to.step] += src[at];
    }
  }
  return FRT_OK;
}

static frt_status grad(const frt_grad_call *c)
{
  return frt__index_grad_pick(&frt_op_gather, c);
}

FRT_OP(scatter_add) = {
  .name = "scatter_add",
  .doc = "adds numbers into zeros along one dimension, each where its index says",
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
