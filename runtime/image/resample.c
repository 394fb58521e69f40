// resample.c -- separable antialiased resize, equal to Pillow's, bit for bit.
// from  Pillow 9.4: src/libImaging/Resample.c (method only)
#include <math.h>

#include "image.h"

typedef struct axis {
  int32_t filter, n_in, n_out;
  double from, to; // the inputs that the outputs cover
  bool mirror;
  int32_t n_taps, n_pairs; // inputs of every output (some may weigh nothing); room for twice
  int32_t *first;          // [n_out] the first of them
  frt__taps *taps;         // [n_out, n_pairs]
  int32_t lowest, past;    // what is read of the input
} axis;

static double triangle(double x)
{
  x = fabs(x);
  return x < 1 ? 1 - x : 0;
}

static double cubic(double x)
{
  const double a = -0.5;
  x = fabs(x);
  if (x < 1) {
    return ((a + 2) * x - (a + 3)) * x * x + 1;
  }
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

static double sinc(double x)
{
  x *= 3.14159265358979323846;
  return x == 0 ? 1 : sin(x) / x;
}

static double lanczos(double x)
{
  return x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0;
}

// By FRT__BILINEAR and so on: the filter and how far it reaches, in outputs.
static const struct {
  double (*shape)(double);
  double support;
} filters[] = {
  [FRT__BILINEAR] = {triangle, 1},
  [FRT__BICUBIC] = {cubic,    2},
  [FRT__LANCZOS] = {lanczos,  3},
  [FRT__NEAREST] = {NULL,     0},
};

static int32_t pairs_of(const axis *ax)
{
  double scale = fmax((ax->to - ax->from) / ax->n_out, 1);
  return (int32_t)ceil(filters[ax->filter].support * scale) + 1;
}

// Inputs lo .. hi-1 that output i is made of, and where its middle lies among them.
typedef struct reach {
  int32_t lo, hi;
  double center;
} reach;

static reach reach_of(const axis *ax, int32_t i)
{
  double scale = (ax->to - ax->from) / ax->n_out;
  double support = filters[ax->filter].support * fmax(scale, 1);
  reach r = {.center = ax->from + (i + 0.5) * scale};
  if (ax->filter == FRT__NEAREST) { // the input whose pixel holds the middle
    int32_t at = (int32_t)floor(r.center);
    r.lo = FRT_MAX(FRT_MIN(at, ax->n_in - 1), 0);
    r.hi = r.lo + 1;
    return r;
  }
  r.lo = FRT_MAX((int32_t)(r.center - support + 0.5), 0);
  r.hi = FRT_MIN((int32_t)(r.center + support + 0.5), ax->n_in);
  return r;
}

static void set_weights(const axis *ax, reach r, int32_t before, frt__taps *t)
{
  double (*shape)(double) = filters[ax->filter].shape;
  double wide = fmax((ax->to - ax->from) / ax->n_out, 1), sum = 0;
  if (ax->filter == FRT__NEAREST) {
    frt__weight_set(t, before, 1 << FRT__WEIGHT_BITS);
    return;
  }
  for (int32_t k = r.lo; k < r.hi; k++) {
    sum += shape((k - r.center + 0.5) * (1 / wide));
  }
  for (int32_t k = r.lo; k < r.hi; k++) {
    double v = shape((k - r.center + 0.5) * (1 / wide)) / (sum != 0 ? sum : 1);
    v *= 1 << FRT__WEIGHT_BITS;
    frt__weight_set(t, before + k - r.lo, (int32_t)(v < 0 ? v - 0.5 : v + 0.5));
  }
}

// Every output gets as many taps as the one with most, shifted where the input ends.
static void weights(axis *ax)
{
  memset(ax->taps, 0, (size_t)ax->n_out * (size_t)ax->n_pairs * sizeof *ax->taps);
  ax->n_taps = 1;
  for (int32_t i = 0; i < ax->n_out; i++) {
    reach r = reach_of(ax, i);
    ax->n_taps = FRT_MAX(ax->n_taps, r.hi - r.lo);
  }
  ax->lowest = ax->n_in, ax->past = 0;
  for (int32_t i = 0; i < ax->n_out; i++) {
    int32_t o = ax->mirror ? ax->n_out - 1 - i : i;
    reach r = reach_of(ax, i);
    ax->first[o] = FRT_MIN(r.lo, ax->n_in - ax->n_taps);
    ax->lowest = FRT_MIN(ax->lowest, ax->first[o]);
    ax->past = FRT_MAX(ax->past, ax->first[o] + ax->n_taps);
    set_weights(ax, r, r.lo - ax->first[o], ax->taps + (size_t)o * (size_t)ax->n_pairs);
  }
}

static frt_status make_axes(frt__scratch *s, axis *x, axis *y)
{
  x->n_pairs = pairs_of(x), y->n_pairs = pairs_of(y);
  size_t n = (size_t)x->n_out * (size_t)x->n_pairs, m = (size_t)y->n_out * (size_t)y->n_pairs;
  size_t outputs = (size_t)x->n_out + (size_t)y->n_out;
  FRT_TRY(frt__buffer_need(&s->taps, (n + m) * sizeof *x->taps + outputs * sizeof *x->first));
  x->taps = (frt__taps *)(void *)s->taps.p;
  y->taps = x->taps + n;
  x->first = (int32_t *)(void *)(y->taps + m);
  y->first = x->first + x->n_out;
  weights(x);
  weights(y);
  return FRT_OK;
}

// 16 rows of the source at a time become rows of s->half.
static frt_status across(frt__scratch *s, const frt__resize *r, const axis *x, const axis *y)
{
  size_t row = (size_t)r->ow * 3, n = (size_t)(y->past - y->lowest);
  FRT_TRY(frt__buffer_need(&s->half, row * n));
  FRT_TRY(frt__buffer_need(&s->tile, (size_t)(x->past - x->lowest) * 3 * FRT__ACROSS_ROWS));
  for (int32_t i = y->lowest; i < y->past; i += FRT__ACROSS_ROWS) {
    frt__across a = {
      .src = r->src.rgb + (size_t)i * r->src.stride,
      .stride = r->src.stride,
      .rows = FRT_MIN(y->past - i, FRT__ACROSS_ROWS),
      .left = x->lowest,
      .right = x->past,
      .ow = r->ow,
      .n_taps = x->n_taps,
      .n_pairs = x->n_pairs,
      .first = x->first,
      .taps = x->taps,
      .dst = s->half.p + (size_t)(i - y->lowest) * row,
      .planar = r->plane > 0,
      .tile = s->tile.p,
    };
    frt__photo()->across(&a);
  }
  return FRT_OK;
}

frt_status frt__resample(frt__scratch *s, const frt__resize *r)
{
  axis x = {.filter = r->filter,
            .n_in = r->src.w,
            .n_out = r->ow,
            .from = r->box.x0,
            .to = r->box.x1,
            .mirror = r->mirror_x};
  axis y = {.filter = r->filter,
            .n_in = r->src.h,
            .n_out = r->oh,
            .from = r->box.y0,
            .to = r->box.y1,
            .mirror = r->mirror_y};
  FRT_TRY(make_axes(s, &x, &y));
  FRT_TRY(across(s, r, &x, &y));
  const frt__photo_kernels *k = frt__photo();
  size_t row = (size_t)r->ow * 3;
  int32_t n = r->plane > 0 ? 3 : 1, bytes = r->ow * 3 / n;
  for (int32_t o = 0; o < r->oh; o++) {
    const uint8_t *p = s->half.p + (size_t)(y.first[o] - y.lowest) * row;
    for (int32_t c = 0; c < n; c++) {
      k->down(p + (size_t)c * (size_t)bytes, row, y.taps + (size_t)o * (size_t)y.n_pairs, y.n_taps,
              bytes, r->dst + (size_t)o * r->dst_stride + (size_t)c * r->plane);
    }
  }
  return FRT_OK;
}

frt_status frt_photo_resize(const frt_photo *photo, int32_t w, int32_t h, int32_t interpolation,
                            uint8_t *rgb)
{
  FRT_CHECK(w >= 1 && h >= 1 && w <= 65536 && h <= 65536, FRT_EARG,
            "photo: size must be 1 to 65536, got %d x %d", w, h);
  FRT_CHECK(interpolation >= 0 && interpolation < FRT_COUNT(filters), FRT_EARG,
            "photo: interpolation must be 0 to 3, got %d", interpolation);
  frt__scratch s = {0};
  frt__resize r = {
    .src = {photo->rgb, photo->w, photo->h, (size_t)photo->w * 3},
    .box = {0,          0,        photo->w, photo->h            },
    .dst = rgb,
    .ow = w,
    .oh = h,
    .dst_stride = (size_t)w * 3,
    .filter = interpolation
  };
  frt_status status = frt__resample(&s, &r);
  frt__scratch_free(&s);
  return status;
}
