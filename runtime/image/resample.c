// resample.c -- separable antialiased resize (equal to Pillow's, bit for bit) and the bilinear warp
// that rotations and shears go through.
// from  Pillow 9.4: src/libImaging/Resample.c, Geometry.c (method only)
#include <math.h>

#include "image.h"

enum { BITS = 32 - 8 - 2 }; // fixed-point digits of a weight

typedef struct axis {
  int32_t n_taps;     // room per output
  int32_t *first, *n; // per output: first input, how many
  int32_t *weight;    // [n_out, n_taps]
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

static int32_t taps_of(int32_t filter, double scale)
{
  return (int32_t)ceil(filters[filter].support * fmax(scale, 1)) * 2 + 1;
}

// The input whose pixel holds the output's middle.
static void nearest(axis *ax, int32_t n_in, double from, double scale, int32_t n_out, bool mirror)
{
  for (int32_t i = 0; i < n_out; i++) {
    int32_t o = mirror ? n_out - 1 - i : i;
    int32_t at = (int32_t)floor(from + (i + 0.5) * scale);
    ax->first[o] = FRT_MAX(FRT_MIN(at, n_in - 1), 0);
    ax->n[o] = 1;
    ax->weight[(size_t)o * (size_t)ax->n_taps] = 1 << BITS;
  }
}

// Weights of n_out outputs that together cover from .. to of n_in inputs.
static void weights(axis *ax, int32_t filter, int32_t n_in, double from, double to, int32_t n_out,
                    bool mirror)
{
  double (*shape)(double) = filters[filter].shape;
  double scale = (to - from) / n_out, wide = fmax(scale, 1);
  double support = filters[filter].support * wide;
  if (filter == FRT__NEAREST) {
    nearest(ax, n_in, from, scale, n_out, mirror);
    return;
  }
  for (int32_t i = 0; i < n_out; i++) {
    int32_t o = mirror ? n_out - 1 - i : i;
    double center = from + (i + 0.5) * scale, sum = 0;
    int32_t lo = FRT_MAX((int32_t)(center - support + 0.5), 0);
    int32_t hi = FRT_MIN((int32_t)(center + support + 0.5), n_in);
    int32_t *w = ax->weight + (size_t)o * (size_t)ax->n_taps;
    for (int32_t k = lo; k < hi; k++) {
      sum += shape((k - center + 0.5) * (1 / wide));
    }
    for (int32_t k = lo; k < hi; k++) {
      double v = shape((k - center + 0.5) * (1 / wide)) / (sum != 0 ? sum : 1) * (1 << BITS);
      w[k - lo] = (int32_t)(v < 0 ? v - 0.5 : v + 0.5);
    }
    ax->first[o] = lo;
    ax->n[o] = FRT_MAX(hi - lo, 0);
  }
}

static inline uint8_t clip8(int32_t v)
{
  v >>= BITS;
  return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

FRT__CLONES
static void across(const uint8_t *src, const axis *ax, int32_t ow, uint8_t *dst)
{
  for (int32_t o = 0; o < ow; o++) {
    const uint8_t *p = src + (size_t)ax->first[o] * 3;
    const int32_t *w = ax->weight + (size_t)o * (size_t)ax->n_taps;
    int32_t r = 1 << (BITS - 1), g = r, b = r;
    for (int32_t k = 0; k < ax->n[o]; k++, p += 3) {
      r += w[k] * p[0];
      g += w[k] * p[1];
      b += w[k] * p[2];
    }
    dst[3 * o] = clip8(r);
    dst[3 * o + 1] = clip8(g);
    dst[3 * o + 2] = clip8(b);
  }
}

// One output row: columns in blocks whose sums stay in registers.
FRT__CLONES
static void down(const uint8_t *src, size_t stride, const int32_t *w, int32_t n, int32_t bytes,
                 uint8_t *restrict dst)
{
  enum { BLOCK = 32 };
  int32_t i = 0;
  for (; i + BLOCK <= bytes; i += BLOCK) {
    int32_t sum[BLOCK];
    for (int32_t j = 0; j < BLOCK; j++) {
      sum[j] = 1 << (BITS - 1);
    }
    for (int32_t k = 0; k < n; k++) {
      const uint8_t *p = src + (size_t)k * stride + i;
      for (int32_t j = 0; j < BLOCK; j++) {
        sum[j] += w[k] * p[j];
      }
    }
    for (int32_t j = 0; j < BLOCK; j++) {
      dst[i + j] = clip8(sum[j]);
    }
  }
  for (; i < bytes; i++) {
    int32_t sum = 1 << (BITS - 1);
    for (int32_t k = 0; k < n; k++) {
      sum += w[k] * src[(size_t)k * stride + (size_t)i];
    }
    dst[i] = clip8(sum);
  }
}

frt_status frt__resample(frt__scratch *s, const frt__resize *r)
{
  axis x = {.n_taps = taps_of(r->filter, (r->box.x1 - r->box.x0) / r->ow)};
  axis y = {.n_taps = taps_of(r->filter, (r->box.y1 - r->box.y0) / r->oh)};
  size_t nx = (size_t)r->ow * (size_t)(x.n_taps + 2), ny = (size_t)r->oh * (size_t)(y.n_taps + 2);
  FRT_TRY(frt__buffer_need(&s->taps, (nx + ny) * sizeof(int32_t)));
  int32_t *p = (int32_t *)(void *)s->taps.p;
  x.first = p, x.n = p + r->ow, x.weight = p + 2 * r->ow;
  p += nx;
  y.first = p, y.n = p + r->oh, y.weight = p + 2 * r->oh;
  weights(&x, r->filter, r->w, r->box.x0, r->box.x1, r->ow, r->mirror_x);
  weights(&y, r->filter, r->h, r->box.y0, r->box.y1, r->oh, r->mirror_y);

  int32_t top = r->h, bottom = 0;
  for (int32_t o = 0; o < r->oh; o++) {
    top = FRT_MIN(top, y.first[o]);
    bottom = FRT_MAX(bottom, y.first[o] + y.n[o]);
  }
  size_t row = (size_t)r->ow * 3;
  FRT_TRY(frt__buffer_need(&s->half, row * (size_t)FRT_MAX(bottom - top, 1)));
  for (int32_t i = top; i < bottom; i++) {
    across(r->src + (size_t)i * (size_t)r->w * 3, &x, r->ow, s->half.p + (size_t)(i - top) * row);
  }
  for (int32_t o = 0; o < r->oh; o++) {
    down(s->half.p + (size_t)(y.first[o] - top) * row, row, y.weight + (size_t)o * (size_t)y.n_taps,
         y.n[o], r->ow * 3, r->dst + (size_t)o * r->dst_stride);
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
    .src = photo->rgb,
    .w = photo->w,
    .h = photo->h,
    .box = {0, 0, photo->w, photo->h},
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

void frt__warp_bilinear(const frt__warp *w)
{
  frt__box in = w->inside;
  for (int32_t y = 0; y < w->oh; y++) {
    uint8_t *dst = w->dst + (size_t)y * (size_t)w->ow * 3;
    double u0 = w->m[1] * (y + 0.5) + w->m[2] + 0.5 * w->m[0];
    double v0 = w->m[4] * (y + 0.5) + w->m[5] + 0.5 * w->m[3];
    for (int32_t x = 0; x < w->ow; x++, dst += 3) {
      double u = u0 + w->m[0] * x, v = v0 + w->m[3] * x;
      if (!(u >= in.x0 && v >= in.y0 && u < in.x1 && v < in.y1)) {
        memcpy(dst, w->fill, 3);
        continue;
      }
      u = u < 0 ? 0 : u > w->w ? w->w : u;
      v = v < 0 ? 0 : v > w->h ? w->h : v;
      // u + 0.5 is never negative: truncation is floor.
      int32_t iu = (int32_t)(u + 0.5) - 1, iv = (int32_t)(v + 0.5) - 1;
      float fu = (float)(u - 0.5 - iu), fv = (float)(v - 0.5 - iv);
      int32_t l = FRT_MAX(iu, 0), r = FRT_MIN(iu + 1, w->w - 1);
      int32_t t = FRT_MAX(iv, 0), b = FRT_MIN(iv + 1, w->h - 1);
      const uint8_t *above = w->src + (size_t)t * (size_t)w->w * 3;
      const uint8_t *below = w->src + (size_t)b * (size_t)w->w * 3;
      for (int32_t c = 0; c < 3; c++) {
        float p = above[3 * l + c], q = above[3 * r + c];
        float m = below[3 * l + c], n = below[3 * r + c];
        p += (q - p) * fu;
        m += (n - m) * fu;
        dst[c] = (uint8_t)(p + (m - p) * fv);
      }
    }
  }
}
