/// conv2d_grad_weight -- the gradient of conv2d by w: what each tap read, times dy.
///
/// in    x    f32 or f64 [N, C, H, W]
/// in    dy   dtype of x [N, K, oh, ow]
/// out   dw   [K, C / groups, kh, kw]
/// attr  stride, pad, dilation, groups, act  those of conv2d
/// attr  kh, kw  height and width of w
/// grad  dx   conv2d_grad_input(dy, g)
/// grad  ddy  conv2d(x, g)
/// errs  FRT_ESHAPE when sizes do not fit
/// cost  2 N K oh ow C/groups kh kw
#include "ops/conv/conv.h"

static const frt_attr attrs[] = {
  FRT_CONV_ATTRS,
  {"kh", 1, 1, 1, FRT_MAX_SIZE, "height of w"},
  {"kw", 1, 1, 1, FRT_MAX_SIZE, "width of w" },
};

// clang-format off
static const frt_case cases[] = {
  {"3x3", 2, {{2, 3, 7, 5}, {2, 4, 7, 5}}, NULL, 0, {1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 3, 3}},
  {"stride 2, one more below and right", 2, {{2, 3, 8, 8}, {2, 5, 4, 4}}, NULL, 0,
   {2, 2, 0, 0, 1, 1, 1, 1, 1, 0, 3, 3}},
  {"depthwise 5x5, stride 2", 2, {{2, 6, 9, 7}, {2, 6, 4, 4}}, NULL, 0,
   {2, 2, 1, 2, 2, 2, 1, 1, 6, 0, 5, 5}},
  {"groups, dilation, uneven strides", 2, {{1, 4, 11, 9}, {1, 6, 10, 5}}, NULL, 0,
   {1, 2, 2, 0, 1, 3, 2, 3, 2, 0, 3, 2}},
  {"depthwise 3x3, many channels", 2, {{2, 35, 13, 11}, {2, 35, 13, 11}}, NULL, 0,
   {1, 1, 1, 1, 1, 1, 1, 1, 35, 0, 3, 3}},
  {"depthwise 5x5, stride 2, one more below and right", 2, {{1, 48, 14, 12}, {1, 48, 7, 6}}, NULL, 0,
   {2, 2, 1, 1, 2, 2, 1, 1, 48, 0, 5, 5}},
  {"depthwise, two outputs per channel, dilated", 2, {{1, 5, 9, 9}, {1, 10, 9, 9}}, NULL, 0,
   {1, 1, 2, 2, 2, 2, 2, 2, 5, 0, 3, 3}},
  {"pointwise, many channels", 2, {{2, 33, 7, 5}, {2, 65, 7, 5}}, NULL, 0,
   {1, 1, 0, 0, 0, 0, 1, 1, 1, 0, 1, 1}},
  {"a photo's first layer", 2, {{2, 3, 17, 19}, {2, 24, 8, 9}}, NULL, 0,
   {2, 2, 0, 0, 1, 1, 1, 1, 1, 0, 3, 3}},
};
// clang-format on

static frt_status init(frt_conv *v, const frt_shape *x, const frt_shape *dy, const double *attr)
{
  const char *op = "conv2d_grad_weight";
  int64_t groups = (int64_t)attr[FRT_CONV_GROUPS];
  FRT_CHECK(x->ndim == 4, FRT_ESHAPE, "%s: x must be [N, C, H, W], got %s", op, frt__shape_text(x));
  FRT_CHECK(dy->ndim == 4, FRT_ESHAPE, "%s: dy must be [N, K, oh, ow], got %s", op,
            frt__shape_text(dy));
  FRT_CHECK(x->dim[1] % groups == 0, FRT_ESHAPE,
            "%s: x must have a multiple of %lld channels (groups), got %s", op, (long long)groups,
            frt__shape_text(x));
  frt_shape w = frt__shape4(x->dtype, dy->dim[1], x->dim[1] / groups, (int64_t)attr[FRT_CONV_SIZE],
                            (int64_t)attr[FRT_CONV_SIZE + 1]);
  FRT_TRY(frt__conv_init(v, op, x, &w, attr));
  return frt__conv_check_dy(v, op, dy);
}

static frt_status infer(const frt_infer *c)
{
  frt_conv v = {0};
  FRT_TRY(init(&v, c->x[0], c->x[1], c->attr));
  c->y[0] = frt__shape4(v.dtype, v.k, v.c / v.groups, v.kh, v.kw);
  return FRT_OK;
}

// What tap (ky, kx) read of the planes x and put into the planes dy.
static double tap(const frt_conv *v, const real *x, const real *dy, int64_t ky, int64_t kx)
{
  double sum = 0;
  for (int64_t n = 0; n < v->n; n++) {
    const real *from = x + n * v->c * v->h * v->w, *to = dy + n * v->k * v->oh * v->ow;
    for (int64_t oy = 0; oy < v->oh; oy++) {
      int64_t iy = frt__conv_row(v, oy, ky);
      if (iy < 0 || iy >= v->h) {
        continue;
      }
      for (int64_t ox = 0; ox < v->ow; ox++) {
        int64_t ix = frt__conv_col(v, ox, kx);
        if (ix >= 0 && ix < v->w) {
          sum += (double)from[iy * v->w + ix] * (double)to[oy * v->ow + ox];
        }
      }
    }
  }
  return sum;
}

static frt_status forward(const frt_call *c)
{
  const real *x = FRT_IN(real, 0), *dy = FRT_IN(real, 1);
  real *dw = FRT_OUT(real, 0);
  frt_conv v = {0};
  FRT_TRY(init(&v, c->xs[0], c->xs[1], c->attr));
  int64_t per_group = v.c / v.groups;
  for (int64_t k = 0; k < v.k; k++) {
    int64_t first = k / (v.k / v.groups) * per_group;
    for (int64_t i = 0; i < per_group; i++) {
      for (int64_t t = 0; t < v.kh * v.kw; t++) {
        *dw++ =
          (real)tap(&v, x + (first + i) * v.h * v.w, dy + k * v.oh * v.ow, t / v.kw, t % v.kw);
      }
    }
  }
  return FRT_OK;
}

static frt_status grad(const frt_grad_call *c)
{
  if (c->need[0]) {
    frt_ref in[2] = {c->x[1], c->dy[0]};
    double attr[FRT_CONV_SIZE + 2];
    memcpy(attr, c->attr, FRT_CONV_SIZE * sizeof *attr);
    attr[FRT_CONV_SIZE] = (double)c->xs[0]->dim[2];
    attr[FRT_CONV_SIZE + 1] = (double)c->xs[0]->dim[3];
    FRT_TRY(frt__node(&frt_op_conv2d_grad_input, 2, in, attr, 1, &c->dx[0]));
  }
  if (c->need[1]) {
    frt_ref in[2] = {c->x[0], c->dy[0]};
    FRT_TRY(frt__node(&frt_op_conv2d, 2, in, c->attr, 1, &c->dx[1]));
  }
  return FRT_OK;
}

static double flops(const frt_infer *c)
{
  frt_conv v = {0};
  return init(&v, c->x[0], c->x[1], c->attr) ? 0 : frt__conv_flops(&v);
}

FRT_OP(conv2d_grad_weight) = {
  .name = "conv2d_grad_weight",
  .doc = "the gradient of conv2d by w",
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
