// max_pool.h -- what max_pool2d and its gradient share.
#pragma once
#include "cpu/kernels.h"
#include "ops/pool/pool.h"

static inline frt_status frt__max_pool(const frt_step *s, const char *op, frt_max_pool *g)
{
  const frt_shape *x = &s->in[0]->shape;
  frt_pool v;
  FRT_TRY(frt__pool_init(&v, op, x, s->attr));
  *g = (frt_max_pool){.n = x->dim[0],
                      .c = x->dim[1],
                      .h = v.h,
                      .w = v.w,
                      .oh = v.oh,
                      .ow = v.ow,
                      .kh = v.kh,
                      .kw = v.kw,
                      .sh = v.sh,
                      .sw = v.sw,
                      .top = v.top,
                      .left = v.left,
                      .half = frt__bf16(s->in[0])};
  return FRT_OK;
}
