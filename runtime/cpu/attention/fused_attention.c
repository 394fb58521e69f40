// fused_attention.c -- softmax(scale q k') v of every sample and head without its weights in
// memory.
#include "cpu/attention/attention.h"

static frt_status plan(frt_step *s)
{
  const frt_attention g = frt__attention(s);
  s->scratch = frt__kernels()->attention_scratch(&g);
  s->label = g.half ? "own bf16" : NULL;
  return FRT_OK;
}

static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  const frt_attention g = frt__attention(s);
  frt__kernels()->attention(&g, frt__attention_scale(in), in[0], in[1], in[2], out[0],
                            s->n_out > 1 ? out[1] : NULL, scratch);
  return FRT_OK;
}

FRT_KERNEL(fused_attention) = {
  .name = "own",
  .product = true,
  .bf16_in = 7,
  .bf16_out = 1,
  .can = frt__all_f32,
  .plan = plan,
  .run = run,
};
