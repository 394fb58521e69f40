// threads.c -- how many compute threads there are: what was asked for, else what the scheduler and
// the control groups let this process use.
#define _GNU_SOURCE
#include <omp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base.h"

enum { MAX_THREADS = 1024, PATH = 4096 };

// CPUs that cpu.max of one group grants, rounded up; 0 when it sets no limit.
static int32_t group_cpus(const char *dir)
{
  char path[PATH];
  if (snprintf(path, sizeof path, "%s/cpu.max", dir) >= (int)sizeof path) {
    return 0;
  }
  FILE *file = fopen(path, "re");
  if (!file) {
    return 0;
  }
  long long quota = 0, period = 0;
  int32_t n = 0;
  if (fscanf(file, "%lld %lld", &quota, &period) == 2 && quota > 0 && period > 0) {
    n = (int32_t)FRT_MIN((quota + period - 1) / period, (long long)MAX_THREADS);
  }
  fclose(file);
  return n;
}

// One number of a control group's file; 0 where there is none.
static long long number_in(const char *dir, const char *name)
{
  char path[PATH];
  long long n = 0;
  FILE *file =
    snprintf(path, sizeof path, "%s/%s", dir, name) < (int)sizeof path ? fopen(path, "re") : NULL;
  if (file) {
    n = fscanf(file, "%lld", &n) == 1 ? n : 0;
    fclose(file);
  }
  return n;
}

// The tightest limit of the group `path` below root/kind and of the groups around it.
static int32_t tightest(const char *root, const char *kind, const char *path)
{
  char dir[PATH];
  int32_t least = MAX_THREADS;
  const size_t shortest = strlen(root) + strlen(kind);
  if (snprintf(dir, sizeof dir, "%s%s%s", root, kind, path) >= (int)sizeof dir) {
    return least;
  }
  while (strlen(dir) >= shortest) {
    int32_t n = group_cpus(dir);
    const long long quota = number_in(dir, "cpu.cfs_quota_us"); // version 1
    const long long period = number_in(dir, "cpu.cfs_period_us");
    if (n == 0 && quota > 0 && period > 0) {
      n = (int32_t)FRT_MIN((quota + period - 1) / period, (long long)MAX_THREADS);
    }
    least = n > 0 ? FRT_MIN(least, n) : least;
    *strrchr(dir, '/') = 0;
  }
  return least;
}

// Whether `list`, "cpu,cpuacct", names the controller of CPU time.
static bool has_cpu(const char *list, const char *end)
{
  for (const char *at = list; at < end; at += strcspn(at, ",:") + 1) {
    if (strncmp(at, "cpu", 3) == 0 && (at[3] == ',' || at[3] == ':')) {
      return true;
    }
  }
  return false;
}

// What the control groups that this process is in leave it, of version 2 ("0::/path") and of
// version 1 ("4:cpu,cpuacct:/path").
static int32_t quota_cpus(const char *root)
{
  char line[PATH / 2];
  int32_t least = MAX_THREADS;
  snprintf(line, sizeof line, "%s/proc/self/cgroup", root);
  FILE *file = fopen(line, "re");
  while (file && fgets(line, sizeof line, file)) {
    line[strcspn(line, "\n")] = 0;
    const char *list = strchr(line, ':'), *path = list ? strchr(list + 1, ':') : NULL;
    if (!path) {
      continue;
    }
    if (strncmp(line, "0::", 3) == 0) {
      least = FRT_MIN(least, tightest(root, "/sys/fs/cgroup", path + 1));
    } else if (has_cpu(list + 1, path)) {
      least = FRT_MIN(least, tightest(root, "/sys/fs/cgroup/cpu", path + 1));
    }
  }
  if (file) {
    fclose(file);
  }
  return least;
}

int32_t frt_cpus(const char *root)
{
  cpu_set_t set;
  int32_t n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : omp_get_num_procs();
  return FRT_MAX(1, FRT_MIN(n, quota_cpus(root)));
}

static int32_t threads;

void frt_set_threads(int32_t n)
{
  threads = n > 0 ? FRT_MIN(n, (int32_t)MAX_THREADS) : frt_cpus("");
  omp_set_dynamic(0);
  omp_set_num_threads(threads);
}

int32_t frt_threads(void)
{
  if (threads == 0) {
    frt_set_threads(0);
  }
  return threads;
}

// OpenMP's own default knows nothing of the control group. OMP_NUM_THREADS is an answer; respect
// it.
__attribute__((constructor)) static void start(void)
{
  const char *text = getenv("OMP_NUM_THREADS");
  frt_set_threads(text ? (int32_t)strtol(text, NULL, 10) : 0);
}

double frt_now(void)
{
  return frt__clock();
}

void frt_sleep(int32_t ms)
{
  struct timespec t = {ms / 1000, (long)(ms % 1000) * 1000000};
  nanosleep(&t, NULL);
}
