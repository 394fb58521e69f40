// threads.c -- how many compute threads there are: what was asked for, else what the scheduler and
// the control groups let this process use.
#define _GNU_SOURCE
#include <errno.h>
#include <omp.h>
#include <pthread.h>
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

// CPUs that this thread may run on: a machine may have more than a cpu_set_t holds.
static int32_t affinity(void)
{
  int32_t n = 0;
  for (size_t most = CPU_SETSIZE; n == 0 && most <= (1 << 20); most *= 4) {
    cpu_set_t *set = CPU_ALLOC(most);
    if (set && sched_getaffinity(0, CPU_ALLOC_SIZE(most), set) == 0) {
      n = CPU_COUNT_S(CPU_ALLOC_SIZE(most), set);
    }
    CPU_FREE(set);
  }
  return FRT_MAX(n, 1);
}

int32_t frt_cpus(const char *root)
{
  return FRT_MAX(1, FRT_MIN(affinity(), quota_cpus(root)));
}

// --- how many there really are -------------------------------------------------------------------
// Kernels and oneDNN cut their work for frt_threads() threads; where fewer come, oneDNN waits for
// those that don't or leaves their share out. So the threads are counted before anybody is told.
static int32_t asked;   // of the caller, the environment or the machine
static int32_t counted; // 0: not yet
static char why[256];

typedef struct gate {
  pthread_mutex_t lock;
  pthread_cond_t opens;
  bool open;
} gate;

static void *wait_at(void *arg)
{
  gate *g = arg;
  pthread_mutex_lock(&g->lock);
  while (!g->open) {
    pthread_cond_wait(&g->opens, &g->lock);
  }
  pthread_mutex_unlock(&g->lock);
  return NULL;
}

// Threads besides this one that the system starts, at most n, all of them alive at once. libgomp
// ends the process where it can't have one, so it is tried first. *failed: what stopped it, or 0.
static int32_t startable(int32_t n, int *failed)
{
  gate g = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false};
  pthread_t *ids = malloc(sizeof *ids * (size_t)FRT_MAX(n, 1));
  int32_t got = 0;
  *failed = ids ? 0 : ENOMEM;
  while (got < n && *failed == 0) {
    *failed = pthread_create(&ids[got], NULL, wait_at, &g);
    got += *failed == 0;
  }
  pthread_mutex_lock(&g.lock);
  g.open = true;
  pthread_cond_broadcast(&g.opens);
  pthread_mutex_unlock(&g.lock);
  for (int32_t i = 0; i < got; i++) {
    pthread_join(ids[i], NULL);
  }
  free(ids);
  return got;
}

int32_t frt__threads_startable(int32_t n)
{
  int failed;
  return startable(n, &failed);
}

// Threads of a region that asks for n. A limit or a nesting level may give it fewer; they stay in
// libgomp's pool.
static int32_t region(int32_t n)
{
  int32_t got = 1;
#pragma omp parallel num_threads(n)
  {
#pragma omp single
    got = omp_get_num_threads();
  }
  return got;
}

static void count(void)
{
  int failed = 0;
  int32_t most = 1;
  if (asked > 1) {
    most = startable(asked, &failed); // one more than is needed: the loader wants one too
    most = FRT_MAX(most, 1);
    const char *missing; // a thread that ends needs it, perhaps when nothing can be loaded
    frt__library("libgcc_s.so.1", 0, NULL, &missing);
  }
  counted = most > 1 ? region(most) : 1;
  why[0] = 0;
  if (counted < most) {
    snprintf(why, sizeof why, "%d of %d compute threads: OpenMP gives no more (%s)", counted, asked,
             omp_get_max_active_levels() < 1 ? "OMP_MAX_ACTIVE_LEVELS" : "OMP_THREAD_LIMIT");
  } else if (counted < asked) {
    snprintf(
      why, sizeof why,
      "%d of %d compute threads: the system starts no more (%s; see ulimit -u, ulimit -v and "
      "the container's limit of processes)",
      counted, asked, strerror(failed));
  }
  omp_set_num_threads(counted);
}

// OpenMP's own default knows nothing of the control group. OMP_NUM_THREADS is an answer; respect
// it.
static int32_t at_start(void)
{
  const char *text = getenv("OMP_NUM_THREADS");
  const long n = text ? strtol(text, NULL, 10) : 0;
  return n > 0 ? (int32_t)FRT_MIN(n, (long)MAX_THREADS) : frt_cpus("");
}

void frt_set_threads(int32_t n)
{
  n = n > 0 ? FRT_MIN(n, (int32_t)MAX_THREADS) : at_start();
  if (n == asked) {
    return;
  }
  asked = n;
  counted = 0; // counted when somebody wants to know: starting threads costs time
  omp_set_dynamic(0);
  omp_set_num_threads(asked);
}

int32_t frt_threads(void)
{
  if (counted == 0) {
    if (asked == 0) {
      frt_set_threads(0);
    }
    if (omp_in_parallel()) {
      return 1; // of somebody else's region: no place to count in, and what it gets is one
    }
    count();
  }
  return counted;
}

const char *frt_threads_why(void)
{
  return frt_threads() < asked ? why : "";
}

__attribute__((constructor)) static void start(void)
{
  frt_set_threads(0);
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
