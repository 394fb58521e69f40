// refuse.c -- what a machine in trouble answers, for specs: loaded before libc (LD_PRELOAD), it
// fails open and readdir. Built by spec/support/refuse.lua.
//   REFUSE_OPEN=TEXT  open of a path that holds TEXT fails with errno REFUSE_ERRNO, the first
//                     REFUSE_TIMES times (always, when that isn't given)
//   REFUSE_LIST=TEXT  a folder whose path holds TEXT breaks off after 3 names with errno
//   REFUSE_ERRNO
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static int number(const char *name, int otherwise)
{
  const char *text = getenv(name);
  return text ? atoi(text) : otherwise;
}

static int refused(const char *path)
{
  static int times;
  const char *text = getenv("REFUSE_OPEN");
  if (!text || !path || !strstr(path, text)) {
    return 0;
  }
  return __atomic_fetch_add(&times, 1, __ATOMIC_RELAXED) < number("REFUSE_TIMES", 1 << 30);
}

#define OPEN(name)                                                                                 \
  int name(const char *path, int flags, ...)                                                       \
  {                                                                                                \
    int (*real)(const char *, int, ...) =                                                          \
      (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, #name);                                    \
    va_list list;                                                                                  \
    va_start(list, flags);                                                                         \
    mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(list, mode_t) : 0;                      \
    va_end(list);                                                                                  \
    if (refused(path)) {                                                                           \
      errno = number("REFUSE_ERRNO", EIO);                                                         \
      return -1;                                                                                   \
    }                                                                                              \
    return real(path, flags, mode);                                                                \
  }
OPEN(open)
OPEN(open64)

static DIR *broken;
static int left;

DIR *opendir(const char *path)
{
  DIR *(*real)(const char *) = (DIR * (*)(const char *)) dlsym(RTLD_NEXT, "opendir");
  const char *text = getenv("REFUSE_LIST");
  DIR *d = real(path);
  if (d && text && strstr(path, text)) {
    broken = d, left = 3;
  }
  return d;
}

#define READDIR(name, entry)                                                                       \
  struct entry *name(DIR *d)                                                                       \
  {                                                                                                \
    struct entry *(*real)(DIR *) = (struct entry * (*)(DIR *)) dlsym(RTLD_NEXT, #name);            \
    if (d == broken && left-- <= 0) {                                                              \
      errno = number("REFUSE_ERRNO", EIO);                                                         \
      return NULL;                                                                                 \
    }                                                                                              \
    return real(d);                                                                                \
  }
READDIR(readdir, dirent)
READDIR(readdir64, dirent64)
