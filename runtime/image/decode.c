// decode.c -- file -> 8-bit sRGB pixels of the part that is wanted, upright, with the reason when
// not. The header is read first and sizes are checked before a pixel is decoded.
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image.h"
#include "jpeg.h"
#include "sniff.h"
#include "vips.h"

enum { MAX_FILE = 512 << 20, KEEP = 64 << 20, STRIP = 64 };

frt_status frt__buffer_need(frt__buffer *b, size_t bytes)
{
  bytes += 64; // readers of 4 or 32 bytes at a time may run over the end
  if (b->cap >= bytes) {
    return FRT_OK;
  }
  size_t cap = bytes + bytes / 4;
  frt__free(b->p);
  b->p = frt__alloc(cap);
  b->cap = b->p ? cap : 0;
  FRT_CHECK(b->p, FRT_ENOMEM, "out of memory: %.1f MB for a photo", (double)cap / 1e6);
  return FRT_OK;
}

static void trim(frt__buffer *b, size_t keep)
{
  if (b->cap > keep) {
    frt__free(b->p);
    *b = (frt__buffer){0};
  }
}

void frt__scratch_trim(frt__scratch *s)
{
  trim(&s->file, KEEP);
  trim(&s->rgb, KEEP);
  trim(&s->half, KEEP);
  trim(&s->small, KEEP);
}

void frt__scratch_free(frt__scratch *s)
{
  frt__buffer *all[] = {&s->file, &s->rgb, &s->half, &s->taps, &s->tile, &s->view, &s->small};
  for (int32_t i = 0; i < FRT_COUNT(all); i++) {
    trim(all[i], 0);
  }
  frt__jpeg_free(s->jpeg);
  s->jpeg = NULL;
}

// --- messages ---------------------------------------------------------------------------------
// libvips gathers the messages of all threads in one text. So decoding holds this lock for reading,
// and who failed takes it for writing, alone, to decode once more and see its own message.
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

typedef struct job {
  const char *path;
  frt__scratch *s;
  size_t bytes;
  frt__format format;
  frt__choose choose;
  void *ctx;
  frt__header *header;
  frt__pixels *out;
  int32_t raw_w, raw_h;
} job;

static frt_status bad(const job *j, const char *why)
{
  return frt_error_set(FRT_EDATA, "%s: %s (%zu bytes)", j->path, why, j->bytes);
}

static frt_status bad_vips(const job *j, const frt__vips_api *v)
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
  snprintf(why, sizeof why, "cannot decode this %s: %.*s", j->header->format, (int)n, text);
  return bad(j, why);
}

// --- reading the file ---------------------------------------------------------------------------
static frt_status read_file(job *j)
{
  int fd = open(j->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  struct stat st;
  if (fd < 0 || fstat(fd, &st)) {
    frt_status code = errno == ENOMEM ? FRT_ENOMEM : FRT_EDATA;
    frt_error_set(code, "%s: %s", j->path, strerror(errno));
    if (fd >= 0) {
      close(fd);
    }
    return code;
  }
  if (!S_ISREG(st.st_mode) || st.st_size > MAX_FILE) {
    close(fd);
    j->bytes = (size_t)st.st_size;
    return bad(j, S_ISREG(st.st_mode) ? "larger than 512 MB" : "not a file");
  }
  size_t want = (size_t)st.st_size;
  frt_status status = frt__buffer_need(&j->s->file, want);
  j->bytes = 0;
  while (status == FRT_OK && j->bytes < want) {
    ssize_t n = read(fd, j->s->file.p + j->bytes, want - j->bytes);
    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n < 0) {
      status = frt_error_set(FRT_EDATA, "%s: %s", j->path, strerror(errno));
    } else if (n == 0) {
      break;
    } else {
      j->bytes += (size_t)n;
    }
  }
  close(fd);
  return status;
}

// The part, in the scratch's rgb buffer without gaps.
static frt__pixels packed(const job *j, frt__rect part)
{
  return (frt__pixels){j->s->rgb.p, part.w, part.h, (size_t)FRT_MAX(part.w, 0) * 3};
}

static frt_status check_size(const job *j, int64_t w, int64_t h)
{
  char why[120];
  if (w >= 1 && h >= 1 && w <= FRT__MAX_PIXELS && h <= FRT__MAX_PIXELS &&
      w * h <= FRT__MAX_PIXELS) {
    return FRT_OK;
  }
  snprintf(why, sizeof why, "%lld x %lld pixels, must be 1 to 100 million", (long long)w,
           (long long)h);
  return bad(j, why);
}

// --- turning upright
// ------------------------------------------------------------------------------ Raw x and y of
// upright (x, y): {from w-1, of x, of y} for each (Exif 2.3, orientation 1 to 8).
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

static int32_t raw_at(const int8_t f[3], int32_t size, int32_t x, int32_t y)
{
  return f[0] * (size - 1) + f[1] * x + f[2] * y;
}

static frt__rect raw_part(const job *j, frt__rect p)
{
  const int8_t(*f)[3] = upright[j->header->orientation];
  int32_t x0 = raw_at(f[0], j->raw_w, p.x, p.y), y0 = raw_at(f[1], j->raw_h, p.x, p.y);
  int32_t x1 = raw_at(f[0], j->raw_w, p.x + p.w - 1, p.y + p.h - 1);
  int32_t y1 = raw_at(f[1], j->raw_h, p.x + p.w - 1, p.y + p.h - 1);
  frt__rect r = {.x = FRT_MIN(x0, x1), .y = FRT_MIN(y0, y1)};
  r.w = FRT_MAX(x0, x1) - r.x + 1;
  r.h = FRT_MAX(y0, y1) - r.y + 1;
  return r;
}

static void turn(const job *j, frt__rect part, frt__rect raw, frt__pixels src, uint8_t *dst)
{
  const int8_t(*f)[3] = upright[j->header->orientation];
  int64_t stride = (int64_t)src.stride, step = 3 * f[0][1] + f[1][1] * stride;
  for (int32_t y = 0; y < part.h; y++) {
    int64_t x0 = raw_at(f[0], j->raw_w, part.x, part.y + y) - raw.x;
    int64_t y0 = raw_at(f[1], j->raw_h, part.x, part.y + y) - raw.y;
    const uint8_t *p = src.rgb + y0 * stride + 3 * x0;
    for (int32_t x = 0; x < part.w; x++, p += step, dst += 3) {
      dst[0] = p[0], dst[1] = p[1], dst[2] = p[2];
    }
  }
}

// --- libvips
// --------------------------------------------------------------------------------------
static VipsImage *open_image(const frt__vips_api *v, const job *j, int32_t shrink)
{
  const void *p = j->s->file.p;
  if (shrink > 1) {
    return v->image_new_from_buffer(p, j->bytes, "", "access", VIPS_ACCESS_SEQUENTIAL, "fail_on",
                                    VIPS_FAIL_ON_TRUNCATED, "shrink", (int)shrink, NULL);
  }
  return v->image_new_from_buffer(p, j->bytes, "", "access", VIPS_ACCESS_SEQUENTIAL, "fail_on",
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

static void take_size(job *j, int32_t w, int32_t height)
{
  frt__header *h = j->header;
  j->raw_w = w, j->raw_h = height;
  h->w = h->orientation > 4 ? height : w;
  h->h = h->orientation > 4 ? w : height;
}

static void take_orientation(frt__header *h, int32_t orientation)
{
  h->orientation = orientation < 1 || orientation > 8 ? 1 : orientation;
  const int8_t(*f)[3] = upright[h->orientation];
  h->mirror_x = f[0][1] + f[1][1] < 0;
  h->mirror_y = f[0][2] + f[1][2] < 0;
}

// Replaces *im by *next, what the pipeline's latest step made of it.
static bool step(const frt__vips_api *v, VipsImage **im, int failed, VipsImage **next)
{
  if (failed) {
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
    int failed = v->flatten(*im, &next, "background", white, NULL);
    v->area_unref((VipsArea *)(void *)white);
    if (!step(v, im, failed, &next)) {
      return false;
    }
  }
  return (*im)->BandFmt == VIPS_FORMAT_UCHAR ||
         step(v, im, v->cast(*im, &next, VIPS_FORMAT_UCHAR, NULL), &next);
}

static frt_status read_part(const frt__vips_api *v, const job *j, VipsImage *im, frt__rect part)
{
  frt__rect raw = raw_part(j, part);
  size_t row = (size_t)raw.w * 3, bytes = row * (size_t)raw.h;
  bool turned = j->header->orientation > 1;
  frt__buffer *into = turned ? &j->s->half : &j->s->rgb;
  FRT_TRY(frt__buffer_need(into, bytes));
  VipsRegion *region = v->region_new(im);
  FRT_CHECK(region, FRT_ENOMEM, "out of memory: a region of %s", j->path);
  for (int32_t y = 0; y < raw.h; y += STRIP) {
    VipsRect r = {raw.x, raw.y + y, raw.w, FRT_MIN(STRIP, raw.h - y)};
    if (v->region_prepare(region, &r)) {
      v->object_unref(region);
      return bad_vips(j, v);
    }
    for (int32_t i = 0; i < r.height; i++) {
      const VipsPel *p = region->data + (ptrdiff_t)region->bpl * (r.top + i - region->valid.top);
      memcpy(into->p + row * (size_t)(y + i), p + 3 * (raw.x - region->valid.left), row);
    }
  }
  v->object_unref(region);
  if (turned) {
    FRT_TRY(frt__buffer_need(&j->s->rgb, bytes));
    turn(j, part, raw, (frt__pixels){j->s->half.p, raw.w, raw.h, row}, j->s->rgb.p);
  }
  return FRT_OK;
}

static frt_status choose_part(job *j, frt__rect *part, int32_t *shrink)
{
  *part = (frt__rect){0, 0, j->header->w, j->header->h};
  return j->choose ? j->choose(j->ctx, j->header, part, shrink) : FRT_OK;
}

static frt_status decode_opened(const frt__vips_api *v, job *j, VipsImage **im)
{
  frt__header *h = j->header;
  h->bands = (*im)->Bands;
  h->bits = bits_of((*im)->BandFmt);
  take_orientation(h, v->image_get_orientation(*im));
  FRT_TRY(check_size(j, (*im)->Xsize, (*im)->Ysize));
  take_size(j, (*im)->Xsize, (*im)->Ysize);
  frt__rect part;
  int32_t shrink = 1;
  FRT_TRY(choose_part(j, &part, &shrink));
  if (shrink > 1) {
    VipsImage *smaller = open_image(v, j, shrink);
    if (!step(v, im, smaller == NULL, &smaller)) {
      return bad_vips(j, v);
    }
    take_size(j, (*im)->Xsize, (*im)->Ysize);
    FRT_TRY(choose_part(j, &part, &shrink));
  }
  if (!to_srgb(v, im)) {
    return bad_vips(j, v);
  }
  if ((*im)->Bands != 3) {
    char why[80];
    snprintf(why, sizeof why, "has %d channels that are no colours", (*im)->Bands);
    return bad(j, why);
  }
  if (part.w < 1 || part.h < 1) {
    part.w = part.h = 0; // the view looks past the photo
  } else {
    FRT_TRY(read_part(v, j, *im, part));
  }
  *j->out = packed(j, part);
  return FRT_OK;
}

static frt_status decode_vips(job *j)
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
    VipsImage *im = open_image(v, j, 1);
    status = im ? decode_opened(v, j, &im) : bad_vips(j, v);
    if (im) {
      v->object_unref(im);
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

// --- JPEG
// -----------------------------------------------------------------------------------------
static frt_status read_jpeg_part(const job *j, frt__rect part, bool *done)
{
  frt__pixels px;
  frt__rect raw = raw_part(j, part);
  bool turned = j->header->orientation > 1;
  frt__buffer *into = turned ? &j->s->half : &j->s->rgb;
  FRT_TRY(frt__buffer_need(into, frt__jpeg_room(j->s->jpeg, raw)));
  *done = frt__jpeg_read(j->s->jpeg, raw, into->p, &px);
  if (!*done) {
    return FRT_OK;
  }
  if (turned) {
    FRT_TRY(frt__buffer_need(&j->s->rgb, (size_t)raw.w * 3 * (size_t)raw.h));
    turn(j, part, raw, px, j->s->rgb.p);
    px = packed(j, part);
  }
  *j->out = px;
  return FRT_OK;
}

// *done is false where the photo is left to libvips: to decode what is unusual, or to say why not.
static frt_status decode_jpeg(job *j, bool *done)
{
  frt__jpeg_info in;
  *done = frt__jpeg_open(&j->s->jpeg, j->s->file.p, j->bytes, &in);
  if (!*done) {
    return FRT_OK;
  }
  j->header->bands = in.bands;
  j->header->bits = 8;
  take_orientation(j->header, in.orientation);
  FRT_TRY(check_size(j, in.w, in.h));
  take_size(j, in.w, in.h);
  frt__rect part;
  int32_t shrink = 1;
  FRT_TRY(choose_part(j, &part, &shrink));
  if (shrink > 1) {
    frt__jpeg_shrink(j->s->jpeg, shrink, &in.w, &in.h);
    take_size(j, in.w, in.h);
    FRT_TRY(choose_part(j, &part, &shrink));
  }
  if (part.w < 1 || part.h < 1) {
    part.w = part.h = 0; // the view looks past the photo
    *j->out = packed(j, part);
    return FRT_OK;
  }
  return read_jpeg_part(j, part, done);
}

static frt_status decode_bmp(job *j)
{
  int64_t w, h;
  frt__header *head = j->header;
  if (frt__bmp_size(j->s->file.p, j->bytes, &w, &h, &head->bits)) {
    return bad(j, frt_error_last());
  }
  FRT_TRY(check_size(j, w, h));
  head->w = (int32_t)w, head->h = (int32_t)h;
  head->bands = 3, head->orientation = 1;
  FRT_TRY(frt__buffer_need(&j->s->half, (size_t)w * (size_t)h * 3));
  if (frt__bmp_decode(j->s->file.p, j->bytes, j->s->half.p)) {
    return bad(j, frt_error_last());
  }
  frt__rect part;
  int32_t shrink = 1;
  FRT_TRY(choose_part(j, &part, &shrink));
  FRT_TRY(
    frt__buffer_need(&j->s->rgb, (size_t)FRT_MAX(part.w, 0) * (size_t)FRT_MAX(part.h, 0) * 3));
  for (int32_t y = 0; y < part.h; y++) {
    memcpy(j->s->rgb.p + (size_t)y * (size_t)part.w * 3,
           j->s->half.p + ((size_t)(part.y + y) * (size_t)w + (size_t)part.x) * 3,
           (size_t)part.w * 3);
  }
  *j->out = packed(j, part);
  return FRT_OK;
}

frt_status frt__decode(frt__scratch *s, const char *path, frt__choose choose, void *ctx,
                       frt__header *header, frt__pixels *out)
{
  job j = {.path = path, .s = s, .choose = choose, .ctx = ctx, .header = header, .out = out};
  bool done;
  FRT_TRY(read_file(&j));
  j.format = frt__sniff(s->file.p, j.bytes, &header->format);
  header->is_jpeg = j.format == FRT__JPEG;
  switch (j.format) {
  case FRT__NOT_A_PHOTO:
    return bad(&j, header->format);
  case FRT__OTHER: {
    char why[80];
    snprintf(why, sizeof why, "%s has no decoder here", header->format);
    return bad(&j, why);
  }
  case FRT__BMP:
    return decode_bmp(&j);
  case FRT__JPEG:
    if (!frt__jpeg_has_end(s->file.p, j.bytes)) {
      return bad(&j, "truncated JPEG: its end is missing");
    }
    FRT_TRY(decode_jpeg(&j, &done));
    return done ? FRT_OK : decode_vips(&j);
  default:
    return decode_vips(&j);
  }
}

void frt__decode_thread_end(void)
{
  const frt__vips_api *v = frt__vips_if_open();
  if (v) {
    v->thread_shutdown();
  }
}

// Ends decoding once the header is there.
static frt_status stop_there(void *ctx, const frt__header *header, frt__rect *part, int32_t *shrink)
{
  (void)part;
  (void)shrink;
  *(bool *)ctx = header->w > 0;
  return FRT_ESTATE;
}

frt_status frt_photo_size(const char *path, int32_t *w, int32_t *h)
{
  frt__scratch s = {0};
  frt__header header = {0};
  frt__pixels px;
  bool found = false;
  frt_status status = frt__decode(&s, path, stop_there, &found, &header, &px);
  frt__scratch_free(&s);
  *w = header.w;
  *h = header.h;
  return found ? FRT_OK : status;
}

frt_status frt_photo_read(const char *path, frt_photo *out)
{
  frt__scratch s = {0};
  frt__header h = {0};
  frt__pixels px;
  *out = (frt_photo){0};
  frt_status status = frt__decode(&s, path, NULL, NULL, &h, &px);
  if (status == FRT_OK) {
    *out = (frt_photo){.w = px.w,
                       .h = px.h,
                       .orientation = h.orientation,
                       .bands = h.bands,
                       .bits = h.bits,
                       .format = h.format,
                       .rgb = s.rgb.p};
    s.rgb.p = NULL, s.rgb.cap = 0;
  }
  frt__scratch_free(&s);
  return status;
}

void frt_photo_free(frt_photo *photo)
{
  frt__free(photo->rgb);
  photo->rgb = NULL;
}
