// sniff.c -- what a file is, by its first bytes, and whether a JPEG has its end.
#include "sniff.h"

static bool starts(const uint8_t *file, size_t bytes, size_t at, const char *what, size_t n)
{
  return bytes >= at + n && memcmp(file + at, what, n) == 0;
}

static const struct {
  const char *magic;
  int32_t at, n, format;
  const char *name;
} magics[] = {
  {"\xff\xd8",                0, 2,  FRT__JPEG,        "JPEG"                                  },
  {"\x89PNG",                 0, 4,  FRT__PNG,         "PNG"                                   },
  {"GIF8",                    0, 4,  FRT__GIF,         "GIF"                                   },
  {"WEBP",                    8, 4,  FRT__WEBP,        "WebP"                                  },
  {"II*\0",                   0, 4,  FRT__TIFF,        "TIFF"                                  },
  {"MM\0*",                   0, 4,  FRT__TIFF,        "TIFF"                                  },
  {"II+\0",                   0, 4,  FRT__TIFF,        "BigTIFF"                               },
  {"MM\0+",                   0, 4,  FRT__TIFF,        "BigTIFF"                               },
  {"BM",                      0, 2,  FRT__BMP,         "BMP"                                   },
  {"ftypavif",                4, 8,  FRT__AVIF,        "AVIF"                                  },
  {"ftypavis",                4, 8,  FRT__AVIF,        "AVIF"                                  },
  {"ftyphei",                 4, 7,  FRT__HEIF,        "HEIF"                                  },
  {"ftyphev",                 4, 7,  FRT__HEIF,        "HEIF"                                  },
  {"ftypmif1",                4, 8,  FRT__HEIF,        "HEIF"                                  },
  {"ftypmsf1",                4, 8,  FRT__HEIF,        "HEIF"                                  },
  {"\0\0\1\0",                0, 4,  FRT__OTHER,       "ICO"                                   },
  {"8BPS",                    0, 4,  FRT__OTHER,       "Photoshop"                             },
  {"\xff\x0a",                0, 2,  FRT__OTHER,       "JPEG XL"                               },
  {"\0\0\0\x0cJXL ",          0, 8,  FRT__OTHER,       "JPEG XL"                               },
  {"\0\0\0\x0cjP  ",          0, 8,  FRT__OTHER,       "JPEG 2000"                             },
  {"%PDF",                    0, 4,  FRT__OTHER,       "PDF"                                   },
  {"version https://git-lfs", 0, 23, FRT__NOT_A_PHOTO, "a Git LFS pointer, not the photo"      },
  {"<",                       0, 1,  FRT__NOT_A_PHOTO, "a text file (HTML or XML), not a photo"},
};

frt__format frt__sniff(const uint8_t *file, size_t bytes, const char **name)
{
  for (int32_t i = 0; i < FRT_COUNT(magics); i++) {
    if (starts(file, bytes, (size_t)magics[i].at, magics[i].magic, (size_t)magics[i].n)) {
      *name = magics[i].name;
      return (frt__format)magics[i].format;
    }
  }
  *name = bytes == 0 ? "an empty file" : "not a photo: its first bytes are of no known format";
  return FRT__NOT_A_PHOTO;
}

bool frt__jpeg_has_end(const uint8_t *file, size_t bytes)
{
  // Segments up to the first scan: an end marker inside them belongs to an embedded thumbnail.
  size_t i = 2;
  while (i + 4 <= bytes) {
    if (file[i] != 0xff || file[i + 1] == 0xff || file[i + 1] == 0) {
      i++; // padding, or rubbish that decoders skip too
      continue;
    }
    uint8_t marker = file[i + 1];
    if (marker == 0xd9) {
      return true;
    }
    if (marker == 0xd8 || marker == 0x01 || (marker >= 0xd0 && marker <= 0xd7)) {
      i += 2;
      continue;
    }
    i += 2 + ((size_t)file[i + 2] << 8 | file[i + 3]);
    if (marker == 0xda) {
      break;
    }
  }
  // In a scan 0xff is always followed by 0 or a restart marker.
  while (i + 1 < bytes) {
    const uint8_t *p = memchr(file + i, 0xff, bytes - 1 - i);
    if (!p) {
      return false;
    }
    if (p[1] == 0xd9) {
      return true;
    }
    i = (size_t)(p - file) + 1;
  }
  return false;
}
