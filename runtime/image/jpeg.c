// jpeg.c -- opens libjpeg-turbo on first use and decodes with the settings that libvips decodes
// with. Rows above and columns beside the part are passed over, rows below are never read.
#include "jpeg.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>

#include <jerror.h>
#include <jpeglib.h>

enum {
  MARGIN = 2,      // columns beside the part that smooth upsampling of colour looks at
  WIDEST = 32,     // block of columns: reading starts at the edge of one
  MAX_SCANS = 100, // of a progressive photo, as libvips: thousands would take minutes
};

struct frt__jpeg {
  struct jpeg_decompress_struct d;
  struct jpeg_error_mgr error;
  struct jpeg_progress_mgr progress;
  jmp_buf back;
};

static struct {
  struct jpeg_error_mgr *(*std_error)(struct jpeg_error_mgr *error);
  void (*create)(j_decompress_ptr d, int version, size_t size);
  void (*destroy)(j_decompress_ptr d);
  void (*abort)(j_decompress_ptr d);
  void (*mem_src)(j_decompress_ptr d, const unsigned char *p, unsigned long bytes);
  void (*save_markers)(j_decompress_ptr d, int marker, unsigned int limit);
  int (*read_header)(j_decompress_ptr d, boolean need_image);
  void (*output_dimensions)(j_decompress_ptr d);
  boolean (*start)(j_decompress_ptr d);
  void (*crop)(j_decompress_ptr d, JDIMENSION *x, JDIMENSION *w);
  JDIMENSION (*skip)(j_decompress_ptr d, JDIMENSION rows);
  JDIMENSION (*read)(j_decompress_ptr d, JSAMPARRAY rows, JDIMENSION n);
} api;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool is_open;

static void open_library(void)
{
  static const frt__symbol functions[] = {
    {"jpeg_std_error",              &api.std_error        },
    {"jpeg_CreateDecompress",       &api.create           },
    {"jpeg_destroy_decompress",     &api.destroy          },
    {"jpeg_abort_decompress",       &api.abort            },
    {"jpeg_mem_src",                &api.mem_src          },
    {"jpeg_save_markers",           &api.save_markers     },
    {"jpeg_read_header",            &api.read_header      },
    {"jpeg_calc_output_dimensions", &api.output_dimensions},
    {"jpeg_start_decompress",       &api.start            },
    {"jpeg_crop_scanline",          &api.crop             },
    {"jpeg_skip_scanlines",         &api.skip             },
    {"jpeg_read_scanlines",         &api.read             },
  };
  const char *name = JPEG_LIB_VERSION >= 80 ? "libjpeg.so.8" : "libjpeg.so.62", *missing;
  // One without parts of photos is another libjpeg: libvips does it then.
  is_open = frt__library(name, FRT_COUNT(functions), functions, &missing) != NULL;
}

// --- errors: all lead back to the caller, who asks libvips -------------------------------------
static void fail(j_common_ptr d)
{
  longjmp(((frt__jpeg *)(void *)d)->back, 1);
}

static void message(j_common_ptr d, int level)
{
  (void)d, (void)level;
}

static boolean file_ends(j_decompress_ptr d)
{
  fail((j_common_ptr)d);
  return FALSE;
}

static void watch(j_common_ptr d)
{
  if (d->is_decompressor && ((j_decompress_ptr)d)->input_scan_number > MAX_SCANS) {
    fail(d);
  }
}

static bool make(frt__jpeg **out)
{
  frt__jpeg *j = frt__zalloc(sizeof *j);
  if (!j) {
    return false;
  }
  j->d.err = api.std_error(&j->error);
  j->error.error_exit = fail;
  j->error.emit_message = message;
  j->progress.progress_monitor = watch;
  if (setjmp(j->back)) { // the library is not the one of the header
    api.destroy(&j->d);
    frt__free(j);
    return false;
  }
  api.create(&j->d, JPEG_LIB_VERSION, sizeof j->d);
  j->d.progress = &j->progress;
  api.save_markers(&j->d, JPEG_APP0 + 1, 0xffff);
  *out = j;
  return true;
}

// --- orientation ------------------------------------------------------------------------------
static uint32_t number(const uint8_t *p, int32_t bytes, bool big)
{
  uint32_t v = 0;
  for (int32_t i = 0; i < bytes; i++) {
    v = v << 8 | p[big ? i : bytes - 1 - i];
  }
  return v;
}

// Exif 2.3: tag 0x112 of the first directory. 0: not a plain one.
static int32_t exif_orientation(const uint8_t *p, size_t bytes)
{
  if (bytes < 14 || (memcmp(p, "II*\0", 4) != 0 && memcmp(p, "MM\0*", 4) != 0)) {
    return 0;
  }
  bool big = p[0] == 'M';
  size_t at = number(p + 4, 4, big);
  size_t n = at + 2 <= bytes ? number(p + at, 2, big) : 0;
  if (n == 0 || at + 2 + 12 * n > bytes) {
    return 0;
  }
  int32_t found = 1, times = 0;
  for (const uint8_t *e = p + at + 2; n > 0; n--, e += 12) {
    if (number(e, 2, big) == 0x112) {
      bool plain = number(e + 2, 2, big) == 3 && number(e + 4, 4, big) == 1;
      found = plain ? (int32_t)number(e + 8, 2, big) : 0;
      times++;
    }
  }
  return times <= 1 && found <= 8 ? found : 0;
}

static int32_t orientation(const frt__jpeg *j)
{
  int32_t found = 1, times = 0;
  for (jpeg_saved_marker_ptr m = j->d.marker_list; m; m = m->next) {
    if (m->data_length >= 6 && memcmp(m->data, "Exif\0\0", 6) == 0) {
      found = exif_orientation(m->data + 6, m->data_length - 6);
      times++;
    }
  }
  return times <= 1 ? found : 0;
}

// --- reading ----------------------------------------------------------------------------------
static bool usual(const struct jpeg_decompress_struct *d)
{
  return d->data_precision == 8 &&
         ((d->num_components == 1 && d->jpeg_color_space == JCS_GRAYSCALE) ||
          (d->num_components == 3 &&
           (d->jpeg_color_space == JCS_YCbCr || d->jpeg_color_space == JCS_RGB)));
}

bool frt__jpeg_open(frt__jpeg **jpeg, const uint8_t *file, size_t bytes, frt__jpeg_info *out)
{
  pthread_once(&once, open_library);
  if (!is_open || (!*jpeg && !make(jpeg))) {
    return false;
  }
  frt__jpeg *j = *jpeg;
  if (setjmp(j->back)) {
    return false;
  }
  api.abort(&j->d); // what the photo before left
  api.mem_src(&j->d, file, (unsigned long)bytes);
  j->d.src->fill_input_buffer = file_ends;
  if (api.read_header(&j->d, TRUE) != JPEG_HEADER_OK || !usual(&j->d)) {
    return false;
  }
  j->d.out_color_space = JCS_RGB;
  *out = (frt__jpeg_info){(int32_t)j->d.image_width, (int32_t)j->d.image_height,
                          j->d.num_components, orientation(j)};
  return out->orientation > 0;
}

bool frt__jpeg_shrink(frt__jpeg *j, int32_t shrink, int32_t *w, int32_t *h)
{
  if (setjmp(j->back)) {
    return false;
  }
  j->d.scale_num = 1;
  j->d.scale_denom = (unsigned int)shrink;
  api.output_dimensions(&j->d);
  *w = (int32_t)j->d.output_width, *h = (int32_t)j->d.output_height;
  return true;
}

size_t frt__jpeg_room(const frt__jpeg *j, frt__rect part)
{
  int64_t w = FRT_MIN((int64_t)part.w + 2 * MARGIN + WIDEST, (int64_t)j->d.image_width);
  return (size_t)w * 3 * (size_t)part.h;
}

static bool read_part(frt__jpeg *j, frt__rect part, uint8_t *rgb, frt__pixels *out)
{
  api.start(&j->d);
  JDIMENSION x = (JDIMENSION)FRT_MAX(part.x - MARGIN, 0);
  JDIMENSION end = FRT_MIN((JDIMENSION)part.x + (JDIMENSION)part.w + MARGIN, j->d.output_width);
  JDIMENSION w = end - x;
  if (w < j->d.output_width) {
    api.crop(&j->d, &x, &w); // x goes left to a block's edge
  }
  size_t stride = (size_t)w * 3;
  if (stride * (size_t)part.h > frt__jpeg_room(j, part)) {
    return false;
  }
  if (part.y > 0) {
    api.skip(&j->d, (JDIMENSION)part.y);
  }
  for (int32_t y = 0; y < part.h; y++) {
    JSAMPROW into = rgb + stride * (size_t)y;
    if (api.read(&j->d, &into, 1) != 1) {
      return false;
    }
  }
  api.abort(&j->d);
  *out = (frt__pixels){rgb + ((size_t)part.x - x) * 3, part.w, part.h, stride};
  return true;
}

bool frt__jpeg_read(frt__jpeg *j, frt__rect part, uint8_t *rgb, frt__pixels *out)
{
  if (setjmp(j->back)) {
    return false;
  }
  return read_part(j, part, rgb, out);
}

void frt__jpeg_free(frt__jpeg *j)
{
  if (j) {
    api.destroy(&j->d);
    frt__free(j);
  }
}
