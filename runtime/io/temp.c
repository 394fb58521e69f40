// temp.c -- names for files that are not finished yet: no two processes ever choose the same one,
// nothing of the user's is taken, and what a killed process left behind is found again.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "io/file.h"

enum { OLD_S = 24 * 3600 }; // leftovers of other machines are dropped after a day

// This boot and this set of process numbers (a container has its own), as 32 bits: a process number
// means something only together with them.
static uint32_t where_pids_count(void)
{
  static _Atomic uint32_t known;
  uint32_t v = known;
  if (v != 0) {
    return v;
  }
  char text[128] = {0};
  int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
  if (fd >= 0) {
    ssize_t n = read(fd, text, 40);
    close(fd);
    text[n > 0 ? n : 0] = 0;
  }
  size_t n = strlen(text);
  ssize_t more = readlink("/proc/self/ns/pid", text + n, sizeof text - n - 1);
  n += more > 0 ? (size_t)more : 0;
  if (n == 0) { // no /proc: at least the machine's name
    gethostname(text, sizeof text - 1);
    n = strlen(text);
  }
  uint64_t h = frt__hash(3, text, n);
  v = (uint32_t)(h ^ h >> 32) | 1;
  known = v;
  return v;
}

void frt__temp_tag(char out[FRT_TEMP_TAG])
{
  static _Atomic uint32_t counter;
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  uint64_t draw[4] = {(uint64_t)t.tv_sec, (uint64_t)t.tv_nsec, (uint64_t)getpid(), ++counter};
  int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
  if (fd >= 0) {
    ssize_t n = read(fd, draw, sizeof draw[0]); // what is missing is as good as before
    (void)n;
    close(fd);
  }
  uint64_t h = frt__hash(4, draw, sizeof draw);
  snprintf(out, FRT_TEMP_TAG, "%08x-%ld-%08x", where_pids_count(), (long)getpid(),
           (uint32_t)(h ^ h >> 32));
}

void frt_temp_tag(char out[40])
{
  frt__temp_tag(out);
}

int32_t frt_temp_dead(const char *tag)
{
  char *end;
  unsigned long where = strtoul(tag, &end, 16);
  if (end != tag + 8 || *end != '-' || where != where_pids_count()) {
    return 0;
  }
  long pid = strtol(end + 1, &end, 10);
  return pid > 0 && *end == '-' && kill((pid_t)pid, 0) != 0 && errno == ESRCH;
}

// Whether a leftover belongs to nobody: its maker holds a lock on it while it lives.
static bool abandoned(int folder, const char *name, const char *tag)
{
  struct stat st;
  int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
  if (fd < 0) {
    return false;
  }
  bool free_ = flock(fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK;
  bool old = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && time(NULL) - st.st_mtime > OLD_S;
  close(fd);
  return free_ && (frt_temp_dead(tag) || old);
}

// ".NAME.TAG.tmp" -> TAG, else NULL
static const char *tag_of(const char *name, char out[FRT_TEMP_TAG])
{
  size_t n = strlen(name);
  if (name[0] != '.' || n < 24 || strcmp(name + n - 4, ".tmp") != 0) {
    return NULL;
  }
  const char *end = name + n - 4, *tag = end;
  while (tag > name && tag[-1] != '.') {
    tag--;
  }
  size_t length = (size_t)(end - tag);
  if (tag <= name + 1 || length >= FRT_TEMP_TAG) {
    return NULL;
  }
  memcpy(out, tag, length);
  out[length] = 0;
  unsigned a, c;
  long pid;
  int used = 0;
  return sscanf(out, "%8x-%ld-%8x%n", &a, &pid, &c, &used) == 3 && (size_t)used == length ? out
                                                                                          : NULL;
}

void frt__temp_sweep(const char *folder)
{
  static _Atomic uint64_t last; // once is enough for a folder that is written to again and again
  uint64_t h = frt__hash(5, folder, strlen(folder));
  if (last == h) {
    return;
  }
  last = h;
  DIR *dir = opendir(folder);
  if (!dir) {
    return;
  }
  char tag[FRT_TEMP_TAG];
  for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
    if (tag_of(e->d_name, tag) && abandoned(dirfd(dir), e->d_name, tag)) {
      unlinkat(dirfd(dir), e->d_name, 0);
    }
  }
  closedir(dir);
}
