/// pad -- x in a frame of one value.
///
/// in    x       f32, f64 or i32 [any]
/// out   y       dimension d is before[d] + x's + after[d]
/// attr  before  how many to add before each dimension
/// attr  after   how many to add after it
/// attr  value   what to add
/// grad  dx      dy without the frame
#include "ops/elementwise/elementwise.h"
#include "ops/shape/shape.h"

static const frt_attr attrs[] = {
  {"before", FRT_MAX_DIM, 0, 0,         FRT_MAX_SIZE, "numbers added before each dimension"},
  {"after",  FRT_MAX_DIM, 0, 0,         FRT_MAX_SIZE, "numbers added after it"             },
  {"value",  1,           0, -INFINITY, INFINITY,     "what is added"                      },
};

static const frt_case cases[] = {
  {"vector",             1, {{5}},          NULL, 0, {2, [FRT_PAD_AFTER] = 3}                              },
  {"map, one side more",
   1,                       {{2, 3, 4, 5}},
   NULL,                                          0,
   {0, 0, 1, 0, [FRT_PAD_AFTER + 2] = 2, 1, 0, 0}                                                          },
  {"a value around",     1, {{3, 3}},       NULL, 0, {1, 1, [FRT_PAD_AFTER] = 1, 1, [FRT_PAD_VALUE] = -1.5}},
};

static frt_status infer(const frt_infer *c)
{
  const frt_shape *x = c->x[0];
  FRT_CHECK(frt__is_real(x->dtype) || x->dtype == FRT_I32, FRT_ESHAPE,
            "pad: x must be f32, f64 or i32, got %s", frt__dtype_name(x->dtype));
  c->y[0] = *x;
  for (int32_t d = 0; d < x->ndim; d++) {
    c->y[0].dim[d] += (int64_t)c->attr[FRT_PAD_BEFORE + d] + (int64_t)c->attr[FRT_PAD_AFTER + d];
  }
  return FRT_OK;
}

static frt_status forward(const frt_call *c)
{
  const frt_shape *x = c->xs[0], *y = c->ys[0];
  for (int64_t i = 0, n = frt__numel(y); i < n; i++) {
    frt__put(c->y[0], y->dtype, i, c->attr[FRT_PAD_VALUE]);
  }
  int64_t from[FRT_MAX_DIM], to[FRT_MAX_DIM] = {0}, at = 0;
  const int64_t size = (int64_t)frt__dtype_size(x->dtype);
  frt__steps(x, from);
  frt__steps(y, to);
  for (int32_t d = 0; d < x->ndim; d++) {
    at += (int64_t)c->attr[FRT_PAD_BEFORE + d] * to[d];
  }
  if (frt__numel(x) > 0) {
    frt__copy_box(x->ndim, x->dim, (char *)c->y[0] + at * size, to, c->x[0], from, size);
  }
  return FRT_OK;
}

static frt_status grad(const frt_grad_call *c)
{
  frt_ref g = c->dy[0];
  for (int32_t d = 0; d < c->xs[0]->ndim; d++) {
    double narrow[FRT_NARROW_ATTRS] = {d, c->attr[FRT_PAD_BEFORE + d], (double)c->xs[0]->dim[d]};
    if (c->ys[0]->dim[d] != c->xs[0]->dim[d]) {
      FRT_TRY(frt__node(&frt_op_narrow, 1, &g, narrow, 1, &g));
    }
  }
  c->dx[0] = g;
  return FRT_OK;
}

FRT_OP(pad) = {
  .name = "pad",
  .doc = "x in a frame of one value",
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
