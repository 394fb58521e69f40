// fused_mul_sum.c -- the sum of a product over height and width (and photos) in one pass: the
// gradient of a gate or of a channel's factor. The planner makes it of mul and sum.
#include "cpu/reduce/reduce.h"

static bool can(const frt_step *s)
{
  const frt_shape *a = &s->in[0]->shape;
  return a->dtype == FRT_F32 && s->in[1]->shape.dtype == FRT_F32 &&
         frt__shape_equal(a, &s->in[1]->shape) && frt__reduce_is_rows(s);
}

static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  frt__reduce_products(s, in[0], in[1], out[0], scratch);
  return FRT_OK;
}

FRT_KERNEL(fused_mul_sum) = {
  .name = "own",
  .channels_last = true,
  .can = can,
  .plan = frt__reduce_plan,
  .run = run,
  .bf16_in = 3,
};
