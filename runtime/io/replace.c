// replace.c -- writing a file as a whole: the new one is complete and on disk before it takes the
// old one's place. Symbolic links stay, pipes and devices are written to, never replaced.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/file.h"

enum { MAX_LINKS = 40, TRIES = 100, COPY = 1 << 20 };

int frt__sync(int fd)
{
  while (fsync(fd) != 0) {
    switch (errno) {
    case EINTR:
      continue;
    case EINVAL: // pipes and devices
    case EROFS:
    case EOPNOTSUPP: // network and user-space file systems without it
#if ENOTSUP != EOPNOTSUPP
    case ENOTSUP:
#endif
    case ENOSYS:
    case EPERM: // some sandboxes
    case EACCES:
      return 0;
    default:
      return errno;
    }
  }
  return 0;
}

// --- where a path leads
// ---------------------------------------------------------------------------- Length of the
// folder's part, with its slash.
static size_t folder_length(const char *path)
{
  const char *slash = strrchr(path, '/');
  return slash ? (size_t)(slash - path) + 1 : 0;
}

// The path behind all links of its last part; what it names need not exist.
static char *follow(const char *path)
{
  char *at = frt__strdup(path), link[PATH_MAX];
  for (int i = 0; at && i < MAX_LINKS; i++) {
    ssize_t n = readlink(at, link, sizeof link - 1);
    if (n <= 0) {
      return at;
    }
    link[n] = 0;
    size_t folder = link[0] == '/' ? 0 : folder_length(at);
    char *next = frt__alloc(folder + (size_t)n + 1);
    if (next) {
      memcpy(next, at, folder);
      memcpy(next + folder, link, (size_t)n + 1);
    }
    frt__free(at);
    at = next;
  }
  return at;
}

// The number of one of this process's own files: /dev/stdout, /dev/fd/3; -1: another path.
static int own_file(const char *path)
{
  static const char *const folders[] = {"/dev/fd/", "/proc/self/fd/"};
  if (strcmp(path, "/dev/stdout") == 0) {
    return 1;
  }
  if (strcmp(path, "/dev/stderr") == 0) {
    return 2;
  }
  for (int i = 0; i < FRT_COUNT(folders); i++) {
    size_t n = strlen(folders[i]);
    if (strncmp(path, folders[i], n) == 0 && path[n] >= '0' && path[n] <= '9') {
      char *end;
      long fd = strtol(path + n, &end, 10);
      return *end == 0 && fd <= INT_MAX ? (int)fd : -1;
    }
  }
  return -1;
}

static frt_status cannot(frt_replace *r, int code)
{
  // Memory may be had after a collection: FRT_ENOMEM is asked again.
  frt_status status =
    code == ENOMEM
      ? frt_error_set(FRT_ENOMEM, "out of memory: writing '%s'", r->path ? r->path : "a file")
      : frt_error_set(FRT_EIO, "'%s': can't be written: %s", r->path, strerror(code));
  frt__replace_abandon(r);
  return status;
}

// --- starting
// -------------------------------------------------------------------------------------- A new file
// in the target's folder. Its name depends on the target's only as far as there is room.
static int make_temp(frt_replace *r)
{
  size_t folder = folder_length(r->target), room = folder + 256;
  const char *name = r->target + folder;
  r->temp = frt__alloc(room);
  if (!r->temp) {
    return ENOMEM;
  }
  memcpy(r->temp, r->target, folder);
  r->temp[folder] = 0;
  frt__temp_sweep(folder > 0 ? r->temp : ".");
  for (int i = 0; i < TRIES; i++) {
    char tag[FRT_TEMP_TAG];
    frt__temp_tag(tag);
    snprintf(r->temp + folder, room - folder, ".%.180s.%s.tmp", name, tag);
    r->fd = open(r->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (r->fd >= 0) {
      flock(r->fd, LOCK_EX | LOCK_NB); // says that its maker lives
      return 0;
    }
    if (errno != EEXIST && errno != EINTR) {
      break;
    }
  }
  int code = errno;
  frt__free(r->temp);
  r->temp = NULL;
  return code;
}

static frt_status open_itself(frt_replace *r, int flags)
{
  do {
    r->fd = open(r->target, O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | flags);
    if (r->fd < 0 && errno == ENXIO && frt_interrupted() == 0) { // a pipe that nobody reads yet
      usleep(20000);
      errno = EINTR;
    }
  } while (r->fd < 0 && errno == EINTR && frt_interrupted() == 0);
  return r->fd >= 0 ? FRT_OK : cannot(r, errno);
}

frt_status frt__replace_start(frt_replace *r, const char *path)
{
  *r = (frt_replace){.fd = -1};
  FRT_CHECK(path[0], FRT_EARG, "save: the path is empty");
  r->path = frt__strdup(path);
  r->target = r->path ? follow(path) : NULL;
  if (!r->target) {
    return cannot(r, ENOMEM);
  }
  struct stat st;
  int own = own_file(path);
  if (own >= 0) {
    r->fd = fcntl(own, F_DUPFD_CLOEXEC, 3);
    return r->fd >= 0 ? FRT_OK : cannot(r, errno);
  }
  // By the given path: behind /proc's links lie files that have no path.
  bool there = stat(path, &st) == 0;
  if (there && S_ISDIR(st.st_mode)) {
    return cannot(r, EISDIR);
  }
  if (there && !S_ISREG(st.st_mode)) {
    frt__free(r->target);
    r->target = frt__strdup(path);
    return r->target ? open_itself(r, 0) : cannot(r, ENOMEM);
  }
  if (there && access(path, W_OK) != 0) {
    return cannot(r, errno);
  }
  int code = make_temp(r);
  if (code == 0) {
    if (there) { // the new file is whose the old one was, as far as that can be
      int kept =
        fchown(r->fd, st.st_uid, st.st_gid) == 0 || fchown(r->fd, (uid_t)-1, st.st_gid) == 0;
      fchmod(r->fd, st.st_mode & (kept ? 07777 : 0777));
    }
    return FRT_OK;
  }
  bool closed = code == EACCES || code == EPERM || code == EROFS;
  return there && closed ? open_itself(r, O_TRUNC) : cannot(r, code);
}

// --- writing
// ---------------------------------------------------------------------------------------
static void wait_writable(int fd)
{
  struct pollfd p = {.fd = fd, .events = POLLOUT};
  poll(&p, 1, 200);
}

// 0 or an errno. Waiting for who reads a pipe ends with an interrupt; a file is written to its end.
static int put(int fd, const void *data, size_t bytes)
{
  const char *from = data;
  while (bytes > 0) {
    ssize_t n = write(fd, from, FRT_MIN(bytes, (size_t)1 << 30));
    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n < 0 && errno == EAGAIN) {
      if (frt_interrupted() > 0) {
        return EINTR;
      }
      wait_writable(fd);
      continue;
    }
    if (n <= 0) {
      return n < 0 ? errno : EIO;
    }
    from += n;
    bytes -= (size_t)n;
  }
  return 0;
}

frt_status frt__replace_write(frt_replace *r, const void *data, size_t bytes)
{
  int code = put(r->fd, data, bytes);
  FRT_CHECK(code == 0, FRT_EIO, "'%s': can't be written: %s", r->path, strerror(code));
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
  frt__free(r->target);
  frt__free(r->path);
  *r = (frt_replace){.fd = -1};
}

// --- finishing
// ------------------------------------------------------------------------------------- The rename
// is only lasting once the folder is on disk. Some file systems can't sync a folder; the rename
// stands there all the same.
static void sync_folder(const char *path)
{
  char folder[PATH_MAX];
  size_t length = folder_length(path);
  if (length >= sizeof folder) {
    return;
  }
  memcpy(folder, path, length);
  folder[length] = 0;
  int fd = open(length > 0 ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd >= 0) {
    frt__sync(fd);
    close(fd);
  }
}

// Puts the bytes into the old file itself, where that can't be renamed over (a file that is mounted
// by itself, as containers do).
static int copy_into(const char *from, const char *to)
{
  int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_TRUNC | O_CLOEXEC);
  int code = in >= 0 && out >= 0 ? 0 : errno;
  char *chunk = code == 0 ? frt__alloc(COPY) : NULL;
  code = code == 0 && !chunk ? ENOMEM : code;
  while (code == 0) {
    ssize_t n = read(in, chunk, COPY);
    if (n == 0) {
      break;
    }
    code = n < 0 ? (errno == EINTR ? 0 : errno) : put(out, chunk, (size_t)n);
  }
  code = code == 0 ? frt__sync(out) : code;
  frt__free(chunk);
  if (in >= 0) {
    close(in);
  }
  if (out >= 0 && close(out) != 0 && errno != EINTR && code == 0) {
    code = errno;
  }
  return code;
}

static int move_over(const char *from, const char *to)
{
  if (rename(from, to) == 0) {
    return 0;
  }
  int code = errno;
  if (code == EEXIST || code == EPERM ||
      code == EACCES) { // a file system whose rename replaces nothing
    struct stat st;
    if (lstat(to, &st) == 0 && S_ISREG(st.st_mode) && code == EEXIST && unlink(to) == 0) {
      return rename(from, to) == 0 ? 0 : errno;
    }
  }
  if (code == EBUSY || code == EXDEV || code == EPERM || code == EACCES) {
    int other = copy_into(from, to);
    if (other == 0) {
      unlink(from);
    }
    return other;
  }
  return code;
}

frt_status frt_file_rename(const char *from, const char *to)
{
  int code = move_over(from, to);
  FRT_CHECK(code == 0, FRT_EIO, "'%s': can't be renamed to '%s': %s", from, to, strerror(code));
  return FRT_OK;
}

frt_status frt__replace_finish(frt_replace *r)
{
  int code = frt__sync(r->fd);
  if (close(r->fd) != 0 && errno != EINTR && code == 0) {
    code = errno;
  }
  r->fd = -1;
  if (code == 0 && r->temp) {
    code = move_over(r->temp, r->target);
  }
  if (code != 0) {
    return cannot(r, code);
  }
  if (r->temp) {
    sync_folder(r->target);
  }
  frt__free(r->temp);
  r->temp = NULL;
  frt__replace_abandon(r);
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

// --- in pieces
// -------------------------------------------------------------------------------------
struct frt_writer {
  frt_replace r;
  size_t n;
  char buffer[1 << 16];
};

frt_status frt_writer_open(const char *path, frt_writer **out)
{
  frt_writer *w = frt__alloc(sizeof *w);
  FRT_CHECK(w, FRT_ENOMEM, "'%s': out of memory", path);
  w->n = 0;
  if (frt__replace_start(&w->r, path) != FRT_OK) {
    frt__free(w);
    return FRT_EIO;
  }
  *out = w;
  return FRT_OK;
}

static frt_status flush(frt_writer *w)
{
  size_t n = w->n;
  w->n = 0;
  return frt__replace_write(&w->r, w->buffer, n);
}

frt_status frt_writer_put(frt_writer *w, const void *data, size_t bytes)
{
  if (w->n + bytes > sizeof w->buffer) {
    FRT_TRY(flush(w));
  }
  if (bytes > sizeof w->buffer) {
    return frt__replace_write(&w->r, data, bytes);
  }
  memcpy(w->buffer + w->n, data, bytes);
  w->n += bytes;
  return FRT_OK;
}

frt_status frt_writer_close(frt_writer *w)
{
  frt_status status = flush(w);
  if (status == FRT_OK) {
    status = frt__replace_finish(&w->r);
  } else {
    frt__replace_abandon(&w->r);
  }
  frt__free(w);
  return status;
}

void frt_writer_drop(frt_writer *w)
{
  if (w) {
    frt__replace_abandon(&w->r);
    frt__free(w);
  }
}

// --- lines
// -----------------------------------------------------------------------------------------
frt_status frt_file_append(const char *path, const void *data, size_t bytes, int32_t sync)
{
  int fd;
  do {
    fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0666);
  } while (fd < 0 && errno == EINTR);
  FRT_CHECK(fd >= 0, FRT_EIO, "'%s': can't be written: %s", path, strerror(errno));
  struct stat st;
  bool regular = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
  int code = put(fd, data, bytes);
  if (code != 0 && regular && ftruncate(fd, st.st_size) != 0) {
    regular = false; // the half line stays; the first reason is what counts
  }
  if (code == 0 && sync) {
    code = frt__sync(fd);
  }
  if (close(fd) != 0 && errno != EINTR && code == 0) {
    code = errno;
  }
  FRT_CHECK(code == 0, FRT_EIO, "'%s': can't be written: %s", path, strerror(code));
  return FRT_OK;
}
