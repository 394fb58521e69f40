// features.c -- what a frozen part of a network makes of photos, kept in a file: a header, a mark
// and a row for each view and photo. Rows are written with pwrite, where a full disk is an error,
// and read through a mapping, where nothing is copied twice.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "io/file.h"

// A mark is 0 (nothing known), 1 (the photo can't be read) or a hash of the row. It is written
// behind its row, so a process that is killed leaves rows that are whole; after a crash of the
// machine the hash tells.
enum { HEADER = 4096, ALIGN = 64, NOTHING = 0, UNREADABLE = 1 };
static const char MAGIC[8] = "frtfeat1";

typedef struct header {
  char magic[8];
  frt_features_spec spec;
  uint64_t check; // hash of what stands before it
} header;

struct frt_features {
  int fd;
  char *path;
  frt_features_spec spec;
  size_t bytes, row_step, rows_at;
  const char *map;
  uint64_t *mark; // [n_views, n_photos], as in the file
  uint8_t *kept;  // likewise: 1 where there is a row
  char *row;      // room for one
};

static size_t up(size_t n, size_t to)
{
  return (n + to - 1) / to * to;
}

static size_t n_marks(const frt_features_spec *s)
{
  return (size_t)s->n_views * (size_t)s->n_photos;
}

static size_t rows_start(const frt_features_spec *s)
{
  return up(HEADER + n_marks(s) * sizeof(uint64_t), HEADER);
}

int64_t frt_features_bytes(const frt_features_spec *s)
{
  return (int64_t)(rows_start(s) + n_marks(s) * up((size_t)s->row_bytes, ALIGN));
}

int64_t frt_disk_free(const char *folder)
{
  struct statvfs v;
  return statvfs(folder, &v) == 0 ? (int64_t)v.f_bavail * (int64_t)v.f_frsize : -1;
}

static uint64_t hash_row(const void *row, size_t bytes)
{
  uint64_t h = frt__hash(2, row, bytes);
  return h > UNREADABLE ? h : h + 2;
}

static header header_of(const frt_features_spec *s)
{
  header h;
  memset(&h, 0, sizeof h); // padding too: it is hashed
  memcpy(h.magic, MAGIC, sizeof h.magic);
  h.spec.n_photos = s->n_photos;
  h.spec.row_bytes = s->row_bytes;
  h.spec.n_views = s->n_views;
  h.spec.n_keys = s->n_keys;
  memcpy(h.spec.key, s->key, sizeof h.spec.key);
  h.check = frt__hash(1, &h, offsetof(header, check));
  return h;
}

static frt_status put_bytes(const frt_features *f, const void *src, size_t bytes, size_t at)
{
  const char *from = src;
  while (bytes > 0) {
    ssize_t n = pwrite(f->fd, from, bytes, (off_t)at);
    if (n < 0 && errno == EINTR) {
      continue;
    }
    FRT_CHECK(n > 0, FRT_EIO, "'%s': can't be written: %s", f->path,
              n < 0 ? strerror(errno) : "nothing was taken");
    from += n;
    at += (size_t)n;
    bytes -= (size_t)n;
  }
  return FRT_OK;
}

// --- opening ------------------------------------------------------------------------------------
// Whether there is a file to go on with: info->found, and its marks are read.
static frt_status look(frt_features *f, frt_features_info *info)
{
  f->fd = open(f->path, O_RDWR | O_CLOEXEC);
  if (f->fd < 0) {
    FRT_CHECK(errno == ENOENT, FRT_EIO, "'%s': %s", f->path, strerror(errno));
    return FRT_OK;
  }
  header is, want = header_of(&f->spec);
  struct stat st;
  info->found = 3;
  if (fstat(f->fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size < HEADER ||
      frt__file_pread(f->fd, f->path, &is, sizeof is, 0) != FRT_OK ||
      memcmp(is.magic, MAGIC, sizeof is.magic) != 0 ||
      is.check != frt__hash(1, &is, offsetof(header, check))) {
    return FRT_OK;
  }
  for (int32_t k = 0; k < FRT_COUNT(is.spec.key); k++) {
    if (is.spec.key[k] != want.spec.key[k]) {
      info->found = 2;
      info->differs = k;
      return FRT_OK;
    }
  }
  if (memcmp(&is, &want, sizeof is) != 0 || (size_t)st.st_size != f->bytes ||
      frt__file_pread(f->fd, f->path, f->mark, n_marks(&f->spec) * sizeof *f->mark, HEADER) !=
        FRT_OK) {
    return FRT_OK;
  }
  info->found = 1;
  return FRT_OK;
}

// A new file with all its room on the disk; the header comes last.
static frt_status make(frt_features *f)
{
  if (f->fd >= 0) {
    close(f->fd);
  }
  f->fd = open(f->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  FRT_CHECK(f->fd >= 0, FRT_EIO, "'%s': can't be written: %s", f->path, strerror(errno));
  int code = posix_fallocate(f->fd, 0, (off_t)f->bytes);
  if (code != 0) {
    unlink(f->path);
    return frt_error_set(FRT_EIO, "'%s': no room for %zu bytes: %s", f->path, f->bytes,
                         strerror(code));
  }
  memset(f->mark, 0, n_marks(&f->spec) * sizeof *f->mark);
  header h = header_of(&f->spec);
  return put_bytes(f, &h, sizeof h, 0);
}

static const char *row_at(const frt_features *f, size_t i)
{
  return f->map + f->rows_at + i * f->row_step;
}

// Compares every row with its mark.
static frt_status verify(frt_features *f, frt_features_info *info)
{
  for (size_t i = 0; i < n_marks(&f->spec); i++) {
    if (f->mark[i] <= UNREADABLE) {
      continue;
    }
    if (f->mark[i] == hash_row(row_at(f, i), (size_t)f->spec.row_bytes)) {
      f->kept[i] = 1;
      info->n_rows++;
    } else {
      f->mark[i] = NOTHING;
      info->n_lost++;
      FRT_TRY(put_bytes(f, &f->mark[i], sizeof f->mark[i], HEADER + i * sizeof f->mark[i]));
    }
  }
  return FRT_OK;
}

static frt_status open_file(frt_features *f, const char *path, frt_features_info *info)
{
  f->rows_at = rows_start(&f->spec);
  f->row_step = up((size_t)f->spec.row_bytes, ALIGN);
  f->bytes = (size_t)frt_features_bytes(&f->spec);
  info->bytes = (int64_t)f->bytes;
  f->path = frt__strdup(path);
  f->mark = frt__zalloc(n_marks(&f->spec) * sizeof *f->mark);
  f->kept = frt__zalloc(n_marks(&f->spec));
  f->row = frt__zalloc(f->row_step);
  FRT_CHECK(f->path && f->mark && f->kept && f->row, FRT_ENOMEM, "out of memory: '%s'", path);
  FRT_TRY(look(f, info));
  if (info->found != 1) {
    FRT_TRY(make(f));
  }
  void *map = mmap(NULL, f->bytes, PROT_READ, MAP_SHARED, f->fd, 0);
  FRT_CHECK(map != MAP_FAILED, FRT_EIO, "'%s': can't be mapped: %s", path, strerror(errno));
  f->map = map;
  return verify(f, info);
}

frt_status frt_features_open(frt_features **out, const char *path, const frt_features_spec *spec,
                             frt_features_info *info)
{
  *out = NULL;
  *info = (frt_features_info){.differs = -1};
  FRT_CHECK(spec->n_photos > 0 && spec->n_views > 0 && spec->row_bytes > 0 && spec->n_keys >= 0 &&
              spec->n_keys <= FRT_COUNT(spec->key) && spec->n_photos < 1LL << 31 &&
              spec->row_bytes < 1LL << 31 && spec->n_views < 1 << 16,
            FRT_EARG, "'%s': features of %lld photos, %d views, %lld bytes each", path,
            (long long)spec->n_photos, spec->n_views, (long long)spec->row_bytes);
  frt_features *f = frt__zalloc(sizeof *f);
  FRT_CHECK(f, FRT_ENOMEM, "out of memory: '%s'", path);
  f->fd = -1;
  f->spec = *spec;
  frt_status status = open_file(f, path, info);
  if (status != FRT_OK) {
    frt_features_close(f);
    return status;
  }
  *out = f;
  return FRT_OK;
}

void frt_features_close(frt_features *f)
{
  if (!f) {
    return;
  }
  if (f->map) {
    munmap((void *)f->map, f->bytes);
  }
  if (f->fd >= 0) {
    close(f->fd);
  }
  frt__free(f->path);
  frt__free(f->mark);
  frt__free(f->kept);
  frt__free(f->row);
  frt__free(f);
}

// --- rows ---------------------------------------------------------------------------------------
const uint8_t *frt_features_kept(const frt_features *f, int32_t view)
{
  return f->kept + (size_t)view * (size_t)f->spec.n_photos;
}

static frt_status index_of(const frt_features *f, int32_t view, int64_t photo, size_t *out)
{
  FRT_CHECK(view >= 0 && view < f->spec.n_views && photo >= 0 && photo < f->spec.n_photos, FRT_EARG,
            "'%s': no view %d of photo %lld", f->path, view, (long long)photo);
  *out = (size_t)view * (size_t)f->spec.n_photos + (size_t)photo;
  return FRT_OK;
}

int32_t frt_features_state(const frt_features *f, int32_t view, int64_t photo)
{
  size_t i;
  if (index_of(f, view, photo, &i) != FRT_OK) {
    return 0;
  }
  return f->mark[i] == NOTHING ? 0 : f->mark[i] == UNREADABLE ? 2 : 1;
}

static frt_status set_mark(frt_features *f, size_t i, uint64_t mark)
{
  FRT_TRY(put_bytes(f, &mark, sizeof mark, HEADER + i * sizeof mark));
  f->mark[i] = mark;
  __atomic_store_n(&f->kept[i], mark > UNREADABLE, __ATOMIC_RELEASE); // loaders read it
  return FRT_OK;
}

frt_status frt_features_unreadable(frt_features *f, int32_t view, int64_t photo)
{
  size_t i;
  FRT_TRY(index_of(f, view, photo, &i));
  return f->mark[i] == NOTHING ? set_mark(f, i, UNREADABLE) : FRT_OK;
}

static frt_status check_parts(const frt_features *f, int32_t n_parts, const int64_t *bytes)
{
  int64_t total = 0;
  for (int32_t k = 0; k < n_parts; k++) {
    total += bytes[k];
  }
  FRT_CHECK(total == f->spec.row_bytes, FRT_ESHAPE, "'%s': a row has %lld bytes, got %lld", f->path,
            (long long)f->spec.row_bytes, (long long)total);
  return FRT_OK;
}

frt_status frt_features_put(frt_features *f, int32_t view, int32_t n, const int32_t *ids,
                            const uint8_t *skip, int32_t n_parts, const void *const *parts,
                            const int64_t *bytes)
{
  FRT_TRY(check_parts(f, n_parts, bytes));
  for (int32_t r = 0; r < n; r++) {
    size_t i, at = 0;
    FRT_TRY(index_of(f, view, ids[r], &i));
    if (skip && skip[r]) {
      continue;
    }
    for (int32_t k = 0; k < n_parts; k++) {
      memcpy(f->row + at, (const char *)parts[k] + (size_t)r * (size_t)bytes[k], (size_t)bytes[k]);
      at += (size_t)bytes[k];
    }
    FRT_TRY(put_bytes(f, f->row, at, f->rows_at + i * f->row_step));
    FRT_TRY(set_mark(f, i, hash_row(f->row, at)));
  }
  return FRT_OK;
}

// Reading behind the end of a file that was cut would kill the process.
static frt_status still_whole(const frt_features *f)
{
  struct stat st;
  FRT_CHECK(fstat(f->fd, &st) == 0 && (size_t)st.st_size >= f->bytes, FRT_EDATA,
            "'%s': was cut while it was in use", f->path);
  return FRT_OK;
}

frt_status frt_features_get(const frt_features *f, int32_t view, int32_t n, const int32_t *ids,
                            int32_t n_parts, void *const *parts, const int64_t *bytes)
{
  FRT_TRY(check_parts(f, n_parts, bytes));
  FRT_TRY(still_whole(f));
  for (int32_t r = 0; r < n; r++) {
    size_t i, at = 0;
    FRT_TRY(index_of(f, view, ids[r], &i));
    FRT_CHECK(f->kept[i], FRT_ESTATE, "'%s': nothing is kept of view %d of photo %d", f->path, view,
              ids[r]);
    for (int32_t k = 0; k < n_parts; k++) {
      memcpy((char *)parts[k] + (size_t)r * (size_t)bytes[k], row_at(f, i) + at, (size_t)bytes[k]);
      at += (size_t)bytes[k];
    }
  }
  return FRT_OK;
}

uint64_t frt_hash(const void *data, size_t bytes)
{
  return frt__hash(0, data, bytes);
}
