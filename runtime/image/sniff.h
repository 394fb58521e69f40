// sniff.h -- what a file is, by its first bytes; names and extensions are not asked.
#pragma once
#include "base/base.h"

typedef enum frt__format {
  FRT__NOT_A_PHOTO,
  FRT__JPEG,
  FRT__PNG,
  FRT__GIF,
  FRT__WEBP,
  FRT__TIFF,
  FRT__BMP,
  FRT__HEIF,
  FRT__AVIF,
  FRT__OTHER, // a photo format that nothing here decodes
} frt__format;
// *name: "JPEG", or for what is no photo a few words ("a Git LFS pointer, not the photo").
frt__format frt__sniff(const uint8_t *file, size_t bytes, const char **name);
// A JPEG whose end marker is missing was cut off, whatever its decoder makes of the part.
bool frt__jpeg_has_end(const uint8_t *file, size_t bytes);
