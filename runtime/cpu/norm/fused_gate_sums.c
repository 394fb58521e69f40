// fused_gate_sums.c -- the gradient of a gate on act(bn(x)), and the sums that batch norm's
// gradient behind it needs.
#include "cpu/norm/bn_gate.h"

static frt_status plan(frt_step *s)
{
  const frt_bn_gate g = frt__bn_gate_sizes(s);
  s->scratch = frt__kernels()->bn_gate_scratch(&g);
  return FRT_OK;
}

static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  const frt_bn_gate g = frt__bn_gate_sizes(s);
  frt__kernels()->bn_gate_sums(&g, in[0], in[1], in[2], in[3], in[4], in[5], out[0], out[1],
                               scratch);
  return FRT_OK;
}

FRT_KERNEL(fused_gate_sums) = {
  .name = "own",
  .channels_last = true,
  .can = frt__bn_gate_can,
  .plan = plan,
  .run = run,
  .bf16_in = 3,
};
