// fused_attention_grad.c -- the gradient of attention by queries, keys and values; weights are
// computed again.
#include "cpu/attention/attention.h"

static frt_status plan(frt_step *s)
{
  const frt_attention g = frt__attention(s);
  s->scratch = frt__kernels()->attention_grad_scratch(&g);
  s->label = g.half ? "own bf16" : NULL;
  return FRT_OK;
}

static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  const frt_attention g = frt__attention(s);
  frt__kernels()->attention_grad(&g, frt__attention_scale(in), in[0], in[1], in[2],
                                 in[FRT_ATTENTION_DY], in[FRT_ATTENTION_LSE], out[0],
                                 out[s->n_out > 1 ? 1 : 0], out[s->n_out > 1 ? 2 : 0], scratch);
  return FRT_OK;
}

FRT_KERNEL(fused_attention_grad) = {
  .name = "own",
  .product = true,
  .bf16_in = 23, // not the scale, not what the forward pass kept of each row
  .bf16_out = 7,
  .can = frt__all_f32,
  .plan = plan,
  .run = run,
};
