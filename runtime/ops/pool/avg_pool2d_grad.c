/// avg_pool2d_grad -- the gradient of avg_pool2d: each dy shared out over its window.
///
/// in    dy    f32 or f64 [N, C, oh, ow]
/// out   dx    [N, C, h, w]
/// attr  kernel, stride, pad, count_include_pad  those of avg_pool2d
/// attr  h, w  height and width of x
/// grad  ddy   avg_pool2d(g)
/// errs  FRT_ESHAPE when sizes do not fit
#include "ops/pool/pool.h"

enum { COUNT_PAD = FRT_POOL_N, H, W };
static const frt_attr attrs[] = {
  FRT_POOL_ATTRS,
  {"count_include_pad", 1, 1, 0, 1,            "1: divide by the whole window"},
  {"h",                 1, 1, 1, FRT_MAX_SIZE, "height of x"                  },
  {"w",                 1, 1, 1, FRT_MAX_SIZE, "width of x"                   },
};

// clang-format off
static const frt_case cases[] = {
  {"2x2", 1, {{2, 3, 3, 2}}, NULL, 0, {2, 2, 2, 2, 0, 0, 0, 0, 1, 6, 4}},
  {"3x3, overlapping, padded", 1, {{2, 3, 4, 3}}, NULL, 0, {3, 3, 2, 2, 1, 1, 1, 1, 1, 7, 5}},
  {"padding not counted", 1, {{1, 2, 3, 6}}, NULL, 0, {3, 2, 2, 1, 1, 0, 2, 1, 0, 5, 6}},
};
// clang-format on

static frt_status init(frt_pool *v, const frt_shape *dy, const double *attr)
{
  FRT_CHECK(dy->ndim == 4, FRT_ESHAPE, "avg_pool2d_grad: dy must be [N, C, oh, ow], got %s",
            frt__shape_text(dy));
  frt_shape x = frt__pool_shape(dy, (int64_t)attr[H], (int64_t)attr[W]);
  FRT_TRY(frt__pool_init(v, "avg_pool2d_grad", &x, attr));
  frt_shape y = frt__pool_shape(dy, v->oh, v->ow);
  return frt__pool_check_dy("avg_pool2d_grad", dy, &y);
}

static frt_status infer(const frt_infer *c)
{
  frt_pool v = {0};
  FRT_TRY(init(&v, c->x[0], c->attr));
  c->y[0] = frt__pool_shape(c->x[0], v.h, v.w);
  return FRT_OK;
}

static frt_status forward(const frt_call *c)
{
  frt_pool v = {0};
  FRT_TRY(init(&v, c->xs[0], c->attr));
  const real *dy = FRT_IN(real, 0);
  double *plane = NULL;
  FRT_TRY(frt__plane_new("avg_pool2d_grad", v.h * v.w, &plane));
  for (int64_t i = 0; i < v.planes; i++) {
    frt__plane_clear(plane, v.h * v.w);
    for (int64_t oy = 0; oy < v.oh; oy++) {
      for (int64_t ox = 0; ox < v.ow; ox++) {
        frt_window k = frt__pool_window(&v, oy, ox, c->attr[COUNT_PAD] != 0);
        frt__window_share(plane, v.w, k, (double)*dy++);
      }
    }
    frt__plane_round(plane, v.h * v.w, FRT_OUT(real, 0) + i * v.h * v.w);
  }
  frt__free(plane);
  return FRT_OK;
}

static frt_status grad(const frt_grad_call *c)
{
  return frt__node(&frt_op_avg_pool2d, 1, c->dy, c->attr, 1, &c->dx[0]);
}

FRT_OP(avg_pool2d_grad) = {
  .name = "avg_pool2d_grad",
  .doc = "the gradient of avg_pool2d",
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
