// vips.h -- the functions of libvips that decoding needs, found when the first photo is opened: a
// program that reads no photo neither needs nor loads the library.
#pragma once
#include <vips/vips.h>

#include "base/base.h"

typedef struct frt__vips_api {
  int (*init)(const char *argv0);
  void (*concurrency_set)(int n);
  void (*cache_set_max)(int n);
  void (*block_untrusted_set)(gboolean on);
  void (*thread_shutdown)(void);
  const char *(*error_buffer)(void);
  void (*error_clear)(void);
  VipsImage *(*image_new_from_buffer)(const void *p, size_t bytes, const char *options, ...);
  int (*image_get_orientation)(VipsImage *image);
  gboolean (*image_hasalpha)(VipsImage *image);
  GType (*image_get_typeof)(const VipsImage *image, const char *name);
  int (*colourspace)(VipsImage *in, VipsImage **out, VipsInterpretation space, ...);
  int (*icc_transform)(VipsImage *in, VipsImage **out, const char *profile, ...);
  int (*flatten)(VipsImage *in, VipsImage **out, ...);
  int (*cast)(VipsImage *in, VipsImage **out, VipsBandFormat format, ...);
  VipsArrayDouble *(*array_double_newv)(int n, ...);
  void (*area_unref)(VipsArea *area);
  VipsRegion *(*region_new)(VipsImage *image);
  int (*region_prepare)(VipsRegion *region, const VipsRect *rect);
  void (*object_unref)(gpointer object);
  guint (*log_set_handler)(const char *domain, GLogLevelFlags levels, GLogFunc f, gpointer data);
} frt__vips_api;

// Opens the library once per process; FRT_EDEVICE with the reason when it can't be had.
frt_status frt__vips(const frt__vips_api **out);
const frt__vips_api *frt__vips_if_open(void);
