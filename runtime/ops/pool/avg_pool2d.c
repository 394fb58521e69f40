/// avg_pool2d -- the mean of each window.
///
/// in    x       f32 or f64 [N, C, H, W]
/// out   y       [N, C, (H + top + bottom - kh) / sh + 1, likewise in width]
/// attr  kernel  height and width of a window
/// attr  stride  pixels from window to window: down, right
/// attr  pad     zeros around x: top, left, bottom, right; each below the kernel
/// attr  count_include_pad  1: divide by the whole window, 0: by what of it lies in x
/// grad  dx      avg_pool2d_grad(dy)
/// errs  FRT_ESHAPE when sizes do not fit
#include "ops/pool/pool.h"

static const frt_attr attrs[] = {
  FRT_POOL_ATTR_ROWS,
  {"count_include_pad", 1, 1, 0, 1, "1: divide by the whole window"},
};

// clang-format off
static const frt_case cases[] = {
  {"2x2", 1, {{2, 3, 6, 4}}, NULL, 0, {2, 2, 2, 2, 0, 0, 0, 0, 1}},
  {"3x3, overlapping, padded", 1, {{2, 3, 7, 5}}, NULL, 0, {3, 3, 2, 2, 1, 1, 1, 1, 1}},
  {"padding not counted", 1, {{1, 2, 5, 6}}, NULL, 0, {3, 2, 2, 1, 1, 0, 2, 1, 0}},
  {"whole map", 1, {{2, 3, 5, 7}}, NULL, 0, {5, 7, 1, 1, 0, 0, 0, 0, 1}},
  {"many channels", 1, {{2, 35, 9, 11}}, NULL, 0, {3, 3, 2, 2, 1, 1, 1, 1, 1}},
};
// clang-format on

static frt_status infer(const frt_infer *c)
{
  return frt__infer_pool("avg_pool2d", c);
}

static frt_status forward(const frt_call *c)
{
  frt_pool v = {0};
  FRT_TRY(frt__pool_init(&v, "avg_pool2d", c->xs[0], c->attr));
  const real *x = FRT_IN(real, 0);
  real *y = FRT_OUT(real, 0);
  for (int64_t i = 0; i < v.planes; i++) {
    for (int64_t oy = 0; oy < v.oh; oy++) {
      for (int64_t ox = 0; ox < v.ow; ox++) {
        frt_window k = frt__pool_window(&v, oy, ox, c->attr[FRT_POOL_COUNT_PAD] != 0);
        *y++ = (real)frt__window_mean(x + i * v.h * v.w, v.w, k);
      }
    }
  }
  return FRT_OK;
}

static frt_status grad(const frt_grad_call *c)
{
  double attr[FRT_POOL_AVG_GRAD_ATTRS];
  memcpy(attr, c->attr, FRT_POOL_SIZE * sizeof *attr);
  attr[FRT_POOL_SIZE] = (double)c->xs[0]->dim[2];
  attr[FRT_POOL_SIZE + 1] = (double)c->xs[0]->dim[3];
  return frt__node(&frt_op_avg_pool2d_grad, 1, c->dy, attr, 1, &c->dx[0]);
}

FRT_OP(avg_pool2d) = {
  .name = "avg_pool2d",
  .doc = "the mean of each window",
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

/// avg_pool2d_grad -- the gradient of avg_pool2d: each dy shared out over its window.
///
/// in    dy    f32 or f64 [N, C, oh, ow]
/// out   dx    [N, C, h, w]
/// attr  kernel, stride, pad, count_include_pad  those of avg_pool2d
/// attr  h, w  height and width of x
/// grad  ddy   avg_pool2d(g)
/// errs  FRT_ESHAPE when sizes do not fit

static const frt_attr attrs_grad[] = {
  FRT_POOL_ATTR_ROWS,
  {"count_include_pad", 1, 1, 0, 1,            "1: divide by the whole window"},
  {"h",                 1, 1, 1, FRT_MAX_SIZE, "height of x"                  },
  {"w",                 1, 1, 1, FRT_MAX_SIZE, "width of x"                   },
};

// clang-format off
static const frt_case cases_grad[] = {
  {"2x2", 1, {{2, 3, 3, 2}}, NULL, 0, {2, 2, 2, 2, 0, 0, 0, 0, 1, 6, 4}},
  {"3x3, overlapping, padded", 1, {{2, 3, 4, 3}}, NULL, 0, {3, 3, 2, 2, 1, 1, 1, 1, 1, 7, 5}},
  {"padding not counted", 1, {{1, 2, 3, 6}}, NULL, 0, {3, 2, 2, 1, 1, 0, 2, 1, 0, 5, 6}},
};
// clang-format on

static frt_status init_grad(frt_pool *v, const frt_shape *dy, const double *attr)
{
  FRT_TRY(frt__check_map("avg_pool2d_grad", "dy", dy));
  frt_shape x = frt__pool_shape(dy, (int64_t)attr[FRT_POOL_SIZE], (int64_t)attr[FRT_POOL_SIZE + 1]);
  FRT_TRY(frt__pool_init(v, "avg_pool2d_grad", &x, attr));
  frt_shape y = frt__pool_shape(dy, v->oh, v->ow);
  return frt__check_shape("avg_pool2d_grad", "dy", dy, &y, "");
}

static frt_status infer_grad(const frt_infer *c)
{
  frt_pool v = {0};
  FRT_TRY(init_grad(&v, c->x[0], c->attr));
  c->y[0] = frt__pool_shape(c->x[0], v.h, v.w);
  return FRT_OK;
}

static frt_status forward_grad(const frt_call *c)
{
  frt_pool v = {0};
  FRT_TRY(init_grad(&v, c->xs[0], c->attr));
  const real *dy = FRT_IN(real, 0);
  double *plane = NULL;
  FRT_TRY(frt__plane_new("avg_pool2d_grad", v.h * v.w, &plane));
  for (int64_t i = 0; i < v.planes; i++) {
    frt__plane_clear(plane, v.h * v.w);
    for (int64_t oy = 0; oy < v.oh; oy++) {
      for (int64_t ox = 0; ox < v.ow; ox++) {
        frt_window k = frt__pool_window(&v, oy, ox, c->attr[FRT_POOL_COUNT_PAD] != 0);
        frt__window_share(plane, v.w, k, (double)*dy++);
      }
    }
    frt__plane_round(plane, v.h * v.w, FRT_OUT(real, 0) + i * v.h * v.w);
  }
  frt__free(plane);
  return FRT_OK;
}

static frt_status grad_grad(const frt_grad_call *c)
{
  return frt__node(&frt_op_avg_pool2d, 1, c->dy, c->attr, 1, &c->dx[0]);
}

FRT_OP(avg_pool2d_grad) = {
  .name = "avg_pool2d_grad",
  .doc = "the gradient of avg_pool2d",
  .n_in = 1,
  .n_out = 1,
  .attr = attrs_grad,
  .n_attr = FRT_COUNT(attrs_grad),
  .cases = cases_grad,
  .n_case = FRT_COUNT(cases_grad),
  .infer = infer_grad,
  .forward = forward_grad,
  .grad = grad_grad,
};
