// jpeg.h -- JPEG straight by libjpeg-turbo, only the part that is needed. Its pixels equal
// libvips's in every bit, so who finds it missing or gets a refusal goes to libvips and loses time
// only.
#pragma once
#include "image.h"

typedef struct frt__jpeg_info {
  int32_t w, h, bands; // of the file, before orientation
  int32_t orientation;
} frt__jpeg_info;

// Reads the header of file[bytes], which must outlive the reading. *jpeg is made on first use and
// used again for the next file. False: libjpeg-turbo is not here, or the photo is not for this way
// (damaged, CMYK, Exif that needs a closer look).
bool frt__jpeg_open(frt__jpeg **jpeg, const uint8_t *file, size_t bytes, frt__jpeg_info *out);
// Decode at 1/shrink (2, 4, 8); the size then. False: it can't.
bool frt__jpeg_shrink(frt__jpeg *jpeg, int32_t shrink, int32_t *w, int32_t *h);
// Bytes that frt__jpeg_read wants for a part.
size_t frt__jpeg_room(const frt__jpeg *jpeg, frt__rect part);
// The part's pixels, somewhere in rgb. False: damaged.
bool frt__jpeg_read(frt__jpeg *jpeg, frt__rect part, uint8_t *rgb, frt__pixels *out);
void frt__jpeg_free(frt__jpeg *jpeg);
