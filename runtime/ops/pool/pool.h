// pool.h -- what the pooling ops share: attributes, sizes, the window of an output pixel.
#pragma once
#include "ops/pool/plane.h"

enum {
  FRT_POOL_KERNEL = 0,    // down, right
  FRT_POOL_STRIDE = 2,    // down, right
  FRT_POOL_PAD = 4,       // top, left, bottom, right
  FRT_POOL_ATTRS = 8,     // of max_pool2d
  FRT_POOL_COUNT_PAD = 8, // avg_pool2d: 1: windows are divided by their whole size
  FRT_POOL_SIZE,          // avg_pool2d_grad: height and width of x
  FRT_POOL_AVG_GRAD_ATTRS = 11,
};
// clang-format off
#define FRT_POOL_ATTR_ROWS                                                                             \
  {"kernel", 2, 2, 1, 65536, "height and width of a window"},                                      \
  {"stride", 2, 2, 1, 65536, "pixels from window to window: down, right"},                         \
  {"pad", 4, 0, 0, 65536, "pixels added around x: top, left, bottom, right"}
// clang-format on

// x [.., h, w] through windows to y [.., oh, ow].
typedef struct frt_pool {
  int64_t planes, h, w, oh, ow, kh, kw, sh, sw, top, left, bottom, right;
} frt_pool;

static inline frt_status frt__pool_size(const char *op, int64_t size, int64_t kernel,
                                        int64_t stride, int64_t before, int64_t after, int64_t *out)
{
  FRT_CHECK(kernel <= size + before + after, FRT_ESHAPE,
            "%s: kernel must be at most %lld (x and its padding), got %lld", op,
            (long long)(size + before + after), (long long)kernel);
  FRT_CHECK(before < kernel && after < kernel, FRT_EARG,
            "%s: pad must be below kernel %lld, got %lld and %lld", op, (long long)kernel,
            (long long)before, (long long)after);
  *out = (size + before + after - kernel) / stride + 1;
  return FRT_OK;
}

static inline frt_status frt__pool_init(frt_pool *v, const char *op, const frt_shape *x,
                                        const double *attr)
{
  FRT_TRY(frt__check_map(op, "x", x));
  const double *pad = attr + FRT_POOL_PAD;
  *v = (frt_pool){
    .planes = x->dim[0] * x->dim[1],
    .h = x->dim[2],
    .w = x->dim[3],
    .kh = (int64_t)attr[FRT_POOL_KERNEL],
    .kw = (int64_t)attr[FRT_POOL_KERNEL + 1],
    .sh = (int64_t)attr[FRT_POOL_STRIDE],
    .sw = (int64_t)attr[FRT_POOL_STRIDE + 1],
    .top = (int64_t)pad[0],
    .left = (int64_t)pad[1],
    .bottom = (int64_t)pad[2],
    .right = (int64_t)pad[3],
  };
  FRT_TRY(frt__pool_size(op, v->h, v->kh, v->sh, v->top, v->bottom, &v->oh));
  return frt__pool_size(op, v->w, v->kw, v->sw, v->left, v->right, &v->ow);
}

static inline frt_shape frt__pool_shape(const frt_shape *x, int64_t h, int64_t w)
{
  frt_shape y = *x;
  y.dim[2] = h;
  y.dim[3] = w;
  return y;
}

static inline frt_status frt__infer_pool(const char *op, const frt_infer *c)
{
  frt_pool v = {0};
  FRT_TRY(frt__pool_init(&v, op, c->x[0], c->attr));
  c->y[0] = frt__pool_shape(c->x[0], v.oh, v.ow);
  return FRT_OK;
}

// Pixels y0 .. y1 - 1 by x0 .. x1 - 1 of a plane.
typedef struct frt_window {
  int64_t y0, y1, x0, x1;
  double count; // what a mean divides by
} frt_window;

static inline frt_window frt__pool_window(const frt_pool *v, int64_t oy, int64_t ox, bool count_pad)
{
  int64_t y = oy * v->sh - v->top, x = ox * v->sw - v->left;
  frt_window k = {FRT_MAX(y, 0), FRT_MIN(y + v->kh, v->h), FRT_MAX(x, 0), FRT_MIN(x + v->kw, v->w),
                  0};
  k.count = count_pad ? (double)(v->kh * v->kw) : (double)((k.y1 - k.y0) * (k.x1 - k.x0));
  return k;
}

// The adaptive pair.
enum { FRT_ADAPTIVE_H, FRT_ADAPTIVE_W, FRT_ADAPTIVE_ATTRS };
// clang-format off
#define FRT_ADAPTIVE_ATTR_ROWS(of)                                                                     \
  {"h", 1, 1, 1, FRT_MAX_SIZE, "height of " of},                                                   \
  {"w", 1, 1, 1, FRT_MAX_SIZE, "width of " of}
// clang-format on

// Maps x, and a result of h x w.
static inline frt_status frt__infer_plane(const char *op, const char *what, const frt_infer *c,
                                          double h, double w)
{
  const frt_shape *x = c->x[0];
  FRT_TRY(frt__check_float(op, what, x));
  FRT_CHECK(x->ndim == 4 && x->dim[2] > 0 && x->dim[3] > 0, FRT_ESHAPE,
            "%s: %s must be [N, C, H, W], got %s", op, what, frt__shape_text(x));
  c->y[0] = frt__pool_shape(x, (int64_t)h, (int64_t)w);
  return FRT_OK;
}

// Window i of n that divide `size` pixels as evenly as can be, overlapping where it must.
static inline void frt__adaptive(int64_t size, int64_t n, int64_t i, int64_t *from, int64_t *to)
{
  *from = i * size / n;
  *to = ((i + 1) * size + n - 1) / n;
}
// That of pixel (oy, ox) of oh x ow over a map [.., h, w].
static inline frt_window frt__adaptive_window(const frt_shape *map, int64_t oh, int64_t ow,
                                              int64_t oy, int64_t ox)
{
  frt_window k;
  frt__adaptive(map->dim[2], oh, oy, &k.y0, &k.y1);
  frt__adaptive(map->dim[3], ow, ox, &k.x0, &k.x1);
  k.count = (double)((k.y1 - k.y0) * (k.x1 - k.x0));
  return k;
}

// The mean of a window, and its gradient added to a plane.
static inline double frt__window_mean(const real *plane, int64_t width, frt_window k)
{
  double sum = 0;
  for (int64_t y = k.y0; y < k.y1; y++) {
    for (int64_t x = k.x0; x < k.x1; x++) {
      sum += (double)plane[y * width + x];
    }
  }
  return sum / k.count;
}
static inline void frt__window_share(double *plane, int64_t width, frt_window k, double dy)
{
  for (int64_t y = k.y0; y < k.y1; y++) {
    for (int64_t x = k.x0; x < k.x1; x++) {
      plane[y * width + x] += dy / k.count;
    }
  }
}
