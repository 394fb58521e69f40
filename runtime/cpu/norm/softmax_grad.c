// softmax_grad.c -- the gradient of softmax along the last dimension.
#include "cpu/kernels.h"
#include "cpu/reduce/lanes.h"
#include "ops/norm/norm.h"

static bool can(const frt_step *s)
{
  const bool half = frt__bf16(s->in[0]);
  return frt__all_f32(s) && half == frt__bf16(s->in[1]) && half == frt__bf16(s->out[0]) &&
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
    k->softmax_grad(frt__bf16(s->in[0]), (const char *)in[0] + at, (const char *)in[1] + at, l.n,
                    (char *)out[0] + at);
  }
  return FRT_OK;
}

FRT_KERNEL(softmax_grad) = {
  .name = "own",
  .in_place = true,
  .can = can,
  .run = run,
  .bf16_in = 3,
  .bf16_out = 1,
};
