// claim.c -- one process at a time: a file that says which process has something for as long as it
// lives, and a folder that is made by exactly one.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base.h"

enum { TEXT = 512 };

// "PID START FILE PLACE\n": the process, when it started (its number may be another's by now), the
// file's number (a copy of it claims nothing), and where numbers of processes mean the same: host
// and namespace.
typedef struct owner {
  long pid;
  unsigned long long start, file;
  char place[TEXT / 2];
} owner;

// When a process started, in ticks since the machine did; 0 where it isn't known, NOBODY where it
// has ended and only waits for its parent.
static const unsigned long long NOBODY = ~0ull;

static unsigned long long start_of(long pid)
{
  char path[64], text[1024];
  snprintf(path, sizeof path, "/proc/%ld/stat", pid);
  FILE *file = fopen(path, "re");
  size_t n = file ? fread(text, 1, sizeof text - 1, file) : 0;
  if (file) {
    fclose(file);
  }
  text[n] = 0;
  const char *at = strrchr(text, ')'); // the name may hold anything
  if (at && (at[2] == 'Z' || at[2] == 'X')) {
    return NOBODY;
  }
  for (int field = 2; at && field < 22; field++) {
    at = strchr(at + 1, ' ');
  }
  return at ? strtoull(at, NULL, 10) : 0;
}

static owner myself(int fd)
{
  struct stat s = {0};
  fstat(fd, &s);
  owner o = {(long)getpid(), start_of((long)getpid()), (unsigned long long)s.st_ino, ""};
  char host[128] = "", space[64] = "";
  gethostname(host, sizeof host - 1);
  ssize_t n = readlink("/proc/self/ns/pid", space, sizeof space - 1);
  space[FRT_MAX(n, 0)] = 0;
  snprintf(o.place, sizeof o.place, "%s/%s", host, space);
  for (char *c = o.place; *c; c++) {
    *c = *c == ' ' || *c == '\n' ? '_' : *c;
  }
  return o;
}

static bool read_owner(int fd, owner *o)
{
  char text[TEXT];
  ssize_t n = pread(fd, text, sizeof text - 1, 0);
  if (n <= 0) {
    return false;
  }
  text[n] = 0;
  return sscanf(text, "%ld %llu %llu %255s", &o->pid, &o->start, &o->file, o->place) == 4 &&
         o->pid > 0;
}

static bool same(const owner *a, const owner *b)
{
  return a->pid == b->pid && a->start == b->start && a->file == b->file &&
         strcmp(a->place, b->place) == 0;
}

// Whether the process lives. Of another place that can't be known: `elsewhere` is the answer.
static bool lives(const owner *o, const owner *me, bool elsewhere)
{
  if (o->file != me->file) {
    return false;
  }
  if (strcmp(o->place, me->place) != 0) {
    return elsewhere;
  }
  const unsigned long long start = start_of(o->pid);
  return (kill((pid_t)o->pid, 0) == 0 || errno == EPERM) && start != NOBODY &&
         (o->start == 0 || start == o->start);
}

static frt_status in_use(const owner *o, const owner *me, const char *path)
{
  if (strcmp(o->place, me->place) == 0) {
    return frt_error_set(FRT_ESTATE, "in use by process %ld", o->pid);
  }
  return frt_error_set(FRT_ESTATE, "in use by process %ld of %.*s (if there is none, remove '%s')",
                       o->pid, (int)strcspn(o->place, "/"), o->place, path);
}

// Whether the file that is open still has the name: the one before may have removed it.
static bool has_name(int fd, const char *path)
{
  struct stat a, b;
  return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

static bool write_owner(int fd, const owner *me)
{
  char text[TEXT];
  int n =
    snprintf(text, sizeof text, "%ld %llu %llu %s\n", me->pid, me->start, me->file, me->place);
  owner back;
  return ftruncate(fd, 0) == 0 && pwrite(fd, text, (size_t)n, 0) == n && read_owner(fd, &back) &&
         same(&back, me);
}

// One try; *again: the file was replaced meanwhile.
static frt_status try_claim(const char *path, bool locks, int32_t *claim, bool *again)
{
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  FRT_CHECK(fd >= 0, FRT_EIO, "'%s': can't be written: %s", path, strerror(errno));
  const owner me = myself(fd);
  owner other;
  const int failed = !locks || flock(fd, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
  const bool locked = locks && failed == 0;
  bool known = read_owner(fd, &other);
  for (int i = 0; i < 20 && failed == EWOULDBLOCK && !(known && lives(&other, &me, true)); i++) {
    nanosleep(&(struct timespec){0, 10000000}, NULL); // whoever has it is about to write its name
    known = read_owner(fd, &other);
  }
  frt_status status = FRT_OK;
  *again = false;
  // Some file systems know no locks, or say yes to everybody: then what the file says decides.
  if (failed == EWOULDBLOCK) {
    status = known ? in_use(&other, &me, path)
                   : frt_error_set(FRT_ESTATE, "in use by another process, which has '%s'", path);
  } else if (!has_name(fd, path)) {
    *again = true;
  } else if (known && !same(&other, &me) && lives(&other, &me, !locked)) {
    status = in_use(&other, &me, path);
  } else if (known && same(&other, &me) && !locked) {
    status = frt_error_set(FRT_ESTATE, "in use by this process");
  } else if (!write_owner(fd, &me)) {
    status = frt_error_set(FRT_EIO, "'%s': can't be written: %s", path, strerror(errno));
  } else {
    *claim = fd;
    return FRT_OK;
  }
  close(fd);
  return status;
}

frt_status frt_claim(const char *path, int32_t locks, int32_t *claim)
{
  bool again = true;
  for (int i = 0; i < 100 && again; i++) {
    FRT_TRY(try_claim(path, locks != 0, claim, &again));
  }
  FRT_CHECK(!again, FRT_ESTATE, "'%s' comes and goes", path);
  return FRT_OK;
}

void frt_claim_end(const char *path, int32_t claim)
{
  const owner me = myself(claim);
  owner now;
  if (read_owner(claim, &now) && same(&now, &me) && has_name(claim, path)) {
    unlink(path); // a child of fork holds the file too, and is not its owner
  }
  close(claim);
}

frt_status frt_folder_new(const char *path)
{
  char *copy = frt__strdup(path);
  FRT_CHECK(copy, FRT_ENOMEM, "'%s': out of memory", path);
  frt_status status = FRT_OK;
  for (char *at = strchr(copy + (copy[0] != 0), '/'); at && status == FRT_OK;
       at = strchr(at + 1, '/')) {
    *at = 0;
    if (mkdir(copy, 0777) != 0 && errno != EEXIST) {
      status = frt_error_set(FRT_EIO, "'%s': the folder can't be made: %s", copy, strerror(errno));
    }
    *at = '/';
  }
  if (status == FRT_OK && mkdir(copy, 0777) != 0) {
    status = errno == EEXIST ? frt_error_set(FRT_ESTATE, "'%s' is there already", path)
                             : frt_error_set(FRT_EIO, "'%s': the folder can't be made: %s", path,
                                             strerror(errno));
  }
  frt__free(copy);
  return status;
}

void frt_folder_drop(const char *path)
{
  rmdir(path);
}
