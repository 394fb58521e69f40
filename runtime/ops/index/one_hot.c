/// one_hot -- class numbers as rows of zeros with a single 1.
///
///     y[.., k] = 1 where k = idx[..] - base, else 0
///
/// in    idx      i32 [any]
/// out   y        f32 [idx's shape, classes]
/// attr  classes  how many there are
/// attr  base     the first class number: 0 or 1
/// grad  none: indices have no slope
/// errs  FRT_ESHAPE; FRT_EDATA when a class number is out of range
#include "ops/index/index.h"

static const frt_attr attrs[] = {
  {"classes", 1, 1, 1, 2147483647, "how many classes"      },
  {"base",    1, 0, 0, 1,          "the first class number"},
};

static const frt_case cases[] = {
  {"labels of a batch",     1, {{7}},    "i", 5, {5, 0}},
  {"several label columns", 1, {{3, 2}}, "i", 4, {6, 0}},
  {"a scalar",              1, {{0}},    "i", 3, {3, 0}},
};

static frt_status infer(const frt_infer *c)
{
  const frt_shape *idx = c->x[0];
  FRT_TRY(frt__check_index("one_hot", idx));
  FRT_CHECK(idx->ndim < FRT_MAX_DIM, FRT_ESHAPE,
            "one_hot: idx must be of at most %d dimensions, got %s", FRT_MAX_DIM - 1,
            frt__shape_text(idx));
  c->y[0] = *idx;
  c->y[0].dtype = FRT_F32;
  c->y[0].dim[c->y[0].ndim++] = (int64_t)c->attr[FRT_ONE_HOT_CLASSES];
  return FRT_OK;
}

static frt_status forward(const frt_call *c)
{
  const int32_t *idx = FRT_IN(int32_t, 0);
  float *y = FRT_OUT(float, 0);
  int64_t classes = (int64_t)c->attr[FRT_ONE_HOT_CLASSES], n = frt__numel(c->xs[0]);
  int32_t base = (int32_t)c->attr[FRT_ONE_HOT_BASE];
  FRT_TRY(frt__check_range("one_hot", idx, n, base, classes));
  memset(y, 0, frt__bytes(c->ys[0]));
  for (int64_t i = 0; i < n; i++) {
    y[i * classes + idx[i] - base] = 1;
  }
  return FRT_OK;
}

FRT_OP(one_hot) = {
  .name = "one_hot",
  .doc = "class numbers as rows of zeros with a single 1",
  .n_in = 1,
  .n_out = 1,
  .flags = FRT_NO_GRAD,
  .attr = attrs,
  .n_attr = FRT_COUNT(attrs),
  .cases = cases,
  .n_case = FRT_COUNT(cases),
  .infer = infer,
  .forward = forward,
};
