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
  FRT_POOL_ATTRS,
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
  frt_pool v = {0};
  FRT_TRY(frt__pool_init(&v, "avg_pool2d", c->x[0], c->attr));
  c->y[0] = frt__pool_shape(c->x[0], v.oh, v.ow);
  return FRT_OK;
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
        frt_window k = frt__pool_window(&v, oy, ox, c->attr[FRT_POOL_N] != 0);
        *y++ = (real)frt__window_mean(x + i * v.h * v.w, v.w, k);
      }
    }
  }
  return FRT_OK;
}

static frt_status grad(const frt_grad_call *c)
{
  double attr[FRT_POOL_N + 3];
  memcpy(attr, c->attr, (FRT_POOL_N + 1) * sizeof *attr);
  attr[FRT_POOL_N + 1] = (double)c->xs[0]->dim[2];
  attr[FRT_POOL_N + 2] = (double)c->xs[0]->dim[3];
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
