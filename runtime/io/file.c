// file.c -- reading at an offset, replacing a file as a whole, folders. What fails names the file
// and the system's reason.
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

frt_status frt__file_open(const char *path, int *fd, uint64_t *size)
{
  // O_NONBLOCK: opening a pipe must not wait for its writer.
  int at = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  FRT_CHECK(at >= 0, FRT_EIO, "'%s': %s", path, strerror(errno));
  struct stat st;
  if (fstat(at, &st) != 0 || !S_ISREG(st.st_mode)) {
    close(at);
    return frt_error_set(FRT_EIO, "'%s': not a regular file", path);
  }
  *fd = at;
  *size = (uint64_t)st.st_size;
  return FRT_OK;
}

frt_status frt__file_pread(int fd, const char *path, void *dst, size_t bytes, uint64_t offset)
{
  char *to = dst;
  while (bytes > 0) {
    ssize_t n = pread(fd, to, bytes, (off_t)offset);
    if (n < 0 && errno == EINTR) {
      continue;
    }
    FRT_CHECK(n >= 0, FRT_EIO, "'%s': %s", path, strerror(errno));
    FRT_CHECK(n > 0, FRT_EDATA, "'%s': the file ends early; it was cut while being read", path);
    to += n;
    offset += (uint64_t)n;
    bytes -= (size_t)n;
  }
  return FRT_OK;
}

frt_status frt__replace_start(frt_replace *r, const char *path)
{
  *r = (frt_replace){.fd = -1, .path = path};
  size_t length = strlen(path);
  FRT_CHECK(length > 0, FRT_EARG, "save: the path is empty");
  r->temp = frt__alloc(length + 5);
  FRT_CHECK(r->temp, FRT_ENOMEM, "'%s': out of memory", path);
  snprintf(r->temp, length + 5, "%s.tmp", path);
  r->fd = open(r->temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (r->fd < 0) {
    frt_error_set(FRT_EIO, "'%s': can't be written: %s", path, strerror(errno));
    frt__free(r->temp);
    r->temp = NULL;
    return FRT_EIO;
  }
  return FRT_OK;
}

frt_status frt__replace_write(frt_replace *r, const void *data, size_t bytes)
{
  const char *from = data;
  while (bytes > 0) {
    ssize_t n = write(r->fd, from, FRT_MIN(bytes, (size_t)1 << 30));
    if (n < 0 && errno == EINTR) {
      continue;
    }
    FRT_CHECK(n > 0, FRT_EIO, "'%s': can't be written: %s", r->path,
              n < 0 ? strerror(errno) : "nothing was taken");
    from += n;
    bytes -= (size_t)n;
  }
  return FRT_OK;
}

void frt__replace_abandon(frt_replace *r)
{
  if (r->fd >= 0) {
    close(r->fd);
  }
  if (r->temp) {
    unlink(r->temp);
  }
  frt__free(r->temp);
  *r = (frt_replace){.fd = -1};
}

// The rename is only lasting once the folder is on disk. Some file systems can't sync a folder; the
// rename stands there all the same.
static void sync_folder(const char *path)
{
  char folder[4096];
  const char *slash = strrchr(path, '/');
  size_t length = slash ? (size_t)(slash - path) + 1 : 0;
  if (length >= sizeof folder) {
    return;
  }
  memcpy(folder, path, length);
  folder[length] = 0;
  int fd = open(length > 0 ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd >= 0) {
    fsync(fd);
    close(fd);
  }
}

frt_status frt__replace_finish(frt_replace *r)
{
  int failed = fsync(r->fd) != 0 && errno != EINVAL;
  int code = errno;
  if (close(r->fd) != 0 && !failed) {
    failed = 1;
    code = errno;
  }
  r->fd = -1;
  if (!failed && rename(r->temp, r->path) != 0) {
    failed = 1;
    code = errno;
  }
  const char *path = r->path;
  if (failed) {
    frt__replace_abandon(r);
    return frt_error_set(FRT_EIO, "'%s': can't be written: %s", path, strerror(code));
  }
  frt__free(r->temp);
  *r = (frt_replace){.fd = -1};
  sync_folder(path);
  return FRT_OK;
}

frt_status frt_file_replace(const char *path, const void *data, size_t bytes)
{
  frt_replace r;
  FRT_TRY(frt__replace_start(&r, path));
  if (frt__replace_write(&r, data, bytes) != FRT_OK) {
    frt__replace_abandon(&r);
    return FRT_EIO;
  }
  return frt__replace_finish(&r);
}

frt_status frt_file_lock(const char *path, int32_t *lock)
{
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  FRT_CHECK(fd >= 0, FRT_EIO, "'%s': can't be written: %s", path, strerror(errno));
  if (flock(fd, LOCK_EX | LOCK_NB) != 0 &&
      errno == EWOULDBLOCK) { // some file systems know no locks
    close(fd);
    return frt_error_set(FRT_ESTATE, "'%s': another process has it", path);
  }
  *lock = fd;
  return FRT_OK;
}

void frt_file_unlock(int32_t lock)
{
  close(lock);
}

frt_status frt_make_folders(const char *path)
{
  char *copy = frt__strdup(path);
  FRT_CHECK(copy, FRT_ENOMEM, "'%s': out of memory", path);
  for (char *at = copy + 1; copy[0]; at++) {
    bool last = *at == 0;
    if (last || *at == '/') {
      *at = 0;
      if (mkdir(copy, 0777) != 0 && errno != EEXIST) {
        frt_error_set(FRT_EIO, "'%s': the folder can't be made: %s", copy, strerror(errno));
        frt__free(copy);
        return FRT_EIO;
      }
      if (last) {
        break;
      }
      *at = '/';
    }
  }
  frt__free(copy);
  int64_t size;
  double changed;
  FRT_CHECK(frt_path_kind(path, &size, &changed) == 2, FRT_EIO, "'%s': not a folder", path);
  return FRT_OK;
}

int32_t frt_path_kind(const char *path, int64_t *bytes, double *changed)
{
  struct stat st;
  bool there = stat(path, &st) == 0;
  if (bytes) {
    *bytes = there ? (int64_t)st.st_size : 0;
  }
  if (changed) {
    *changed = there ? (double)st.st_mtim.tv_sec + 1e-9 * (double)st.st_mtim.tv_nsec : 0;
  }
  if (!there) {
    return 0;
  }
  return S_ISREG(st.st_mode) ? 1 : S_ISDIR(st.st_mode) ? 2 : 3;
}
