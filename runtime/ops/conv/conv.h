// conv.h -- attributes of convolutions and matrix products; what conv2d and its two gradients
// share: the sizes their attributes lead to, checks.
#pragma once
#include "ops/shape/shape.h"

enum {
  FRT_CONV_STRIDE = 0,   // down, right
  FRT_CONV_PAD = 2,      // top, left, bottom, right: zeros
  FRT_CONV_DILATION = 6, // down, right
  FRT_CONV_GROUPS = 8,
  FRT_CONV_ACT = 9,
  FRT_CONV_SIZE = 10, // the gradients: what they give back, height and width
  FRT_CONV_ATTRS = 12,
};
enum { FRT_MATMUL_TA, FRT_MATMUL_TB, FRT_MATMUL_ATTRS };
#define FRT_CONV_ATTR_ROWS                                                                         \
  {"stride", 2, 1, 1, 65536, "pixels from window to window: down, right"},                         \
    {"pad", 4, 0, 0, 65536, "zeros around x: top, left, bottom, right"},                           \
    {"dilation", 2, 1, 1, 65536, "pixels from tap to tap: down, right"},                           \
    {"groups", 1, 1, 1, 65536, "channels are split in so many independent convolutions"},          \
  {                                                                                                \
    "act", 1, 0, 0, 5,                                                                             \
      "what follows in the same pass: 0 none, 1 silu, 2 relu, 3 relu6, "                           \
      "4 sigmoid, 5 gelu; set by the planner"                                                      \
  }

// x [n, c, h, w] through w [k, c / groups, kh, kw] to y [n, k, oh, ow].
typedef struct frt_conv {
  int32_t dtype;
  int64_t n, c, h, w, k, kh, kw, oh, ow, sh, sw, top, left, dh, dw, groups;
} frt_conv;

static inline frt_status frt__conv_size(const char *op, const char *what, int64_t size,
                                        double before, double after, double dilation,
                                        int64_t kernel, double stride, int64_t *out)
{
  int64_t padded = size + (int64_t)before + (int64_t)after;
  int64_t reach = (int64_t)dilation * (kernel - 1) + 1;
  FRT_CHECK(kernel > 0 && reach <= padded, FRT_ESHAPE,
            "%s: the window must fit into x with its padding, got %s %lld into %lld", op, what,
            (long long)reach, (long long)padded);
  *out = (padded - reach) / (int64_t)stride + 1;
  return FRT_OK;
}

// Checks x and w against each other and the attributes, and works out the rest.
static inline frt_status frt__conv_init(frt_conv *v, const char *op, const frt_shape *x,
                                        const frt_shape *w, const double *attr)
{
  FRT_TRY(frt__check_map(op, "x", x));
  FRT_CHECK(w->ndim == 4, FRT_ESHAPE, "%s: w must be [K, C / groups, kh, kw], got %s", op,
            frt__shape_text(w));
  FRT_CHECK(w->dtype == x->dtype, FRT_ESHAPE, "%s: w must be %s like x, got %s", op,
            frt__dtype_name(x->dtype), frt__dtype_name(w->dtype));
  int64_t groups = (int64_t)attr[FRT_CONV_GROUPS], takes = w->dim[1] * groups;
  FRT_CHECK(x->dim[1] == takes, FRT_ESHAPE,
            "%s: x has %lld channels, but w takes %lld (w %s, groups %lld)", op,
            (long long)x->dim[1], (long long)takes, frt__shape_text(w), (long long)groups);
  FRT_CHECK(w->dim[0] % groups == 0, FRT_ESHAPE,
            "%s: the number of outputs must be a multiple of groups %lld, got %lld (w %s)", op,
            (long long)groups, (long long)w->dim[0], frt__shape_text(w));
  const double *stride = attr + FRT_CONV_STRIDE, *pad = attr + FRT_CONV_PAD;
  const double *dilation = attr + FRT_CONV_DILATION;
  *v = (frt_conv){
    .dtype = x->dtype,
    .n = x->dim[0],
    .c = x->dim[1],
    .h = x->dim[2],
    .w = x->dim[3],
    .k = w->dim[0],
    .kh = w->dim[2],
    .kw = w->dim[3],
    .sh = (int64_t)stride[0],
    .sw = (int64_t)stride[1],
    .top = (int64_t)pad[0],
    .left = (int64_t)pad[1],
    .dh = (int64_t)dilation[0],
    .dw = (int64_t)dilation[1],
    .groups = groups,
  };
  FRT_TRY(
    frt__conv_size(op, "height", v->h, pad[0], pad[2], dilation[0], v->kh, stride[0], &v->oh));
  return frt__conv_size(op, "width", v->w, pad[1], pad[3], dilation[1], v->kw, stride[1], &v->ow);
}

static inline frt_shape frt__shape4(int32_t dtype, int64_t a, int64_t b, int64_t c, int64_t d)
{
  return (frt_shape){
    .ndim = 4, .dtype = dtype, .dim = {a, b, c, d}
  };
}

// The gradients: dy must be the shape of the convolution's result.
static inline frt_status frt__conv_check_dy(const frt_conv *v, const char *op, const frt_shape *dy)
{
  frt_shape y = frt__shape4(v->dtype, v->n, v->k, v->oh, v->ow);
  return frt__check_shape(op, "dy", dy, &y, "");
}

static inline double frt__conv_flops(const frt_conv *v)
{
  return 2.0 * (double)(v->n * v->k * v->oh * v->ow) * (double)(v->c / v->groups * v->kh * v->kw);
}

// The row of x that tap ky of output row oy reads, likewise for columns; outside 0 .. h - 1 lie
// zeros.
static inline int64_t frt__conv_row(const frt_conv *v, int64_t oy, int64_t ky)
{
  return oy * v->sh - v->top + ky * v->dh;
}
static inline int64_t frt__conv_col(const frt_conv *v, int64_t ox, int64_t kx)
{
  return ox * v->sw - v->left + kx * v->dw;
}
