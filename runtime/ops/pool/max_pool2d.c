/// max_pool2d -- the largest number of each window; NaN when there is one.
///
/// in    x       f32 or f64 [N, C, H, W]
/// out   y       [N, C, (H + top + bottom - kh) / sh + 1, likewise in width]
/// attr  kernel  height and width of a window
/// attr  stride  pixels from window to window: down, right
/// attr  pad     -infinity around x: top, left, bottom, right; each below the kernel
/// grad  dx      max_pool2d_grad(x, dy): the first largest number of a window gets all
/// errs  FRT_ESHAPE when sizes do not fit
#include "ops/pool/pool.h"

static const frt_attr attrs[] = {FRT_POOL_ATTR_ROWS};

// clang-format off
static const frt_case cases[] = {
  {"2x2", 1, {{2, 3, 6, 4}}, NULL, 0, {2, 2, 2, 2, 0, 0, 0, 0}},
  {"3x3, overlapping, padded", 1, {{2, 3, 7, 5}}, NULL, 0, {3, 3, 2, 2, 1, 1, 1, 1}},
  {"uneven", 1, {{1, 2, 5, 6}}, NULL, 0, {3, 2, 2, 1, 1, 0, 2, 1}},
  {"whole map", 1, {{2, 3, 5, 7}}, NULL, 0, {5, 7, 1, 1, 0, 0, 0, 0}},
  {"many channels", 1, {{2, 35, 9, 11}}, NULL, 0, {3, 3, 2, 2, 1, 1, 1, 1}},
};
// clang-format on

static frt_status infer(const frt_infer *c)
{
  return frt__infer_pool("max_pool2d", c);
}

static real largest(const real *plane, int64_t width, frt_window k)
{
  real top = -(real)INFINITY;
  for (int64_t y = k.y0; y < k.y1; y++) {
    for (int64_t x = k.x0; x < k.x1; x++) {
      real at = plane[y * width + x];
      top = at > top || at != at ? at : top;
    }
  }
  return top;
}

static frt_status forward(const frt_call *c)
{
  frt_pool v = {0};
  FRT_TRY(frt__pool_init(&v, "max_pool2d", c->xs[0], c->attr));
  const real *x = FRT_IN(real, 0);
  real *y = FRT_OUT(real, 0);
  for (int64_t i = 0; i < v.planes; i++) {
    for (int64_t oy = 0; oy < v.oh; oy++) {
      for (int64_t ox = 0; ox < v.ow; ox++) {
        *y++ = largest(x + i * v.h * v.w, v.w, frt__pool_window(&v, oy, ox, false));
      }
    }
  }
  return FRT_OK;
}

static frt_status grad(const frt_grad_call *c)
{
  frt_ref in[2] = {c->x[0], c->dy[0]};
  return frt__node(&frt_op_max_pool2d_grad, 2, in, c->attr, 1, &c->dx[0]);
}

FRT_OP(max_pool2d) = {
  .name = "max_pool2d",
  .doc = "the largest number of each window",
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

/// max_pool2d_grad -- the gradient of max_pool2d: each dy to the first largest number of its
/// window.
///
/// in    x     f32 or f64 [N, C, H, W]
/// in    dy    dtype of x [N, C, oh, ow]
/// out   dx    shape of x
/// attr  kernel, stride, pad  those of max_pool2d
/// grad  none
/// errs  FRT_ESHAPE when sizes do not fit

static const frt_attr attrs_grad[] = {FRT_POOL_ATTR_ROWS};

// clang-format off
static const frt_case cases_grad[] = {
  {"2x2", 2, {{2, 3, 6, 4}, {2, 3, 3, 2}}, NULL, 0, {2, 2, 2, 2, 0, 0, 0, 0}},
  {"3x3, overlapping, padded", 2, {{2, 3, 7, 5}, {2, 3, 4, 3}}, NULL, 0, {3, 3, 2, 2, 1, 1, 1, 1}},
  {"uneven", 2, {{1, 2, 5, 6}, {1, 2, 3, 6}}, NULL, 0, {3, 2, 2, 1, 1, 0, 2, 1}},
};
// clang-format on

static frt_status infer_grad(const frt_infer *c)
{
  frt_pool v = {0};
  FRT_TRY(frt__pool_init(&v, "max_pool2d_grad", c->x[0], c->attr));
  frt_shape y = frt__pool_shape(c->x[0], v.oh, v.ow);
  FRT_TRY(frt__check_shape("max_pool2d_grad", "dy", c->x[1], &y, ""));
  return frt__infer_same(c);
}

static int64_t first_largest(const real *plane, int64_t width, frt_window k)
{
  int64_t best = k.y0 * width + k.x0;
  for (int64_t y = k.y0; y < k.y1; y++) {
    for (int64_t x = k.x0; x < k.x1; x++) {
      real at = plane[y * width + x], top = plane[best];
      best = at > top || (at != at && top == top) ? y * width + x : best;
    }
  }
  return best;
}

static frt_status forward_grad(const frt_call *c)
{
  frt_pool v = {0};
  FRT_TRY(frt__pool_init(&v, "max_pool2d_grad", c->xs[0], c->attr));
  const real *x = FRT_IN(real, 0), *dy = FRT_IN(real, 1);
  double *plane = NULL;
  FRT_TRY(frt__plane_new("max_pool2d_grad", v.h * v.w, &plane));
  for (int64_t i = 0; i < v.planes; i++) {
    frt__plane_clear(plane, v.h * v.w);
    for (int64_t oy = 0; oy < v.oh; oy++) {
      for (int64_t ox = 0; ox < v.ow; ox++) {
        frt_window k = frt__pool_window(&v, oy, ox, false);
        plane[first_largest(x + i * v.h * v.w, v.w, k)] += (double)*dy++;
      }
    }
    frt__plane_round(plane, v.h * v.w, FRT_OUT(real, 0) + i * v.h * v.w);
  }
  frt__free(plane);
  return FRT_OK;
}

FRT_OP(max_pool2d_grad) = {
  .name = "max_pool2d_grad",
  .doc = "the gradient of max_pool2d",
  .n_in = 2,
  .n_out = 1,
  .attr = attrs_grad,
  .n_attr = FRT_COUNT(attrs_grad),
  .cases = cases_grad,
  .n_case = FRT_COUNT(cases_grad),
  .infer = infer_grad,
  .forward = forward_grad,
};
