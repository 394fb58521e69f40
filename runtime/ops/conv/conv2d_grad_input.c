/// conv2d_grad_input -- the gradient of conv2d by x: every window puts dy * w back where it read.
///
/// in    dy   f32 or f64 [N, K, oh, ow]
/// in    w    dtype of dy [K, C / groups, kh, kw]
/// out   dx   [N, C, h, w]
/// attr  stride, pad, dilation, groups, act  those of conv2d
/// attr  h, w  height and width of x
/// grad  ddy  conv2d(g, w)
/// grad  dw   conv2d_grad_weight(g, dy)
/// errs  FRT_ESHAPE when sizes do not fit
/// cost  2 N K oh ow C/groups kh kw
#include "ops/conv/conv.h"
#include "ops/pool/plane.h"

static const frt_attr attrs[] = {
  FRT_CONV_ATTRS,
  {"h", 1, 1, 1, FRT_MAX_SIZE, "height of x"},
  {"w", 1, 1, 1, FRT_MAX_SIZE, "width of x" },
};

// clang-format off
static const frt_case cases[] = {
  {"3x3", 2, {{2, 4, 7, 5}, {4, 3, 3, 3}}, NULL, 0, {1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 7, 5}},
  {"stride 2, rows that no window reads", 2, {{2, 5, 3, 4}, {5, 3, 3, 3}}, NULL, 0,
   {2, 2, 0, 0, 0, 1, 1, 1, 1, 0, 8, 8}},
  {"depthwise 5x5, stride 2", 2, {{2, 6, 4, 4}, {6, 1, 5, 5}}, NULL, 0,
   {2, 2, 1, 2, 2, 2, 1, 1, 6, 0, 9, 7}},
  {"groups, dilation, uneven strides", 2, {{1, 6, 10, 5}, {6, 2, 3, 2}}, NULL, 0,
   {1, 2, 2, 0, 1, 3, 2, 3, 2, 0, 11, 9}},
  {"depthwise 3x3, many channels", 2, {{2, 35, 13, 11}, {35, 1, 3, 3}}, NULL, 0,
   {1, 1, 1, 1, 1, 1, 1, 1, 35, 0, 13, 11}},
  {"depthwise 5x5, stride 2, one more below and right", 2, {{1, 48, 7, 6}, {48, 1, 5, 5}}, NULL, 0,
   {2, 2, 1, 1, 2, 2, 1, 1, 48, 0, 14, 12}},
  {"depthwise, two outputs per channel, dilated", 2, {{1, 10, 9, 9}, {10, 1, 3, 3}}, NULL, 0,
   {1, 1, 2, 2, 2, 2, 2, 2, 5, 0, 9, 9}},
  {"pointwise, many channels", 2, {{2, 65, 7, 5}, {65, 33, 1, 1}}, NULL, 0,
   {1, 1, 0, 0, 0, 0, 1, 1, 1, 0, 7, 5}},
};
// clang-format on

static frt_status init(frt_conv *v, const frt_shape *dy, const frt_shape *w, const double *attr)
{
  const char *op = "conv2d_grad_input";
  FRT_CHECK(dy->ndim == 4, FRT_ESHAPE, "%s: dy must be [N, K, oh, ow], got %s", op,
            frt__shape_text(dy));
  FRT_CHECK(w->ndim == 4, FRT_ESHAPE, "%s: w must be [K, C / groups, kh, kw], got %s", op,
            frt__shape_text(w));
  frt_shape x = frt__shape4(dy->dtype, dy->dim[0], w->dim[1] * (int64_t)attr[FRT_CONV_GROUPS],
                            (int64_t)attr[FRT_CONV_SIZE], (int64_t)attr[FRT_CONV_SIZE + 1]);
  FRT_TRY(frt__conv_init(v, op, &x, w, attr));
  return frt__conv_check_dy(v, op, dy);
}

static frt_status infer(const frt_infer *c)
{
  frt_conv v = {0};
  FRT_TRY(init(&v, c->x[0], c->x[1], c->attr));
  c->y[0] = frt__shape4(v.dtype, v.n, v.c, v.h, v.w);
  return FRT_OK;
}

// Adds what one output plane gives to one input plane.
static void spread(const frt_conv *v, const real *dy, const real *w, double *dx)
{
  for (int64_t oy = 0; oy < v->oh; oy++) {
    for (int64_t ky = 0; ky < v->kh; ky++) {
      int64_t iy = frt__conv_row(v, oy, ky);
      if (iy < 0 || iy >= v->h) {
        continue;
      }
      for (int64_t ox = 0; ox < v->ow; ox++) {
        for (int64_t kx = 0; kx < v->kw; kx++) {
          int64_t ix = frt__conv_col(v, ox, kx);
          if (ix >= 0 && ix < v->w) {
            dx[iy * v->w + ix] += (double)dy[oy * v->ow + ox] * (double)w[ky * v->kw + kx];
          }
        }
      }
    }
  }
}

static frt_status forward(const frt_call *c)
{
  const real *dy = FRT_IN(real, 0), *w = FRT_IN(real, 1);
  real *dx = FRT_OUT(real, 0);
  frt_conv v = {0};
  FRT_TRY(init(&v, c->xs[0], c->xs[1], c->attr));
  int64_t per_group = v.c / v.groups, out_group = v.k / v.groups, pixels = v.h * v.w;
  double *plane = NULL;
  FRT_TRY(frt__plane_new("conv2d_grad_input", pixels, &plane));
  for (int64_t i = 0; i < v.n * v.c; i++) {
    int64_t n = i / v.c, group = i % v.c / per_group, c_in = i % v.c % per_group;
    frt__plane_clear(plane, pixels);
    for (int64_t k = group * out_group; k < (group + 1) * out_group; k++) {
      spread(&v, dy + (n * v.k + k) * v.oh * v.ow, w + (k * per_group + c_in) * v.kh * v.kw, plane);
    }
    frt__plane_round(plane, pixels, dx + i * pixels);
  }
  frt__free(plane);
  return FRT_OK;
}

static frt_status grad(const frt_grad_call *c)
{
  if (c->need[0]) {
    frt_ref in[2] = {c->dy[0], c->x[1]};
    FRT_TRY(frt__node(&frt_op_conv2d, 2, in, c->attr, 1, &c->dx[0]));
  }
  if (c->need[1]) {
    frt_ref in[2] = {c->dy[0], c->x[0]};
    double attr[FRT_CONV_SIZE + 2];
    memcpy(attr, c->attr, FRT_CONV_SIZE * sizeof *attr);
    attr[FRT_CONV_SIZE] = (double)c->xs[1]->dim[2];
    attr[FRT_CONV_SIZE + 1] = (double)c->xs[1]->dim[3];
    FRT_TRY(frt__node(&frt_op_conv2d_grad_weight, 2, in, attr, 1, &c->dx[1]));
  }
  return FRT_OK;
}

static double flops(const frt_infer *c)
{
  frt_conv v = {0};
  return init(&v, c->x[0], c->x[1], c->attr) ? 0 : frt__conv_flops(&v);
}

FRT_OP(conv2d_grad_input) = {
  .name = "conv2d_grad_input",
  .doc = "the gradient of conv2d by x",
  .n_in = 2,
  .n_out = 1,
  .attr = attrs,
  .n_attr = FRT_COUNT(attrs),
  .cases = cases,
  .n_case = FRT_COUNT(cases),
  .infer = infer,
  .forward = forward,
  .grad = grad,
  .flops = flops,
};
