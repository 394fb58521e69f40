/// max_pool2d_grad -- the gradient of max_pool2d: each dy to the first largest number of its
/// window.
///
/// in    x     f32 or f64 [N, C, H, W]
/// in    dy    dtype of x [N, C, oh, ow]
/// out   dx    shape of x
/// attr  kernel, stride, pad  those of max_pool2d
/// grad  none
/// errs  FRT_ESHAPE when sizes do not fit
#include "ops/pool/pool.h"

static const frt_attr attrs[] = {FRT_POOL_ATTRS};

// clang-format off
static const frt_case cases[] = {
  {"2x2", 2, {{2, 3, 6, 4}, {2, 3, 3, 2}}, NULL, 0, {2, 2, 2, 2, 0, 0, 0, 0}},
  {"3x3, overlapping, padded", 2, {{2, 3, 7, 5}, {2, 3, 4, 3}}, NULL, 0, {3, 3, 2, 2, 1, 1, 1, 1}},
  {"uneven", 2, {{1, 2, 5, 6}, {1, 2, 3, 6}}, NULL, 0, {3, 2, 2, 1, 1, 0, 2, 1}},
};
// clang-format on

static frt_status infer(const frt_infer *c)
{
  frt_pool v = {0};
  FRT_TRY(frt__pool_init(&v, "max_pool2d_grad", c->x[0], c->attr));
  frt_shape y = frt__pool_shape(c->x[0], v.oh, v.ow);
  FRT_TRY(frt__pool_check_dy("max_pool2d_grad", c->x[1], &y));
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

static frt_status forward(const frt_call *c)
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
  .attr = attrs,
  .n_attr = FRT_COUNT(attrs),
  .cases = cases,
  .n_case = FRT_COUNT(cases),
  .infer = infer,
  .forward = forward,
};
