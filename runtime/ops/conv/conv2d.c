/// conv2d -- two-dimensional convolution (correlation, as everywhere in the field).
///
///     y[n,k,i,j] = b[k] + sum over c,u,v of x[n, c, i*sh - top + u*dh, j*sw - left + v*dw] *
///     w[k,c,u,v] c runs over the channels of k's group; outside of x lie zeros
///
/// in    x         f32 or f64 [N, C, H, W]
/// in    w         dtype of x [K, C / groups, kh, kw]
/// in    b         dtype of x [K], optional
/// out   y         [N, K, (H + top + bottom - dh*(kh-1) - 1) / sh + 1, likewise in width]
/// attr  stride    pixels from window to window: down, right
/// attr  pad       zeros around x: top, left, bottom, right
/// attr  dilation  pixels from tap to tap: down, right
/// attr  groups    independent convolutions; C groups of one channel: depthwise
/// attr  act       function applied to y in the same pass; recorded as 0, set by the planner
/// grad  dx        conv2d_grad_input(dy, w)
/// grad  dw        conv2d_grad_weight(x, dy)
/// grad  db        dy summed over all but K
/// errs  FRT_ESHAPE when sizes do not fit
/// cost  2 N K oh ow C/groups kh kw
#include "device/kernel.h"
#include "ops/conv/conv.h"
#include "ops/pool/plane.h"

static const frt_attr attrs[] = {FRT_CONV_ATTR_ROWS};

// clang-format off
static const frt_case cases[] = {
  {"3x3, bias", 3, {{2, 3, 7, 5}, {4, 3, 3, 3}, {4}}, NULL, 0, {1, 1, 1, 1, 1, 1, 1, 1, 1, 0}},
  {"stride 2, one more below and right", 2, {{2, 3, 8, 8}, {5, 3, 3, 3}}, NULL, 0,
   {2, 2, 0, 0, 1, 1, 1, 1, 1, 0}},
  {"depthwise 5x5, stride 2", 3, {{2, 6, 9, 7}, {6, 1, 5, 5}, {6}}, NULL, 0,
   {2, 2, 1, 2, 2, 2, 1, 1, 6, 0}},
  {"groups, dilation, uneven strides", 2, {{1, 4, 11, 9}, {6, 2, 3, 2}}, NULL, 0,
   {1, 2, 2, 0, 1, 3, 2, 3, 2, 0}},
  {"depthwise 3x3, many channels", 3, {{2, 35, 13, 11}, {35, 1, 3, 3}, {35}}, NULL, 0,
   {1, 1, 1, 1, 1, 1, 1, 1, 35, 0}},
  {"depthwise 5x5, stride 2, one more below and right", 2, {{1, 48, 14, 12}, {48, 1, 5, 5}}, NULL, 0,
   {2, 2, 1, 1, 2, 2, 1, 1, 48, 0}},
  {"depthwise, two outputs per channel, dilated", 2, {{1, 5, 9, 9}, {10, 1, 3, 3}}, NULL, 0,
   {1, 1, 2, 2, 2, 2, 2, 2, 5, 0}},
  {"pointwise, many channels", 3, {{2, 33, 7, 5}, {65, 33, 1, 1}, {65}}, NULL, 0,
   {1, 1, 0, 0, 0, 0, 1, 1, 1, 0}},
  {"a photo's first layer", 2, {{2, 3, 17, 19}, {24, 3, 3, 3}}, NULL, 0,
   {2, 2, 0, 0, 1, 1, 1, 1, 1, 0}},
  {"pointwise", 2, {{3, 5, 3, 4}, {7, 5, 1, 1}}, NULL, 0, {1, 1, 0, 0, 0, 0, 1, 1, 1, 0}},
};
// clang-format on

static const frt_shape *bias(int32_t n_in, const frt_shape *const *x)
{
  return n_in > 2 ? x[2] : NULL;
}

static frt_status infer(const frt_infer *c)
{
  const frt_shape *b = bias(c->n_in, c->x);
  frt_conv v = {0};
  FRT_TRY(frt__conv_init(&v, "conv2d", c->x[0], c->x[1], c->attr));
  FRT_CHECK(!b || (b->ndim == 1 && b->dim[0] == v.k && b->dtype == v.dtype), FRT_ESHAPE,
            "conv2d: b must be %s [%lld], got %s %s", frt__dtype_name(v.dtype), (long long)v.k,
            frt__dtype_name(b->dtype), frt__shape_text(b));
  c->y[0] = frt__shape4(v.dtype, v.n, v.k, v.oh, v.ow);
  return FRT_OK;
}

static double act(int32_t kind, double x)
{
  switch (kind) {
  case FRT_ACT_SILU:
    return x / (1 + exp(-x));
  case FRT_ACT_RELU:
    return x > 0 ? x : 0;
  case FRT_ACT_RELU6:
    return x > 6 ? 6 : x > 0 ? x : 0;
  case FRT_ACT_SIGMOID:
    return 1 / (1 + exp(-x));
  case FRT_ACT_GELU:
    return 0.5 * x * (1 + erf(x * 0.70710678118654752440));
  default:
    return x;
  }
}

// The sum of one window: `x` is the first channel of the group, `w` the output's taps.
static double window(const frt_conv *v, const real *x, const real *w, int64_t oy, int64_t ox)
{
  double sum = 0;
  for (int64_t c = 0; c < v->c / v->groups; c++) {
    for (int64_t ky = 0; ky < v->kh; ky++) {
      int64_t iy = frt__conv_row(v, oy, ky);
      if (iy < 0 || iy >= v->h) {
        continue;
      }
      for (int64_t kx = 0; kx < v->kw; kx++) {
        int64_t ix = frt__conv_col(v, ox, kx);
        if (ix >= 0 && ix < v->w) {
          sum += (double)x[(c * v->h + iy) * v->w + ix] * (double)w[(c * v->kh + ky) * v->kw + kx];
        }
      }
    }
  }
  return sum;
}

static frt_status forward(const frt_call *c)
{
  const real *x = FRT_IN(real, 0), *w = FRT_IN(real, 1);
  const real *b = c->n_in > 2 ? FRT_IN(real, 2) : NULL;
  real *y = FRT_OUT(real, 0);
  frt_conv v = {0};
  FRT_TRY(frt__conv_init(&v, "conv2d", c->xs[0], c->xs[1], c->attr));
  int32_t kind = (int32_t)c->attr[FRT_CONV_ACT];
  int64_t per_group = v.c / v.groups, taps = per_group * v.kh * v.kw;
  for (int64_t n = 0; n < v.n; n++) {
    for (int64_t k = 0; k < v.k; k++) {
      int64_t first = k / (v.k / v.groups) * per_group;
      const real *from = x + (n * v.c + first) * v.h * v.w;
      double bias = b ? (double)b[k] : 0;
      for (int64_t oy = 0; oy < v.oh; oy++) {
        for (int64_t ox = 0; ox < v.ow; ox++) {
          *y++ = (real)act(kind, bias + window(&v, from, w + k * taps, oy, ox));
        }
      }
    }
  }
  return FRT_OK;
}

static frt_status grad(const frt_grad_call *c)
{
  double attr[FRT_CONV_ATTRS];
  memcpy(attr, c->attr, FRT_CONV_SIZE * sizeof *attr);
  FRT_CHECK(attr[FRT_CONV_ACT] == 0, FRT_EARG, "conv2d: with a fused function it has no gradient");
  if (c->need[0]) {
    frt_ref in[2] = {c->dy[0], c->x[1]};
    attr[FRT_CONV_SIZE] = (double)c->xs[0]->dim[2];
    attr[FRT_CONV_SIZE + 1] = (double)c->xs[0]->dim[3];
    FRT_TRY(frt__node(&frt_op_conv2d_grad_input, 2, in, attr, 1, &c->dx[0]));
  }
  if (c->need[1]) {
    frt_ref in[2] = {c->x[0], c->dy[0]};
    attr[FRT_CONV_SIZE] = (double)c->xs[1]->dim[2];
    attr[FRT_CONV_SIZE + 1] = (double)c->xs[1]->dim[3];
    FRT_TRY(frt__node(&frt_op_conv2d_grad_weight, 2, in, attr, 1, &c->dx[1]));
  }
  if (c->n_in > 2 && c->need[2]) {
    double sum[2] = {13, 0}; // all dimensions but the second
    FRT_TRY(frt__node(&frt_op_sum, 1, c->dy, sum, 1, &c->dx[2]));
  }
  return FRT_OK;
}

static double flops(const frt_infer *c)
{
  frt_conv v = {0};
  return frt__conv_init(&v, "conv2d", c->x[0], c->x[1], c->attr) ? 0 : frt__conv_flops(&v);
}

FRT_OP(conv2d) = {
  .name = "conv2d",
  .doc = "two-dimensional convolution",
  .n_in = 3,
  .n_out = 1,
  .n_optional = 1,
  .attr = attrs,
  .n_attr = FRT_COUNT(attrs),
  .cases = cases,
  .n_case = FRT_COUNT(cases),
  .infer = infer,
  .forward = forward,
  .grad = grad,
  .flops = flops,
};

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

static const frt_attr attrs_input[] = {
  FRT_CONV_ATTR_ROWS,
  {"h", 1, 1, 1, FRT_MAX_SIZE, "height of x"},
  {"w", 1, 1, 1, FRT_MAX_SIZE, "width of x" },
};

// clang-format off
static const frt_case cases_input[] = {
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

static frt_status init_input(frt_conv *v, const frt_shape *dy, const frt_shape *w,
                             const double *attr)
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

static frt_status infer_input(const frt_infer *c)
{
  frt_conv v = {0};
  FRT_TRY(init_input(&v, c->x[0], c->x[1], c->attr));
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

static frt_status forward_input(const frt_call *c)
{
  const real *dy = FRT_IN(real, 0), *w = FRT_IN(real, 1);
  real *dx = FRT_OUT(real, 0);
  frt_conv v = {0};
  FRT_TRY(init_input(&v, c->xs[0], c->xs[1], c->attr));
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

static frt_status grad_input(const frt_grad_call *c)
{
  if (c->need[0]) {
    frt_ref in[2] = {c->dy[0], c->x[1]};
    FRT_TRY(frt__node(&frt_op_conv2d, 2, in, c->attr, 1, &c->dx[0]));
  }
  if (c->need[1]) {
    frt_ref in[2] = {c->dy[0], c->x[0]};
    double attr[FRT_CONV_ATTRS];
    memcpy(attr, c->attr, FRT_CONV_SIZE * sizeof *attr);
    attr[FRT_CONV_SIZE] = (double)c->xs[1]->dim[2];
    attr[FRT_CONV_SIZE + 1] = (double)c->xs[1]->dim[3];
    FRT_TRY(frt__node(&frt_op_conv2d_grad_weight, 2, in, attr, 1, &c->dx[1]));
  }
  return FRT_OK;
}

static double flops_input(const frt_infer *c)
{
  frt_conv v = {0};
  return init_input(&v, c->x[0], c->x[1], c->attr) ? 0 : frt__conv_flops(&v);
}

FRT_OP(conv2d_grad_input) = {
  .name = "conv2d_grad_input",
  .doc = "the gradient of conv2d by x",
  .n_in = 2,
  .n_out = 1,
  .attr = attrs_input,
  .n_attr = FRT_COUNT(attrs_input),
  .cases = cases_input,
  .n_case = FRT_COUNT(cases_input),
  .infer = infer_input,
  .forward = forward_input,
  .grad = grad_input,
  .flops = flops_input,
};

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

static const frt_attr attrs_weight[] = {
  FRT_CONV_ATTR_ROWS,
  {"kh", 1, 1, 1, FRT_MAX_SIZE, "height of w"},
  {"kw", 1, 1, 1, FRT_MAX_SIZE, "width of w" },
};

// clang-format off
static const frt_case cases_weight[] = {
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

static frt_status init_weight(frt_conv *v, const frt_shape *x, const frt_shape *dy,
                              const double *attr)
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

static frt_status infer_weight(const frt_infer *c)
{
  frt_conv v = {0};
  FRT_TRY(init_weight(&v, c->x[0], c->x[1], c->attr));
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

static frt_status forward_weight(const frt_call *c)
{
  const real *x = FRT_IN(real, 0), *dy = FRT_IN(real, 1);
  real *dw = FRT_OUT(real, 0);
  frt_conv v = {0};
  FRT_TRY(init_weight(&v, c->xs[0], c->xs[1], c->attr));
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

static frt_status grad_weight(const frt_grad_call *c)
{
  if (c->need[0]) {
    frt_ref in[2] = {c->x[1], c->dy[0]};
    double attr[FRT_CONV_ATTRS];
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

static double flops_weight(const frt_infer *c)
{
  frt_conv v = {0};
  return init_weight(&v, c->x[0], c->x[1], c->attr) ? 0 : frt__conv_flops(&v);
}

FRT_OP(conv2d_grad_weight) = {
  .name = "conv2d_grad_weight",
  .doc = "the gradient of conv2d by w",
  .n_in = 2,
  .n_out = 1,
  .attr = attrs_weight,
  .n_attr = FRT_COUNT(attrs_weight),
  .cases = cases_weight,
  .n_case = FRT_COUNT(cases_weight),
  .infer = infer_weight,
  .forward = forward_weight,
  .grad = grad_weight,
  .flops = flops_weight,
};
