// spin.c -- how long a compute thread that waits for another one spins before it sleeps: libgomp
// takes this from the environment when it is loaded, so the program starts itself once more with it
// set.
//
// The default is 300,000 turns, some 14 ms. Next to a loader, or on a shared machine, a thread that
// spins so long takes the time of the very thread it waits for: a step of EfficientNet-B4 on 2 busy
// cores took 13.4 s; with 2000 turns, some 0.1 ms, which outlasts the gaps between kernels, it
// takes 3.1 s.
#include <stdlib.h>
#include <unistd.h>

__attribute__((constructor)) static void set_spin(int argc, char **argv)
{
  (void)argc;
  if (getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT")) {
    return;
  }
  if (setenv("GOMP_SPINCOUNT", "2000", 1) == 0) {
    execv("/proc/self/exe", argv);
  }
}
