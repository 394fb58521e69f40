/// index_select -- picks slices of one dimension.
///
///     y[.., i, ..] = x[.., idx[i] - base, ..]
///
/// in    x     any dtype [any]
/// in    idx   i32 [n]
/// out   y     x's shape with n in that dimension
/// attr  dim   the dimension
/// attr  base  what the first index is called: 0 or 1
/// grad  dx    dy's slices added where they came from; none by idx
/// errs  FRT_ESHAPE; FRT_EDATA when an index is out of range
#include "ops/index/index.h"

static const frt_attr attrs[] = {FRT_INDEX_ATTRS};

static const frt_case cases[] = {
  {"rows of a table", 2, {{5, 3}, {7}},       "ni", 5, {0, 0}},
  {"channels",        2, {{2, 4, 3, 3}, {3}}, "ni", 4, {1, 0}},
  {"columns",         2, {{3, 5}, {2}},       "ni", 5, {1, 0}},
};

static frt_status infer(const frt_infer *c)
{
  const frt_shape *x = c->x[0], *idx = c->x[1];
  FRT_TRY(frt__index_check("index_select", x, idx, c->attr));
  FRT_CHECK(idx->ndim == 1, FRT_ESHAPE, "index_select: idx must be [n], got %s",
            frt__shape_text(idx));
  c->y[0] = *x;
  c->y[0].dim[(int32_t)c->attr[FRT_INDEX_DIM]] = idx->dim[0];
  return FRT_OK;
}

static frt_status forward(const frt_call *c)
{
  const int32_t *idx = FRT_IN(int32_t, 1);
  int32_t dim = (int32_t)c->attr[FRT_INDEX_DIM], base = (int32_t)c->attr[FRT_INDEX_BASE];
  frt_lanes from = frt__lanes(c->xs[0], dim);
  int64_t n = c->xs[1]->dim[0];
  size_t run = (size_t)from.step * frt__dtype_size(c->xs[0]->dtype);
  FRT_TRY(frt__check_range("index_select", idx, n, base, from.n));
  for (int64_t o = 0; o < from.outer; o++) {
    for (int64_t i = 0; i < n; i++) {
      memcpy((char *)c->y[0] + (size_t)(o * n + i) * run,
             (const char *)c->x[0] + (size_t)(o * from.n + idx[i] - base) * run, run);
    }
  }
  return FRT_OK;
}

static frt_status grad(const frt_grad_call *c)
{
  return frt__index_grad_add(&frt_op_index_add, c);
}

FRT_OP(index_select) = {
  .name = "index_select",
  .doc = "picks slices of one dimension",
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
