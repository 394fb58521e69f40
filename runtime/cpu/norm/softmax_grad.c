// softmax_grad.c -- the gradient of softmax along the last dimension.
#include "cpu/kernels.h"
#include "cpu/reduce/lanes.h"
#include "ops/norm/norm.h"

static bool can(const frt_step *s)
{
  const bool half = s->in[0]->half;
  return frt__all_f32(s) && half == s->in[1]->half && half == s->out[0]->half &&
         frt__lanes(&s->in[0]->shape, (int32_t)s->attr[FRT_SOFTMAX_DIM]).step == 1;
}

static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  (void)scratch;
  const frt_kernels *k = frt__kernels();
  const frt_lanes l = frt__lanes(&s->in[0]->shape, (int32_t)s->attr[FRT_SOFTMAX_DIM]);
  const size_t step = frt__item_bytes(s->in[0]) * (size_t)l.n;
#pragma omp parallel for schedule(static) if (l.outer * l.n >= FRT_SMALL_LANES)
  for (int64_t i = 0; i < l.outer; i++) {
    const size_t at = (size_t)i * step;
    k->softmax_grad(s->in[0]->half, (const char *)in[0] + at, (const char *)in[1] + at, l.n,
                    (char *)out[0] + at);
  }
  return FRT_OK;
}

FRT_KERNEL(softmax_grad) = {
  .name = "own",
  .in_place = true,
  .can = can,
  .run = run,
  .half_in = 3,
  .half_out = 1,
};
