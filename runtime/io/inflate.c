// inflate.c -- the compressed entries of numpy's .npz files, unpacked by zlib (opened on first use)
// into memory that is read like a file.
#define _GNU_SOURCE // memfd_create
#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "io/zip.h"

// Numbers don't get much smaller: what grows more than this is not weights.
enum { MAX_GROWTH = 16, CHUNK = 1 << 16 };

// The part of zlib's stable interface that is used (zlib.h).
enum { STREAM_END = 1, RAW = -15 };
typedef struct stream { // z_stream
  const unsigned char *next_in;
  unsigned avail_in;
  unsigned long total_in;
  unsigned char *next_out;
  unsigned avail_out;
  unsigned long total_out;
  const char *msg;
  void *state;
  void *(*alloc)(void *, unsigned, unsigned);
  void (*free)(void *, void *);
  void *opaque;
  int data_type;
  unsigned long adler, reserved;
} stream;

static struct {
  void *library;
  int (*init)(stream *, int, const char *, int);
  int (*inflate)(stream *, int);
  int (*end)(stream *);
  const char *(*version)(void);
} zlib;

static frt_status open_library(void)
{
  static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  pthread_mutex_lock(&lock);
  if (!zlib.library) {
    static const frt__symbol symbols[] = {
      {"inflateInit2_", &zlib.init   },
      {"inflate",       &zlib.inflate},
      {"inflateEnd",    &zlib.end    },
      {"zlibVersion",   &zlib.version},
    };
    const char *missing;
    zlib.library = frt__library("libz.so.1", FRT_COUNT(symbols), symbols, &missing);
  }
  pthread_mutex_unlock(&lock);
  FRT_CHECK(zlib.library, FRT_EDEVICE, "zlib is missing: apt install zlib1g");
  return FRT_OK;
}

static frt_status put(int to, const char *path, const unsigned char *data, size_t n)
{
  while (n > 0) {
    ssize_t k = write(to, data, n);
    if (k < 0 && errno == EINTR) {
      continue;
    }
    FRT_CHECK(k > 0, FRT_ENOMEM, "'%s': out of memory for what is compressed in it", path);
    data += k;
    n -= (size_t)k;
  }
  return FRT_OK;
}

typedef struct work {
  unsigned char in[CHUNK], out[CHUNK];
} work;

static frt_status copy(const frt_zip_entry *e, int from, int to, const char *path, work *w)
{
  for (uint64_t at = 0; at < e->size;) {
    size_t n = (size_t)FRT_MIN(e->size - at, (uint64_t)CHUNK);
    FRT_TRY(frt__file_pread(from, path, w->in, n, e->begin + at));
    FRT_TRY(put(to, path, w->in, n));
    at += n;
  }
  return FRT_OK;
}

static frt_status unpack(stream *s, const frt_zip_entry *e, int from, int to, const char *path,
                         work *w)
{
  uint64_t taken = 0, made = 0;
  int result = 0;
  while (result != STREAM_END) {
    if (s->avail_in == 0 && taken < e->packed) {
      size_t n = (size_t)FRT_MIN(e->packed - taken, (uint64_t)CHUNK);
      FRT_TRY(frt__file_pread(from, path, w->in, n, e->begin + taken));
      taken += n;
      s->next_in = w->in;
      s->avail_in = (unsigned)n;
    }
    s->next_out = w->out;
    s->avail_out = CHUNK;
    result = zlib.inflate(s, 0);
    size_t n = CHUNK - s->avail_out;
    bool stuck = n == 0 && result != STREAM_END && s->avail_in == 0 && taken == e->packed;
    FRT_CHECK((result == 0 || result == STREAM_END) && !stuck && n <= e->size - made, FRT_EDATA,
              "'%s': entry '%s' is damaged: it can't be unpacked", path, e->name);
    FRT_TRY(put(to, path, w->out, n));
    made += n;
  }
  FRT_CHECK(made == e->size, FRT_EDATA, "'%s': entry '%s' is damaged: it unpacks to %llu bytes",
            path, e->name, (unsigned long long)made);
  return FRT_OK;
}

static frt_status inflate_entry(const frt_zip_entry *e, int from, int to, const char *path, work *w)
{
  if (!e->packed) {
    return copy(e, from, to, path, w);
  }
  stream s = {0};
  FRT_CHECK(zlib.init(&s, RAW, zlib.version(), (int)sizeof s) == 0, FRT_ENOMEM,
            "'%s': out of memory for what is compressed in it", path);
  frt_status status = unpack(&s, e, from, to, path, w);
  zlib.end(&s);
  return status;
}

frt_status frt__zip_inflate(frt_zip *z, int *fd, const char *path, uint64_t *size)
{
  uint64_t total = 0;
  for (int32_t i = 0; i < z->n; i++) {
    FRT_CHECK(z->entry[i].size <= MAX_GROWTH * *size - total, FRT_EDATA,
              "'%s': what is compressed in it is more than %d times the file", path, MAX_GROWTH);
    total += z->entry[i].size;
  }
  FRT_TRY(open_library());
  work *w = frt__alloc(sizeof *w);
  int to = memfd_create("npz", MFD_CLOEXEC);
  frt_status status =
    w && to >= 0 ? FRT_OK : frt_error_set(FRT_ENOMEM, "'%s': out of memory", path);
  uint64_t at = 0;
  for (int32_t i = 0; i < z->n && status == FRT_OK; i++) {
    status = inflate_entry(&z->entry[i], *fd, to, path, w);
    z->entry[i].begin = at;
    z->entry[i].packed = 0;
    at += z->entry[i].size;
  }
  frt__free(w);
  if (status != FRT_OK) {
    if (to >= 0) {
      close(to);
    }
    return status;
  }
  close(*fd);
  *fd = to;
  *size = total;
  return FRT_OK;
}
