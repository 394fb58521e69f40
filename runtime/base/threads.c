// threads.c -- how many compute threads there are: what was asked for, else what the scheduler and
// the control group (version 2) let this process use.
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

// The tightest limit of this process's group and of the groups around it.
static int32_t quota_cpus(void)
{
  char line[PATH / 2], dir[PATH] = "";
  FILE *file = fopen("/proc/self/cgroup", "re");
  if (!file) {
    return MAX_THREADS;
  }
  while (fgets(line, sizeof line, file)) {
    if (strncmp(line, "0::/", 4) == 0) {
      line[strcspn(line, "\n")] = 0;
      snprintf(dir, sizeof dir, "/sys/fs/cgroup%s", line + 3);
    }
  }
  fclose(file);
  int32_t least = MAX_THREADS;
  while (strlen(dir) >= strlen("/sys/fs/cgroup")) {
    int32_t n = group_cpus(dir);
    if (n > 0) {
      least = FRT_MIN(least, n);
    }
    *strrchr(dir, '/') = 0;
  }
  return least;
}

static int32_t allowed_cpus(void)
{
  cpu_set_t set;
  int32_t n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : omp_get_num_procs();
  return FRT_MAX(1, FRT_MIN(n, quota_cpus()));
}

static int32_t threads;

void frt_set_threads(int32_t n)
{
  threads = n > 0 ? FRT_MIN(n, (int32_t)MAX_THREADS) : allowed_cpus();
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
