// open.c -- the first step of a photo: the file's bytes, what they are, and the header. Nothing is
// decoded; sizes are checked here. What the machine refuses is told from what the bytes say.
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/jpeg.h"
#include "image/source.h"
#include "image/vips.h"

enum { MAX_FILE = 512 << 20, KEEP = 64 << 20, SLACK = 4 << 20 };

frt_status frt__buffer_need(frt__buffer *b, size_t bytes)
{
  bytes += 64; // readers of 4 or 32 bytes at a time may run over the end
  if (b->cap >= bytes) {
    return FRT_OK;
  }
  size_t cap = bytes + FRT_MIN(bytes / 4, (size_t)SLACK);
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

// --- photos that take much memory ---------------------------------------------------------------
static pthread_mutex_t big = PTHREAD_MUTEX_INITIALIZER;

void frt__big(frt__scratch *s, int64_t bytes)
{
  if (bytes > FRT__BIG && !s->big) {
    pthread_mutex_lock(&big);
    s->big = true;
  }
}

void frt__scratch_trim(frt__scratch *s)
{
  trim(&s->file, KEEP);
  trim(&s->rgb, KEEP);
  trim(&s->half, KEEP);
  trim(&s->small, KEEP);
  if (s->big) {
    s->big = false;
    pthread_mutex_unlock(&big);
  }
}

void frt__scratch_free(frt__scratch *s)
{
  frt__buffer *all[] = {&s->file, &s->rgb, &s->half, &s->taps, &s->tile, &s->view, &s->small};
  for (int32_t i = 0; i < FRT_COUNT(all); i++) {
    trim(all[i], 0);
  }
  frt__jpeg_free(s->jpeg);
  s->jpeg = NULL;
  frt__scratch_trim(s);
}

// --- the file -----------------------------------------------------------------------------------
// A file that isn't there is no photo. Everything else that the system answers (too many open
// files, a network that went away, no permission) says nothing of the photo.
static bool says_no_photo(int error)
{
  return error == ENOENT || error == ENOTDIR || error == ELOOP || error == ENAMETOOLONG ||
         error == EISDIR;
}

static const char *way_out(int error)
{
  switch (error) {
  case EMFILE:
    return "; raise the limit of open files (ulimit -n), or take fewer workers";
  case ENFILE:
    return "; the system has too many open files";
  case EACCES:
  case EPERM:
    return "; see the permissions of the file and its folders";
  case EIO:
  case ESTALE:
    return "; see the disk or the network it lies on";
  default:
    return "";
  }
}

static frt_status read_once(frt__source *f, int *error)
{
  *error = 0;
  f->bytes = 0;
  int fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  struct stat st;
  if (fd < 0 || fstat(fd, &st)) {
    *error = errno;
    if (fd >= 0) {
      close(fd);
    }
    return FRT_EIO;
  }
  if (!S_ISREG(st.st_mode) || st.st_size > MAX_FILE) {
    close(fd);
    f->bytes = (size_t)st.st_size;
    return frt__bad(f, S_ISREG(st.st_mode) ? "larger than 512 MB" : "not a file");
  }
  size_t want = (size_t)st.st_size;
  frt__big(f->s, st.st_size);
  frt_status status = frt__buffer_need(&f->s->file, want);
  while (status == FRT_OK && f->bytes < want) {
    ssize_t n = read(fd, f->s->file.p + f->bytes, want - f->bytes);
    if (n < 0 && errno != EINTR) {
      *error = errno;
      status = FRT_EIO;
    } else if (n == 0) {
      break;
    }
    f->bytes += n > 0 ? (size_t)n : 0;
  }
  close(fd);
  return status;
}

// FRT_EDATA: no photo. FRT_EIO: the machine refuses, several times over a second.
static frt_status read_file(frt__source *f)
{
  enum { TRIES = 5, FIRST_PAUSE_MS = 10 };
  int error = 0;
  for (int32_t attempt = 0, pause = FIRST_PAUSE_MS; attempt < TRIES; attempt++, pause *= 4) {
    frt_status status = read_once(f, &error);
    if (error == 0) {
      return status;
    }
    if (says_no_photo(error)) {
      return frt_error_set(FRT_EDATA, "%s: %s", f->path, strerror(error));
    }
    if (attempt + 1 < TRIES) {
      frt_sleep(pause);
    }
  }
  return frt_error_set(error == ENOMEM ? FRT_ENOMEM : FRT_EIO, "%s: %s (tried %d times)%s", f->path,
                       strerror(error), (int)TRIES, way_out(error));
}

frt_status frt__bad(const frt__source *f, const char *why)
{
  return frt_error_set(FRT_EDATA, "%s: %s (%zu bytes)", f->path, why, f->bytes);
}

// --- the header ---------------------------------------------------------------------------------
frt_status frt__set_size(frt__source *f, int64_t w, int64_t h)
{
  if (w < 1 || h < 1 || w > FRT__MAX_PIXELS || h > FRT__MAX_PIXELS || w * h > FRT__MAX_PIXELS) {
    char why[120];
    snprintf(why, sizeof why, "%lld x %lld pixels, must be 1 to 100 million", (long long)w,
             (long long)h);
    return frt__bad(f, why);
  }
  const bool lies = f->header.orientation > 4;
  f->raw_w = (int32_t)w, f->raw_h = (int32_t)h;
  f->header.w = lies ? f->raw_h : f->raw_w;
  f->header.h = lies ? f->raw_w : f->raw_h;
  return FRT_OK;
}

static frt_status open_bmp(frt__source *f)
{
  int64_t w, h;
  f->decoder = FRT__BY_BMP;
  if (frt__bmp_size(f->s->file.p, f->bytes, &w, &h, &f->header.bits)) {
    return frt__bad(f, frt_error_last());
  }
  f->header.bands = 3;
  frt__set_orientation(&f->header, 1);
  return frt__set_size(f, w, h);
}

static frt_status open_jpeg(frt__source *f)
{
  frt__jpeg_info in;
  if (!frt__jpeg_has_end(f->s->file.p, f->bytes)) {
    return frt__bad(f, "truncated JPEG: its end is missing");
  }
  if (!frt__jpeg_open(&f->s->jpeg, f->s->file.p, f->bytes, &in)) {
    return frt__vips_open(f);
  }
  f->decoder = FRT__BY_JPEG;
  f->header.bands = in.bands;
  f->header.bits = 8;
  frt__set_orientation(&f->header, in.orientation);
  return frt__set_size(f, in.w, in.h);
}

static frt_status open_header(frt__source *f)
{
  char why[80];
  f->format = frt__sniff(f->s->file.p, f->bytes, &f->header.format);
  f->header.is_jpeg = f->format == FRT__JPEG;
  switch (f->format) {
  case FRT__NOT_A_PHOTO:
    return frt__bad(f, f->header.format);
  case FRT__OTHER:
    snprintf(why, sizeof why, "%s has no decoder here", f->header.format);
    return frt__bad(f, why);
  case FRT__BMP:
    return open_bmp(f);
  case FRT__JPEG:
    return open_jpeg(f);
  default:
    return frt__vips_open(f);
  }
}

frt_status frt__open(frt__source *f, frt__scratch *s, const char *path)
{
  *f = (frt__source){.path = path, .s = s, .shrink = 1, .decoder = FRT__BY_VIPS};
  frt_status status = read_file(f);
  if (status == FRT_OK) {
    status = open_header(f);
  }
  if (status != FRT_OK) {
    frt__close(f);
  }
  return status;
}

frt_status frt__open_smaller(frt__source *f, int32_t shrink)
{
  int32_t w, h;
  f->shrink = shrink;
  if (f->decoder == FRT__BY_JPEG && frt__jpeg_shrink(f->s->jpeg, shrink, &w, &h)) {
    return frt__set_size(f, w, h);
  }
  f->decoder = FRT__BY_VIPS;
  return frt__vips_smaller(f);
}

void frt__close(frt__source *f)
{
  frt__vips_close(f);
}

void frt__decode_thread_end(void)
{
  const frt__vips_api *v = frt__vips_if_open();
  if (v) {
    v->thread_shutdown();
  }
}

// --- whole photos -------------------------------------------------------------------------------
frt_status frt_photo_size(const char *path, int32_t *w, int32_t *h)
{
  frt__scratch s = {0};
  frt__source f;
  frt_status status = frt__open(&f, &s, path);
  *w = f.header.w;
  *h = f.header.h;
  frt__close(&f);
  frt__scratch_free(&s);
  return status;
}

frt_status frt_photo_read(const char *path, frt_photo *out)
{
  frt__scratch s = {0};
  frt__source f;
  frt__pixels px;
  *out = (frt_photo){0};
  frt_status status = frt__open(&f, &s, path);
  if (status == FRT_OK) {
    status = frt__read(&f, (frt__rect){0, 0, f.header.w, f.header.h}, &px);
  }
  if (status == FRT_OK) {
    *out = (frt_photo){.w = px.w,
                       .h = px.h,
                       .orientation = f.header.orientation,
                       .bands = f.header.bands,
                       .bits = f.header.bits,
                       .format = f.header.format,
                       .rgb = s.rgb.p};
    s.rgb.p = NULL, s.rgb.cap = 0;
  }
  frt__close(&f);
  frt__scratch_free(&s);
  return status;
}

void frt_photo_free(frt_photo *photo)
{
  frt__free(photo->rgb);
  photo->rgb = NULL;
}
