// mean.c -- the mean of f32 numbers over some dimensions; see reduce.c.
#include "cpu/reduce/reduce.h"

static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  frt__reduce_run(s, FRT_REDUCE_MEAN, in[0], out[0], scratch);
  return FRT_OK;
}

FRT_KERNEL(mean) = {
  .name = "own",
  .any_layout = true,
  .can = frt__reduce_can,
  .plan = frt__reduce_plan,
  .run = run,
  .bf16_in = 1,
};
