// read.c -- the last step of a photo: the pixels of a part, upright, as 8-bit sRGB.
#include "image/jpeg.h"
#include "image/source.h"

// --- turning upright ----------------------------------------------------------------------------
// Raw x and y of upright (x, y): {from w-1, of x, of y} for each (Exif 2.3, orientation 1 to 8).
static const int8_t upright[9][2][3] = {
  {{0, 1, 0},  {0, 0, 1} },
  {{0, 1, 0},  {0, 0, 1} },
  {{1, -1, 0}, {0, 0, 1} },
  {{1, -1, 0}, {1, 0, -1}},
  {{0, 1, 0},  {1, 0, -1}},
  {{0, 0, 1},  {0, 1, 0} },
  {{0, 0, 1},  {1, -1, 0}},
  {{1, 0, -1}, {1, -1, 0}},
  {{1, 0, -1}, {0, 1, 0} },
};

void frt__set_orientation(frt__header *h, int32_t orientation)
{
  h->orientation = orientation < 1 || orientation > 8 ? 1 : orientation;
  const int8_t(*f)[3] = upright[h->orientation];
  h->mirror_x = f[0][1] + f[1][1] < 0;
  h->mirror_y = f[0][2] + f[1][2] < 0;
}

static int32_t raw_at(const int8_t f[3], int32_t size, int32_t x, int32_t y)
{
  return f[0] * (size - 1) + f[1] * x + f[2] * y;
}

frt__rect frt__raw_part(const frt__source *f, frt__rect p)
{
  const int8_t(*to)[3] = upright[f->header.orientation];
  int32_t x0 = raw_at(to[0], f->raw_w, p.x, p.y), y0 = raw_at(to[1], f->raw_h, p.x, p.y);
  int32_t x1 = raw_at(to[0], f->raw_w, p.x + p.w - 1, p.y + p.h - 1);
  int32_t y1 = raw_at(to[1], f->raw_h, p.x + p.w - 1, p.y + p.h - 1);
  frt__rect r = {.x = FRT_MIN(x0, x1), .y = FRT_MIN(y0, y1)};
  r.w = FRT_MAX(x0, x1) - r.x + 1;
  r.h = FRT_MAX(y0, y1) - r.y + 1;
  return r;
}

frt_status frt__turn(const frt__source *f, frt__rect part, frt__rect raw, const frt__pixels *from,
                     frt__pixels *out)
{
  const int8_t(*to)[3] = upright[f->header.orientation];
  int64_t stride = (int64_t)from->stride, step = 3 * to[0][1] + to[1][1] * stride;
  size_t row = (size_t)part.w * 3;
  FRT_TRY(frt__buffer_need(&f->s->rgb, row * (size_t)part.h));
  uint8_t *dst = f->s->rgb.p;
  for (int32_t y = 0; y < part.h; y++) {
    int64_t x0 = raw_at(to[0], f->raw_w, part.x, part.y + y) - raw.x;
    int64_t y0 = raw_at(to[1], f->raw_h, part.x, part.y + y) - raw.y;
    const uint8_t *p = from->rgb + y0 * stride + 3 * x0;
    for (int32_t x = 0; x < part.w; x++, p += step, dst += 3) {
      dst[0] = p[0], dst[1] = p[1], dst[2] = p[2];
    }
  }
  *out = (frt__pixels){f->s->rgb.p, part.w, part.h, row};
  return FRT_OK;
}

// --- decoders -----------------------------------------------------------------------------------
// *done is false where libjpeg-turbo gives up, which is left to libvips: to decode, or to say why
// not.
static frt_status read_jpeg(frt__source *f, frt__rect part, frt__pixels *out, bool *done)
{
  frt__pixels px;
  frt__rect raw = frt__raw_part(f, part);
  bool turned = f->header.orientation > 1;
  frt__buffer *into = turned ? &f->s->half : &f->s->rgb;
  size_t room = frt__jpeg_room(f->s->jpeg, raw);
  frt__big(f->s, (int64_t)(turned ? 2 * room : room));
  FRT_TRY(frt__buffer_need(into, room));
  *done = frt__jpeg_read(f->s->jpeg, raw, into->p, &px);
  if (!*done) {
    return FRT_OK;
  }
  if (turned) {
    return frt__turn(f, part, raw, &px, out);
  }
  *out = px;
  return FRT_OK;
}

static frt_status read_bmp(frt__source *f, frt__rect part, frt__pixels *out)
{
  size_t row = (size_t)part.w * 3;
  frt__big(f->s, (int64_t)(row * (size_t)part.h));
  FRT_TRY(frt__buffer_need(&f->s->rgb, row * (size_t)part.h));
  if (frt__bmp_read(f->s->file.p, f->bytes, part, f->s->rgb.p)) {
    return frt__bad(f, frt_error_last());
  }
  *out = (frt__pixels){f->s->rgb.p, part.w, part.h, row};
  return FRT_OK;
}

// libjpeg-turbo gave up on a part that was chosen by its header: libvips must see the same photo.
static frt_status reopen(frt__source *f)
{
  const frt__header was = f->header;
  f->decoder = FRT__BY_VIPS;
  FRT_TRY(f->shrink > 1 ? frt__vips_smaller(f) : frt__vips_open(f));
  const frt__header *is = &f->header;
  if (is->w != was.w || is->h != was.h || is->orientation != was.orientation) {
    return frt__bad(f, "damaged JPEG: its header is read in two ways");
  }
  return FRT_OK;
}

frt_status frt__read(frt__source *f, frt__rect part, frt__pixels *out)
{
  *out = (frt__pixels){f->s->rgb.p, 0, 0, 0};
  if (part.w < 1 || part.h < 1) { // the view looks past the photo
    return FRT_OK;
  }
  bool done = false;
  switch (f->decoder) {
  case FRT__BY_BMP:
    return read_bmp(f, part, out);
  case FRT__BY_JPEG:
    FRT_TRY(read_jpeg(f, part, out, &done));
    if (done) {
      return FRT_OK;
    }
    FRT_TRY(reopen(f));
    return frt__vips_read(f, part, out);
  default:
    return frt__vips_read(f, part, out);
  }
}
