// file.c -- reading at an offset, locks, folders. What fails names the file and the system's
// reason. (Writing is in replace.c.)
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
