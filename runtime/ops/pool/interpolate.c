/// interpolate -- maps resized.
///
///     pixel i looks at (i + 1/2) * H / h - 1/2 (pixel centres; align_corners = false), no
///     antialiasing
///
/// in    x     f32 or f64 [N, C, H, W]
/// out   y     [N, C, h, w]
/// attr  mode  0 nearest (floor(i H / h)), 1 bilinear, 2 bicubic (Keys, a = -0.75; edges repeat)
/// attr  h, w  height and width of y
/// grad  dx    interpolate_grad(dy)
/// errs  FRT_ESHAPE when x is not 4-D
/// from  Keys 1981, "Cubic convolution interpolation for digital image processing"
#include "ops/pool/interpolate.h"

static const frt_attr attrs[] = {FRT_RESIZE_ATTR_ROWS("y")};

static const frt_case cases[] = {
  {"nearest, up and down", 1, {{2, 3, 4, 7}}, NULL, 0, {FRT_NEAREST, 9, 3}  },
  {"bilinear, up",         1, {{2, 3, 4, 5}}, NULL, 0, {FRT_BILINEAR, 7, 11}},
  {"bilinear, down",       1, {{1, 2, 9, 8}}, NULL, 0, {FRT_BILINEAR, 4, 3} },
  {"bicubic, up",          1, {{2, 2, 4, 5}}, NULL, 0, {FRT_BICUBIC, 7, 11} },
  {"bicubic, down",        1, {{1, 2, 9, 8}}, NULL, 0, {FRT_BICUBIC, 4, 3}  },
};

static frt_status infer(const frt_infer *c)
{
  return frt__infer_resize("interpolate", "x", c);
}

static frt_status forward(const frt_call *c)
{
  const frt_shape *xs = c->xs[0], *ys = c->ys[0];
  const real *x = FRT_IN(real, 0);
  real *y = FRT_OUT(real, 0);
  int32_t mode = (int32_t)c->attr[FRT_RESIZE_MODE];
  int64_t h = xs->dim[2], w = xs->dim[3], planes = xs->dim[0] * xs->dim[1];
  for (int64_t oy = 0; oy < ys->dim[2]; oy++) {
    frt_taps ty = frt__taps(mode, h, ys->dim[2], oy);
    for (int64_t ox = 0; ox < ys->dim[3]; ox++) {
      frt_taps tx = frt__taps(mode, w, ys->dim[3], ox);
      for (int64_t i = 0; i < planes; i++) {
        double sum = 0;
        for (int32_t t = 0; t < ty.n * tx.n; t++) {
          int32_t a = t / tx.n, b = t % tx.n;
          sum += ty.weight[a] * tx.weight[b] * (double)x[(i * h + ty.at[a]) * w + tx.at[b]];
        }
        y[(i * ys->dim[2] + oy) * ys->dim[3] + ox] = (real)sum;
      }
    }
  }
  return FRT_OK;
}

static frt_status grad(const frt_grad_call *c)
{
  double attr[FRT_RESIZE_ATTRS] = {c->attr[FRT_RESIZE_MODE], (double)c->xs[0]->dim[2],
                                   (double)c->xs[0]->dim[3]};
  return frt__node(&frt_op_interpolate_grad, 1, c->dy, attr, 1, &c->dx[0]);
}

FRT_OP(interpolate) = {
  .name = "interpolate",
  .doc = "maps resized",
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

/// interpolate_grad -- the gradient of interpolate: each dy shared out over the pixels it came
/// from.
///
/// in    dy    f32 or f64 [N, C, oh, ow]
/// out   dx    [N, C, h, w]
/// attr  mode  that of interpolate
/// attr  h, w  height and width of x
/// grad  ddy   interpolate(g)
/// errs  FRT_ESHAPE when dy is not 4-D

static const frt_attr attrs_grad[] = {FRT_RESIZE_ATTR_ROWS("x")};

static const frt_case cases_grad[] = {
  {"nearest, up and down", 1, {{2, 3, 9, 3}},  NULL, 0, {FRT_NEAREST, 4, 7} },
  {"bilinear, up",         1, {{2, 3, 7, 11}}, NULL, 0, {FRT_BILINEAR, 4, 5}},
  {"bicubic, down",        1, {{1, 2, 4, 3}},  NULL, 0, {FRT_BICUBIC, 9, 8} },
};

static frt_status infer_grad(const frt_infer *c)
{
  return frt__infer_resize("interpolate_grad", "dy", c);
}

static frt_status forward_grad(const frt_call *c)
{
  const frt_shape *ys = c->xs[0], *xs = c->ys[0];
  const real *dy = FRT_IN(real, 0);
  int32_t mode = (int32_t)c->attr[FRT_RESIZE_MODE];
  int64_t h = xs->dim[2], w = xs->dim[3];
  double *plane = NULL;
  FRT_TRY(frt__plane_new("interpolate_grad", h * w, &plane));
  for (int64_t i = 0; i < xs->dim[0] * xs->dim[1]; i++) {
    frt__plane_clear(plane, h * w);
    for (int64_t oy = 0; oy < ys->dim[2]; oy++) {
      frt_taps ty = frt__taps(mode, h, ys->dim[2], oy);
      for (int64_t ox = 0; ox < ys->dim[3]; ox++) {
        frt_taps tx = frt__taps(mode, w, ys->dim[3], ox);
        double g = (double)*dy++;
        for (int32_t t = 0; t < ty.n * tx.n; t++) {
          int32_t a = t / tx.n, b = t % tx.n;
          plane[ty.at[a] * w + tx.at[b]] += ty.weight[a] * tx.weight[b] * g;
        }
      }
    }
    frt__plane_round(plane, h * w, FRT_OUT(real, 0) + i * h * w);
  }
  frt__free(plane);
  return FRT_OK;
}

static frt_status grad_grad(const frt_grad_call *c)
{
  double attr[FRT_RESIZE_ATTRS] = {c->attr[FRT_RESIZE_MODE], (double)c->xs[0]->dim[2],
                                   (double)c->xs[0]->dim[3]};
  return frt__node(&frt_op_interpolate, 1, c->dy, attr, 1, &c->dx[0]);
}

FRT_OP(interpolate_grad) = {
  .name = "interpolate_grad",
  .doc = "the gradient of interpolate",
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
