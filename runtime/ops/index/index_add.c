/// index_add -- adds slices into zeros along one dimension, each where its index says.
///
///     y[.., idx[i] - base, ..] += src[.., i, ..]
///
/// in    idx   i32 [n]
/// in    src   f32 or f64 [any] with n in `dim`
/// out   y     src's shape with `size` in that dimension; additions in the order of src
/// attr  dim   the dimension
/// attr  base  what the first index is called: 0 or 1
/// attr  size  y's size in that dimension
/// grad  dsrc  the slices of dy that idx names
/// errs  FRT_ESHAPE; FRT_EDATA when an index is out of range
#include "ops/index/index.h"

static const frt_attr attrs[] = {FRT_INDEX_SIZED_ATTRS};

static const frt_case cases[] = {
  {"rows into a table", 2, {{7}, {7, 3}},       "in", 5, {0, 0, 5}},
  {"channels",          2, {{3}, {2, 3, 4, 5}}, "in", 4, {1, 0, 5}},
};

static frt_status infer(const frt_infer *c)
{
  const frt_shape *idx = c->x[0], *src = c->x[1];
  FRT_TRY(frt__index_added("index_add", c));
  int64_t n = src->dim[(int32_t)c->attr[FRT_INDEX_DIM]];
  FRT_CHECK(idx->ndim == 1 && idx->dim[0] == n, FRT_ESHAPE,
            "index_add: idx must be [%lld] (dimension %d of src %s), got %s", (long long)n,
            (int)c->attr[FRT_INDEX_DIM] + 1, frt__shape_text(src), frt__shape_text(idx));
  return FRT_OK;
}

static frt_status forward(const frt_call *c)
{
  const int32_t *idx = FRT_IN(int32_t, 0);
  const real *src = FRT_IN(real, 1);
  real *y = FRT_OUT(real, 0);
  int32_t dim = (int32_t)c->attr[FRT_INDEX_DIM], base = (int32_t)c->attr[FRT_INDEX_BASE];
  frt_lanes from = frt__lanes(c->xs[1], dim), to = frt__lanes(c->ys[0], dim);
  FRT_TRY(frt__check_range("index_add", idx, from.n, base, to.n));
  memset(y, 0, frt__bytes(c->ys[0]));
  for (int64_t o = 0; o < from.outer; o++) {
    for (int64_t i = 0; i < from.n; i++) {
      const real *row = src + (o * from.n + i) * from.step;
      real *sum = y + (o * to.n + idx[i] - base) * to.step;
      for (int64_t k = 0; k < from.step; k++) {
        sum[k] += row[k];
      }
    }
  }
  return FRT_OK;
}

static frt_status grad(const frt_grad_call *c)
{
  return frt__index_grad_pick(&frt_op_index_select, c);
}

FRT_OP(index_add) = {
  .name = "index_add",
  .doc = "adds slices into zeros along one dimension, each where its index says",
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
