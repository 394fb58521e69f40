// bn_gate.h -- what the glue of the gated batch norm's kernels shares: sizes, and which steps they
// run.
#pragma once
#include "cpu/norm/bn.h"

static inline frt_bn_gate frt__bn_gate_sizes(const frt_step *s)
{
  const frt_shape *x = &s->in[0]->shape;
  return (frt_bn_gate){.n = x->dim[0],
                       .rows = x->dim[2] * x->dim[3],
                       .c = x->dim[1],
                       .act = (int32_t)s->attr[0],
                       .half = frt__bf16(s->in[0])};
}
static inline bool frt__bn_gate_can(const frt_step *s)
{
  return frt__bn_can(s) && s->in[0]->shape.ndim == 4;
}
