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
#include "device/backend.h"
#include "ops/conv/conv.h"

static const frt_attr attrs[] = {FRT_CONV_ATTRS};

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
  double attr[FRT_CONV_SIZE + 2];
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
