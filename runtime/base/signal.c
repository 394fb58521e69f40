// signal.c -- how often somebody asked this process to stop. The host's signal handler counts up,
// the trainer reads it between steps; nothing here knows the host.
#include <stdatomic.h>

#include "base.h"

static _Atomic int32_t asked;
_Static_assert(ATOMIC_INT_LOCK_FREE == 2, "a signal handler counts with it");

int32_t frt_interrupted(void)
{
  return atomic_load(&asked);
}

void frt_interrupt_set(int32_t n)
{
  atomic_store(&asked, n);
}
