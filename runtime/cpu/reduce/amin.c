// amin.c -- the smallest of f32 numbers over some dimensions; see reduce.c.
#include "cpu/reduce/reduce.h"

static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  frt__reduce_run(s, FRT_REDUCE_MIN, in[0], out[0], scratch);
  return FRT_OK;
}

FRT_KERNEL(amin) = {
  .name = "own",
  .any_layout = true,
  .can = frt__reduce_can,
  .run = run,
};
