// fused_bn_gate_grad.c -- gradient of batch norm + activation whose result is multiplied by a gate
// and averaged: the activation's input and the result's gradient are computed as they are read.
#include "cpu/norm/bn_gate.h"

static frt_status plan(frt_step *s)
{
  s->scratch = (size_t)(3 * s->in[0]->shape.dim[1]) * sizeof(float);
  return FRT_OK;
}

static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  const frt_bn_gate g = frt__bn_gate_sizes(s);
  frt__kernels()->bn_gate_grad(&g, in[0], in[1], in[2], in[3], in[4], in[5], in[6], in[7], in[8],
                               out[0], out[1], out[2], scratch);
  return FRT_OK;
}

FRT_KERNEL(fused_bn_gate_grad) = {
  .name = "own",
  .channels_last = true,
  .can = frt__bn_gate_can,
  .plan = plan,
  .run = run,
  .bf16_in = 3,
  .bf16_out = 1,
};
