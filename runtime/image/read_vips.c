// read_vips.c -- header and pixels by libvips: all that is neither BMP nor a usual JPEG.
#include <pthread.h>
#include <stdio.h>

#include "image/source.h"
#include "image/vips.h"

enum { STRIP = 64 }; // rows that are asked for at once

// --- messages -----------------------------------------------------------------------------------
// libvips gathers the messages of all threads in one text. So its work is done with this lock held
// for reading, and who failed takes it for writing, alone, to do everything once more and see its
// own message.
static pthread_rwlock_t message_lock;
static pthread_once_t message_once = PTHREAD_ONCE_INIT;

static void message_open(void)
{
  pthread_rwlockattr_t a;
  pthread_rwlockattr_init(&a);
#ifdef __GLIBC__
  pthread_rwlockattr_setkind_np(&a, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
#endif
  pthread_rwlock_init(&message_lock, &a);
  pthread_rwlockattr_destroy(&a);
}

static frt_status failed(const frt__source *f, const frt__vips_api *v)
{
  char why[300];
  const char *text = v->error_buffer();
  size_t n = strcspn(text, "\n");
  const char *colon = memchr(text, ':', n); // "jpegload_buffer: ..." names libvips's part: no news
  if (colon && colon[1] == ' ') {
    n -= (size_t)(colon + 2 - text);
    text = colon + 2;
  }
  if (n == 0) {
    text = "no reason given", n = strlen(text);
  }
  if (strstr(text, "out of memory") || strstr(text, "nsufficient memory")) {
    return frt_error_set(FRT_ENOMEM, "%s: %.*s", f->path, (int)n, text);
  }
  snprintf(why, sizeof why, "cannot decode this %s: %.*s", f->header.format, (int)n, text);
  return frt__bad(f, why);
}

// --- opening ------------------------------------------------------------------------------------
static VipsImage *image_of(const frt__vips_api *v, const frt__source *f)
{
  const void *p = f->s->file.p;
  if (f->shrink > 1) {
    return v->image_new_from_buffer(p, f->bytes, "", "access", VIPS_ACCESS_SEQUENTIAL, "fail_on",
                                    VIPS_FAIL_ON_TRUNCATED, "shrink", (int)f->shrink, NULL);
  }
  return v->image_new_from_buffer(p, f->bytes, "", "access", VIPS_ACCESS_SEQUENTIAL, "fail_on",
                                  VIPS_FAIL_ON_TRUNCATED, NULL);
}

static int32_t bits_of(VipsBandFormat format)
{
  switch (format) {
  case VIPS_FORMAT_UCHAR:
  case VIPS_FORMAT_CHAR:
    return 8;
  case VIPS_FORMAT_USHORT:
  case VIPS_FORMAT_SHORT:
    return 16;
  default:
    return 32;
  }
}

// Whole numbers from 0 of 8 or 16 bits have a black and a white. Of others only colour spaces with
// a measure of their own do (Lab, XYZ); elsewhere files are written with 0 .. 1, 0 .. 255 or any
// other range, and don't say which.
static frt_status check_numbers(const frt__source *f, const VipsImage *im)
{
  const char *what;
  const bool measured = im->Type == VIPS_INTERPRETATION_LAB ||
                        im->Type == VIPS_INTERPRETATION_LABS || im->Type == VIPS_INTERPRETATION_XYZ;
  switch (im->BandFmt) {
  case VIPS_FORMAT_UCHAR:
  case VIPS_FORMAT_USHORT:
    return FRT_OK;
  case VIPS_FORMAT_CHAR:
  case VIPS_FORMAT_SHORT:
    what = "signed whole numbers";
    break;
  case VIPS_FORMAT_INT:
  case VIPS_FORMAT_UINT:
    what = "32-bit whole numbers";
    break;
  default:
    what = "floating-point numbers";
    break;
  }
  if (measured) {
    return FRT_OK;
  }
  char why[160];
  snprintf(why, sizeof why,
           "this %s holds %s, whose black and white are not known; save it with 8 or 16 bits a "
           "channel",
           f->header.format, what);
  return frt__bad(f, why);
}

static frt_status open_here(const frt__vips_api *v, frt__source *f)
{
  frt__vips_close(f);
  VipsImage *im = image_of(v, f);
  if (!im) {
    return failed(f, v);
  }
  f->vips = im;
  f->header.bands = im->Bands;
  f->header.bits = bits_of(im->BandFmt);
  frt__set_orientation(&f->header, v->image_get_orientation(im));
  FRT_TRY(check_numbers(f, im));
  return frt__set_size(f, im->Xsize, im->Ysize);
}

// --- pixels -------------------------------------------------------------------------------------
// Replaces *im by *next, what the pipeline's latest step made of it.
static bool step(const frt__vips_api *v, VipsImage **im, int refused, VipsImage **next)
{
  if (refused) {
    return false;
  }
  v->object_unref(*im);
  *im = *next;
  return true;
}

static bool to_srgb(const frt__vips_api *v, VipsImage **im)
{
  VipsImage *next = NULL;
  if ((*im)->Type == VIPS_INTERPRETATION_CMYK && v->image_get_typeof(*im, VIPS_META_ICC_NAME)) {
    if (!step(v, im, v->icc_transform(*im, &next, "srgb", "embedded", 1, NULL), &next)) {
      v->error_clear(); // a damaged profile: libvips's own conversion does
    }
  }
  if ((*im)->Type != VIPS_INTERPRETATION_sRGB &&
      !step(v, im, v->colourspace(*im, &next, VIPS_INTERPRETATION_sRGB, NULL), &next)) {
    return false;
  }
  if (v->image_hasalpha(*im)) {
    VipsArrayDouble *white = v->array_double_newv(3, 255.0, 255.0, 255.0);
    int refused = v->flatten(*im, &next, "background", white, NULL);
    v->area_unref((VipsArea *)(void *)white);
    if (!step(v, im, refused, &next)) {
      return false;
    }
  }
  return (*im)->BandFmt == VIPS_FORMAT_UCHAR ||
         step(v, im, v->cast(*im, &next, VIPS_FORMAT_UCHAR, NULL), &next);
}

static frt_status copy_part(const frt__vips_api *v, const frt__source *f, VipsImage *im,
                            frt__rect raw, frt__buffer *into)
{
  size_t row = (size_t)raw.w * 3;
  FRT_TRY(frt__buffer_need(into, row * (size_t)raw.h));
  VipsRegion *region = v->region_new(im);
  FRT_CHECK(region, FRT_ENOMEM, "out of memory: a region of %s", f->path);
  for (int32_t y = 0; y < raw.h; y += STRIP) {
    VipsRect r = {raw.x, raw.y + y, raw.w, FRT_MIN(STRIP, raw.h - y)};
    if (v->region_prepare(region, &r)) {
      v->object_unref(region);
      return failed(f, v);
    }
    for (int32_t i = 0; i < r.height; i++) {
      const VipsPel *p = region->data + (ptrdiff_t)region->bpl * (r.top + i - region->valid.top);
      memcpy(into->p + row * (size_t)(y + i), p + 3 * (raw.x - region->valid.left), row);
    }
  }
  v->object_unref(region);
  return FRT_OK;
}

static frt_status read_here(const frt__vips_api *v, frt__source *f, frt__rect part,
                            frt__pixels *out)
{
  VipsImage *im = f->vips;
  f->vips = NULL; // to_srgb replaces it
  bool converted = to_srgb(v, &im);
  f->vips = im;
  if (!converted) {
    return failed(f, v);
  }
  if (im->Bands != 3) {
    char why[80];
    snprintf(why, sizeof why, "has %d channels that are no colours", im->Bands);
    return frt__bad(f, why);
  }
  frt__rect raw = frt__raw_part(f, part);
  if (f->header.orientation <= 1) {
    FRT_TRY(copy_part(v, f, im, raw, &f->s->rgb));
    *out = (frt__pixels){f->s->rgb.p, raw.w, raw.h, (size_t)raw.w * 3};
    return FRT_OK;
  }
  FRT_TRY(copy_part(v, f, im, raw, &f->s->half));
  frt__pixels px = {f->s->half.p, raw.w, raw.h, (size_t)raw.w * 3};
  return frt__turn(f, part, raw, &px, out);
}

// --- both, with the lock ------------------------------------------------------------------------
// Opens, and reads where `out` is given: beside other threads, then, where that failed, alone.
static frt_status work(frt__source *f, const frt__rect *part, frt__pixels *out, bool is_open)
{
  const frt__vips_api *v;
  FRT_TRY(frt__vips(&v));
  pthread_once(&message_once, message_open);
  frt_status status = FRT_OK;
  for (int32_t alone = 0; alone < 2; alone++) {
    if (alone) {
      pthread_rwlock_wrlock(&message_lock);
      v->error_clear();
    } else {
      pthread_rwlock_rdlock(&message_lock);
    }
    status = is_open && !alone ? FRT_OK : open_here(v, f);
    if (status == FRT_OK && out) {
      status = read_here(v, f, *part, out);
    }
    if (status != FRT_OK) {
      frt__vips_close(f);
    }
    if (alone) {
      v->error_clear();
    }
    pthread_rwlock_unlock(&message_lock);
    if (status != FRT_EDATA) {
      break;
    }
  }
  return status;
}

frt_status frt__vips_open(frt__source *f)
{
  return work(f, NULL, NULL, false);
}

frt_status frt__vips_smaller(frt__source *f)
{
  return work(f, NULL, NULL, false);
}

// Formats that are unpacked whole hold a frame of four bytes a pixel besides the part.
static int64_t room(const frt__source *f, frt__rect part)
{
  int64_t pixels = (int64_t)part.w * part.h, whole = (int64_t)f->raw_w * f->raw_h;
  bool by_rows = f->format == FRT__PNG || f->format == FRT__JPEG || f->format == FRT__TIFF;
  return (f->header.orientation > 1 ? 6 : 3) * pixels + (by_rows ? 0 : 4 * whole);
}

frt_status frt__vips_read(frt__source *f, frt__rect part, frt__pixels *out)
{
  frt__big(f->s, room(f, part));
  return work(f, &part, out, f->vips != NULL);
}

void frt__vips_close(frt__source *f)
{
  if (f->vips) {
    frt__vips_if_open()->object_unref(f->vips);
    f->vips = NULL;
  }
}
