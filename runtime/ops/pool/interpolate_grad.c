/// interpolate_grad -- the gradient of interpolate: each dy shared out over the pixels it came
/// from.
///
/// in    dy    f32 or f64 [N, C, oh, ow]
/// out   dx    [N, C, h, w]
/// attr  mode  that of interpolate
/// attr  h, w  height and width of x
/// grad  ddy   interpolate(g)
/// errs  FRT_ESHAPE when dy is not 4-D
#include "ops/pool/interpolate.h"

static const frt_attr attrs[] = {
  {"mode", 1, FRT_BILINEAR, FRT_NEAREST, FRT_BICUBIC,  "0 nearest, 1 bilinear, 2 bicubic"},
  {"h",    1, 1,            1,           FRT_MAX_SIZE, "height of x"                     },
  {"w",    1, 1,            1,           FRT_MAX_SIZE, "width of x"                      },
};

static const frt_case cases[] = {
  {"nearest, up and down", 1, {{2, 3, 9, 3}},  NULL, 0, {FRT_NEAREST, 4, 7} },
  {"bilinear, up",         1, {{2, 3, 7, 11}}, NULL, 0, {FRT_BILINEAR, 4, 5}},
  {"bicubic, down",        1, {{1, 2, 4, 3}},  NULL, 0, {FRT_BICUBIC, 9, 8} },
};

static frt_status infer(const frt_infer *c)
{
  return frt__infer_resize("interpolate_grad", "dy", c);
}

static frt_status forward(const frt_call *c)
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

static frt_status grad(const frt_grad_call *c)
{
  double attr[3] = {c->attr[FRT_RESIZE_MODE], (double)c->xs[0]->dim[2], (double)c->xs[0]->dim[3]};
  return frt__node(&frt_op_interpolate, 1, c->dy, attr, 1, &c->dx[0]);
}

FRT_OP(interpolate_grad) = {
  .name = "interpolate_grad",
  .doc = "the gradient of interpolate",
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
