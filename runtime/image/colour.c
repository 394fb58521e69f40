// colour.c -- brightness, contrast, saturation, hue, grey and normalisation of 8-bit pixels.
// The first three equal Pillow's ImageEnhance bit for bit, and so torchvision's ColorJitter.
#include "image.h"

// Pillow's blend of `from` and `to`: truncated inside 0 .. 255, clipped outside.
static inline uint8_t blend(int32_t from, int32_t to, float factor)
{
  float v = (float)from + factor * (float)(to - from);
  return (uint8_t)(v <= 0 ? 0 : v >= 255 ? 255 : v);
}

static inline int32_t grey(const uint8_t *p)
{
  return (p[0] * 19595 + p[1] * 38470 + p[2] * 7471 + 0x8000) >> 16;
}

static void lookup(uint8_t *rgb, int64_t n, int32_t from, float factor)
{
  uint8_t table[256];
  for (int32_t v = 0; v < 256; v++) {
    table[v] = blend(from, v, factor);
  }
  for (int64_t i = 0; i < 3 * n; i++) {
    rgb[i] = table[rgb[i]];
  }
}

void frt__brightness(uint8_t *rgb, int64_t n, float factor)
{
  lookup(rgb, n, 0, factor);
}

void frt__contrast(uint8_t *rgb, int64_t n, float factor)
{
  int64_t sum = 0;
  for (int64_t i = 0; i < n; i++) {
    sum += grey(rgb + 3 * i);
  }
  lookup(rgb, n, (int32_t)((double)sum / (double)n + 0.5), factor);
}

void frt__saturation(uint8_t *rgb, int64_t n, float factor)
{
  for (int64_t i = 0; i < n; i++, rgb += 3) {
    int32_t l = grey(rgb);
    rgb[0] = blend(l, rgb[0], factor);
    rgb[1] = blend(l, rgb[1], factor);
    rgb[2] = blend(l, rgb[2], factor);
  }
}

void frt__grayscale(uint8_t *rgb, int64_t n)
{
  for (int64_t i = 0; i < n; i++, rgb += 3) {
    rgb[0] = rgb[1] = rgb[2] = (uint8_t)grey(rgb);
  }
}

// Turns the hue by `turn` sixths of a circle and keeps value and saturation: channel c of a colour
// of hue h (in sixths) is hi - (hi - lo) * clamp(min(k, 4 - k), 0, 1) with k = (n_c + h) mod 6, n =
// 5, 3, 1.
enum { BLOCK = 64 };
FRT__CLONES
static void turn_hue(float r[BLOCK], float g[BLOCK], float b[BLOCK], float turn)
{
  for (int32_t i = 0; i < BLOCK; i++) {
    float hi = r[i] > g[i] ? r[i] : g[i], lo = r[i] < g[i] ? r[i] : g[i];
    hi = b[i] > hi ? b[i] : hi;
    lo = b[i] < lo ? b[i] : lo;
    float range = hi - lo, inv = 1 / (range > 0 ? range : 1);
    float of_r = (g[i] - b[i]) * inv, of_g = 2 + (b[i] - r[i]) * inv,
          of_b = 4 + (r[i] - g[i]) * inv;
    float h = turn + (hi == r[i] ? of_r : hi == g[i] ? of_g : of_b) + 12; // never negative
    float out[3];
    for (int32_t c = 0; c < 3; c++) {
      float k = (float)(5 - 2 * c) + h;
      k -= 6 * (float)(int32_t)(k * (1.0f / 6));
      float part = k < 4 - k ? k : 4 - k;
      part = part < 0 ? 0 : part > 1 ? 1 : part;
      out[c] = hi - range * part + 0.5f;
    }
    r[i] = out[0], g[i] = out[1], b[i] = out[2];
  }
}

void frt__hue(uint8_t *rgb, int64_t n, double shift)
{
  float r[BLOCK] = {0}, g[BLOCK] = {0}, b[BLOCK] = {0};
  for (int64_t at = 0; at < n; at += BLOCK, rgb += 3 * BLOCK) {
    int32_t m = (int32_t)FRT_MIN(n - at, (int64_t)BLOCK);
    for (int32_t i = 0; i < m; i++) {
      r[i] = rgb[3 * i], g[i] = rgb[3 * i + 1], b[i] = rgb[3 * i + 2];
    }
    turn_hue(r, g, b, (float)(shift * 6));
    for (int32_t i = 0; i < m; i++) {
      rgb[3 * i] = (uint8_t)r[i], rgb[3 * i + 1] = (uint8_t)g[i], rgb[3 * i + 2] = (uint8_t)b[i];
    }
  }
}

void frt__normalise(const uint8_t *rgb, int64_t n, const float mean[3], const float std[3],
                    float *out)
{
  float table[3][256];
  for (int32_t c = 0; c < 3; c++) {
    for (int32_t v = 0; v < 256; v++) {
      table[c][v] = ((float)v / 255.0f - mean[c]) / std[c];
    }
  }
  for (int64_t i = 0; i < n; i++, rgb += 3, out += 3) {
    out[0] = table[0][rgb[0]];
    out[1] = table[1][rgb[1]];
    out[2] = table[2][rgb[2]];
  }
}
