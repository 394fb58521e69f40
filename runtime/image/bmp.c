// bmp.c -- uncompressed BMP (1, 4, 8, 24 and 32 bits), which libvips leaves to a loader that it
// holds unfit for untrusted files.
#include "image.h"

static uint32_t u32(const uint8_t *p)
{
  return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

typedef struct bmp {
  int64_t w, h;
  bool top_down;
  int32_t bits, entry; // entry: bytes of a palette entry
  uint32_t compression, colours;
  size_t palette, pixels;
} bmp;

static frt_status header(const uint8_t *file, size_t bytes, bmp *b)
{
  FRT_CHECK(bytes >= 26, FRT_EDATA, "truncated BMP");
  uint32_t size = u32(file + 14);
  if (size == 12) { // OS/2
    *b = (bmp){.w = file[18] | file[19] << 8,
               .h = file[20] | file[21] << 8,
               .bits = file[24] | file[25] << 8,
               .entry = 3};
  } else {
    FRT_CHECK(size >= 40 && size < 4096 && bytes >= 54, FRT_EDATA, "damaged BMP header");
    *b = (bmp){.w = u32(file + 18),
               .h = (int32_t)u32(file + 22),
               .bits = file[28] | file[29] << 8,
               .compression = u32(file + 30),
               .colours = u32(file + 46),
               .entry = 4};
  }
  if (b->h < 0) {
    b->h = -b->h;
    b->top_down = true;
  }
  b->palette = 14 + (size_t)size;
  b->pixels = u32(file + 10);
  return FRT_OK;
}

frt_status frt__bmp_size(const uint8_t *file, size_t bytes, int64_t *w, int64_t *h, int32_t *bits)
{
  bmp b = {0};
  FRT_TRY(header(file, bytes, &b));
  *w = b.w, *h = b.h, *bits = b.bits;
  return FRT_OK;
}

frt_status frt__bmp_read(const uint8_t *file, size_t bytes, frt__rect part, uint8_t *rgb)
{
  bmp b = {0};
  FRT_TRY(header(file, bytes, &b));
  bool indexed = b.bits == 1 || b.bits == 4 || b.bits == 8;
  FRT_CHECK(indexed || b.bits == 24 || b.bits == 32, FRT_EDATA,
            "BMP with %d bits has no decoder here", b.bits);
  bool usual_masks = b.compression == 3 && b.bits == 32 && bytes >= 66 &&
                     u32(file + 54) == 0xff0000 && u32(file + 58) == 0xff00 &&
                     u32(file + 62) == 0xff;
  FRT_CHECK(b.compression == 0 || usual_masks, FRT_EDATA, "compressed BMP has no decoder here");

  uint8_t palette[256][3] = {{0}};
  if (indexed) {
    uint32_t all = 1u << b.bits, n = b.colours ? FRT_MIN(b.colours, all) : all;
    FRT_CHECK(b.palette + (size_t)n * (size_t)b.entry <= bytes, FRT_EDATA, "truncated BMP");
    for (uint32_t i = 0; i < n; i++) {
      const uint8_t *p = file + b.palette + i * (size_t)b.entry;
      palette[i][0] = p[2], palette[i][1] = p[1], palette[i][2] = p[0];
    }
  }
  size_t stride = ((size_t)b.w * (size_t)b.bits + 31) / 32 * 4;
  FRT_CHECK(b.pixels <= bytes && stride * (size_t)b.h <= bytes - b.pixels, FRT_EDATA,
            "truncated BMP");
  for (int64_t y = part.y; y < part.y + part.h; y++) {
    const uint8_t *p = file + b.pixels + stride * (size_t)(b.top_down ? y : b.h - 1 - y);
    for (int64_t x = part.x; x < part.x + part.w; x++, rgb += 3) {
      if (indexed) {
        int64_t at = x * b.bits;
        int32_t i = p[at / 8] >> (8 - b.bits - at % 8) & ((1 << b.bits) - 1);
        memcpy(rgb, palette[i], 3);
      } else {
        const uint8_t *q = p + x * (b.bits / 8);
        rgb[0] = q[2], rgb[1] = q[1], rgb[2] = q[0];
      }
    }
  }
  return FRT_OK;
}
