// amax.c -- the largest of f32 numbers over some dimensions; see reduce.c.
#include "cpu/reduce/reduce.h"

static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  frt__reduce_run(s, FRT_REDUCE_MAX, in[0], out[0], scratch);
  return FRT_OK;
}

FRT_KERNEL(amax) = {
  .name = "own",
  .any_layout = true,
  .can = frt__reduce_can,
  .run = run,
};
