// warp.c -- the bilinear reading that rotations and shears go through: places and weights of a
// block of pixels, then their neighbours, then their mixture.
// from  Pillow 9.4: src/libImaging/Geometry.c (method only)
#include "image/kernels.h"

enum { BLOCK = 64 };

typedef struct block {
  float right[BLOCK], below[BLOCK]; // weights
  int32_t at[BLOCK];                // bytes to the pixel left above
  int32_t dx[BLOCK], dy[BLOCK];     // bytes to its neighbours
  int32_t out[BLOCK];               // 1 beyond the photo
  uint32_t pixel[4][BLOCK];         // left above, right above, left below, right below
} block;

FRT_INLINE double clamp(double v, double most)
{
  return v < 0 ? 0 : v > most ? most : v;
}

static void places(const frt__warp *w, double u0, double v0, int32_t x0, block *b)
{
  frt__box in = w->inside;
  double du = w->m[0], dv = w->m[3], most_u = w->src.w, most_v = w->src.h;
  int32_t last_u = w->src.w - 1, last_v = w->src.h - 1, stride = (int32_t)w->src.stride;
  for (int32_t i = 0; i < BLOCK; i++) {
    double u = u0 + du * (x0 + i), v = v0 + dv * (x0 + i);
    b->out[i] = !((u >= in.x0) & (v >= in.y0) & (u < in.x1) & (v < in.y1));
    u = clamp(u, most_u);
    v = clamp(v, most_v);
    // u + 0.5 is never negative: truncation is floor.
    int32_t iu = (int32_t)(u + 0.5) - 1, iv = (int32_t)(v + 0.5) - 1;
    b->right[i] = (float)(u - 0.5 - iu);
    b->below[i] = (float)(v - 0.5 - iv);
    int32_t l = FRT_MAX(iu, 0), r = FRT_MIN(iu + 1, last_u);
    int32_t t = FRT_MAX(iv, 0), d = FRT_MIN(iv + 1, last_v);
    b->at[i] = t * stride + 3 * l;
    b->dx[i] = 3 * (r - l);
    b->dy[i] = (d - t) * stride;
  }
}

FRT_INLINE uint32_t pixel(const uint8_t *p)
{
  uint32_t v;
  memcpy(&v, p, sizeof v);
  return v;
}

static void neighbours(const frt__warp *w, block *b)
{
  for (int32_t i = 0; i < BLOCK; i++) {
    const uint8_t *p = w->src.rgb + b->at[i], *q = p + b->dy[i];
    b->pixel[0][i] = pixel(p);
    b->pixel[1][i] = pixel(p + b->dx[i]);
    b->pixel[2][i] = pixel(q);
    b->pixel[3][i] = pixel(q + b->dx[i]);
  }
}

static void mix(const block *b, int32_t channel, int32_t fill, uint8_t *restrict dst)
{
  for (int32_t i = 0; i < BLOCK; i++) {
    float p = (float)(int32_t)(b->pixel[0][i] >> 8 * channel & 255);
    float q = (float)(int32_t)(b->pixel[1][i] >> 8 * channel & 255);
    float m = (float)(int32_t)(b->pixel[2][i] >> 8 * channel & 255);
    float n = (float)(int32_t)(b->pixel[3][i] >> 8 * channel & 255);
    p += (q - p) * b->right[i];
    m += (n - m) * b->right[i];
    int32_t v = (int32_t)(p + (m - p) * b->below[i]);
    dst[i] = (uint8_t)(b->out[i] ? fill : v);
  }
}

FRT_SIMD void FRT_K(warp)(const frt__warp *w)
{
  block b;
  uint8_t some[BLOCK];
  size_t plane = (size_t)w->ow * (size_t)w->oh;
  for (int32_t y = 0; y < w->oh; y++) {
    double u0 = w->m[1] * (y + 0.5) + w->m[2] + 0.5 * w->m[0];
    double v0 = w->m[4] * (y + 0.5) + w->m[5] + 0.5 * w->m[3];
    for (int32_t x = 0; x < w->ow; x += BLOCK) {
      places(w, u0, v0, x, &b);
      neighbours(w, &b);
      int32_t n = FRT_MIN(BLOCK, w->ow - x);
      for (int32_t c = 0; c < 3; c++) {
        uint8_t *dst = w->dst + (size_t)c * plane + (size_t)y * (size_t)w->ow + (size_t)x;
        mix(&b, c, w->fill[c], n == BLOCK ? dst : some);
        if (n < BLOCK) {
          memcpy(dst, some, (size_t)n);
        }
      }
    }
  }
}
