// waiting.c -- how compute threads wait for each other: they spin for some 0.1 ms before they sleep
// where the processors are theirs, and sleep at once where others want them.
//
// Waking a thread costs more than most gaps between kernels take: EfficientNet-Lite0's step of 29
// ms on two idle cores takes 46 without spinning. Beside one busy neighbour, spinning takes the
// time of the very thread that is waited for: 80 ms instead of 60. libgomp reads GOMP_SPINCOUNT
// once, but spins only as long as OMP_WAIT_POLICY says (passive: not at all) while it manages more
// threads than there are processors. So a thread that only waits, in a region of its own, switches
// it.
#define _GNU_SOURCE
#include <fcntl.h>
#include <omp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/base.h"

static const double EVERY_S = 0.05;                // between two looks at the machine
static const double SLEEP_AT = 0.6, SPIN_AT = 0.3; // others that want to run, on the average
enum { MOST = 4 };                                 // idle threads that the switch may take

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t opens = PTHREAD_COND_INITIALIZER;
static bool open_gate;
static pthread_t idler;
static bool sleeping, hopeless; // threads sleep at once; it can't be switched

static void *idle(void *arg)
{
  const int n = *(const int *)arg;
#pragma omp parallel num_threads(n)
  {
    pthread_mutex_lock(&lock);
    while (!open_gate) {
      pthread_cond_wait(&opens, &lock);
    }
    pthread_mutex_unlock(&lock);
  }
  return NULL;
}

static void sleep_at_once(int n)
{
  static int team;
  team = n;
  open_gate = false;
  sigset_t all, was; // signals are for the thread that Lua runs in
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &was);
  hopeless = frt__threads_startable(n) < n || pthread_create(&idler, NULL, idle, &team) != 0;
  pthread_sigmask(SIG_SETMASK, &was, NULL);
  sleeping = !hopeless;
}

static void spin_first(void)
{
  pthread_mutex_lock(&lock);
  open_gate = true;
  pthread_cond_broadcast(&opens);
  pthread_mutex_unlock(&lock);
  pthread_join(idler, NULL);
  sleeping = false;
}

// The library may be unloaded; nothing may run in it then.
__attribute__((destructor)) static void end(void)
{
  if (sleeping) {
    spin_first();
  }
}

// Threads that run or want to, of the whole machine; -1 where that isn't known.
static int running(void)
{
  char text[128];
  int fd = open("/proc/loadavg", O_RDONLY | O_CLOEXEC), n = -1;
  ssize_t got = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
  if (fd >= 0) {
    close(fd);
  }
  text[FRT_MAX(got, 0)] = 0;
  return sscanf(text, "%*f %*f %*f %d/", &n) == 1 ? n : -1;
}

// Whether the waiting is ours to decide: the host has set both (runtime/host/main.c), no user has.
static bool ours(void)
{
  const char *policy = getenv("OMP_WAIT_POLICY"), *spin = getenv("GOMP_SPINCOUNT");
  return policy && spin && strcmp(policy, "passive") == 0 && strcmp(spin, "2000") == 0;
}

void frt__threads_wait(void)
{
  static double looked, others;
  static int decides = -1;
  const double now = frt__clock();
  if (decides == 0 || now - looked < EVERY_S) {
    return;
  }
  looked = now;
  const int32_t n = frt_threads();
  const int idlers =
    omp_get_num_procs() - n + 2; // as many as make it more than there are processors
  if (decides < 0) {
    decides = ours() && omp_get_proc_bind() == omp_proc_bind_false;
  }
  if (!decides || hopeless) {
    return;
  }
  const int r = n > 1 && idlers <= MOST && idlers >= 2 && !omp_in_parallel() ? running() : -1;
  // This thread runs; what the machine has besides this team's processors is free to others.
  others = 0.8 * others + 0.2 * (r < 1 ? 0 : FRT_MAX(0, r - 1 - (idlers - 2)));
  if (!sleeping && others > SLEEP_AT) {
    sleep_at_once(idlers);
  } else if (sleeping && others < SPIN_AT) {
    spin_first();
  }
}
