/// adaptive_avg_pool2d -- means over windows chosen so that y has the size asked for.
///
///     row i is the mean of rows floor(i H / h) .. ceil((i + 1) H / h) - 1, columns likewise
///
/// in    x     f32 or f64 [N, C, H, W]
/// out   y     [N, C, h, w]
/// attr  h, w  height and width of y
/// grad  dx    adaptive_avg_pool2d_grad(dy)
/// errs  FRT_ESHAPE when x is not 4-D
#include "ops/pool/pool.h"

static const frt_attr attrs[] = {FRT_ADAPTIVE_ATTR_ROWS("y")};

static const frt_case cases[] = {
  {"to one pixel",   1, {{2, 3, 5, 7}}, NULL, 0, {1, 1}},
  {"uneven windows", 1, {{2, 3, 7, 5}}, NULL, 0, {3, 2}},
  {"larger than x",  1, {{1, 2, 3, 2}}, NULL, 0, {5, 3}},
};

static frt_status infer(const frt_infer *c)
{
  return frt__infer_plane("adaptive_avg_pool2d", "x", c, c->attr[FRT_ADAPTIVE_H],
                          c->attr[FRT_ADAPTIVE_W]);
}

static frt_status forward(const frt_call *c)
{
  const frt_shape *xs = c->xs[0];
  const real *x = FRT_IN(real, 0);
  real *y = FRT_OUT(real, 0);
  int64_t h = xs->dim[2], w = xs->dim[3], oh = (int64_t)c->attr[FRT_ADAPTIVE_H],
          ow = (int64_t)c->attr[FRT_ADAPTIVE_W];
  for (int64_t i = 0; i < xs->dim[0] * xs->dim[1]; i++) {
    for (int64_t oy = 0; oy < oh; oy++) {
      for (int64_t ox = 0; ox < ow; ox++) {
        frt_window k = frt__adaptive_window(xs, oh, ow, oy, ox);
        *y++ = (real)frt__window_mean(x + i * h * w, w, k);
      }
    }
  }
  return FRT_OK;
}

static frt_status grad(const frt_grad_call *c)
{
  double size[FRT_ADAPTIVE_ATTRS] = {(double)c->xs[0]->dim[2], (double)c->xs[0]->dim[3]};
  return frt__node(&frt_op_adaptive_avg_pool2d_grad, 1, c->dy, size, 1, &c->dx[0]);
}

FRT_OP(adaptive_avg_pool2d) = {
  .name = "adaptive_avg_pool2d",
  .doc = "means over windows chosen so that y has the size asked for",
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

/// adaptive_avg_pool2d_grad -- the gradient of adaptive_avg_pool2d: each dy shared out over its
/// window.
///
/// in    dy    f32 or f64 [N, C, oh, ow]
/// out   dx    [N, C, h, w]
/// attr  h, w  height and width of x
/// grad  ddy   adaptive_avg_pool2d(g)
/// errs  FRT_ESHAPE when dy is not 4-D

static const frt_attr attrs_grad[] = {FRT_ADAPTIVE_ATTR_ROWS("x")};

static const frt_case cases_grad[] = {
  {"from one pixel",  1, {{2, 3, 1, 1}}, NULL, 0, {5, 7}},
  {"uneven windows",  1, {{2, 3, 3, 2}}, NULL, 0, {7, 5}},
  {"smaller than dy", 1, {{1, 2, 5, 3}}, NULL, 0, {3, 2}},
};

static frt_status infer_grad(const frt_infer *c)
{
  return frt__infer_plane("adaptive_avg_pool2d_grad", "dy", c, c->attr[FRT_ADAPTIVE_H],
                          c->attr[FRT_ADAPTIVE_W]);
}

static frt_status forward_grad(const frt_call *c)
{
  const frt_shape *ys = c->xs[0];
  const real *dy = FRT_IN(real, 0);
  int64_t h = (int64_t)c->attr[FRT_ADAPTIVE_H], w = (int64_t)c->attr[FRT_ADAPTIVE_W],
          oh = ys->dim[2], ow = ys->dim[3];
  double *plane = NULL;
  FRT_TRY(frt__plane_new("adaptive_avg_pool2d_grad", h * w, &plane));
  for (int64_t i = 0; i < ys->dim[0] * ys->dim[1]; i++) {
    frt__plane_clear(plane, h * w);
    for (int64_t oy = 0; oy < oh; oy++) {
      for (int64_t ox = 0; ox < ow; ox++) {
        frt_window k = frt__adaptive_window(c->ys[0], oh, ow, oy, ox);
        frt__window_share(plane, w, k, (double)*dy++);
      }
    }
    frt__plane_round(plane, h * w, FRT_OUT(real, 0) + i * h * w);
  }
  frt__free(plane);
  return FRT_OK;
}

static frt_status grad_grad(const frt_grad_call *c)
{
  double size[FRT_ADAPTIVE_ATTRS] = {(double)c->xs[0]->dim[2], (double)c->xs[0]->dim[3]};
  return frt__node(&frt_op_adaptive_avg_pool2d, 1, c->dy, size, 1, &c->dx[0]);
}

FRT_OP(adaptive_avg_pool2d_grad) = {
  .name = "adaptive_avg_pool2d_grad",
  .doc = "the gradient of adaptive_avg_pool2d",
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
