// source.h -- a photo on its way from file to pixels, in three steps: open (what it is, its
// header), look at (view.c says which part, and at what reduction), read (the part's pixels).
#pragma once
#include "image/image.h"
#include "image/sniff.h"

typedef enum frt__decoder {
  FRT__BY_VIPS,
  FRT__BY_JPEG, // libjpeg-turbo; what it refuses goes to libvips, at any step
  FRT__BY_BMP,
} frt__decoder;

struct frt__source {
  const char *path;
  frt__scratch *s; // whose buffers hold the file and the pixels
  size_t bytes;
  frt__format format;
  frt__decoder decoder;
  frt__header header;
  int32_t raw_w, raw_h; // as it lies in the file, before orientation
  int32_t shrink;       // 1, or what frt__open_smaller was asked for
  void *vips;           // an open VipsImage
};

// "PATH: why (N bytes)": what its bytes say is wrong.
frt_status frt__bad(const frt__source *f, const char *why);
// Orientation of Exif, 1 to 8 (else 1); before frt__set_size.
void frt__set_orientation(frt__header *h, int32_t orientation);
// Size in the file; FRT_EDATA where it is none, or more than FRT__MAX_PIXELS.
frt_status frt__set_size(frt__source *f, int64_t w, int64_t h);
// The part of the file under an upright part.
frt__rect frt__raw_part(const frt__source *f, frt__rect part);
// Upright pixels in s->rgb of raw ones.
frt_status frt__turn(const frt__source *f, frt__rect part, frt__rect raw, const frt__pixels *from,
                     frt__pixels *out);
// Bytes that decoding takes at once: of more than FRT__BIG one photo is decoded at a time, until
// frt__scratch_trim.
enum { FRT__BIG = 192 << 20 };
void frt__big(frt__scratch *s, int64_t bytes);

// --- read_vips.c ------------------------------------------------------------------------------
frt_status frt__vips_open(frt__source *f);
frt_status frt__vips_smaller(frt__source *f);
frt_status frt__vips_read(frt__source *f, frt__rect part, frt__pixels *out);
void frt__vips_close(frt__source *f);
