// attention.h -- a step of attention as its kernels take it.
#pragma once
#include "cpu/kernels.h"
#include "cpu/reduce/lanes.h"

static inline frt_attention_part frt__attention_part(const frt_step *s, int32_t i,
                                                     const frt_value *v)
{
  const double *a = s->attr + FRT_ATTENTION_SIZES + i * FRT_ATTENTION_PART;
  return (frt_attention_part){(int64_t)a[0], (int64_t)a[1], (int64_t)a[2], (int64_t)a[3],
                              frt__bf16(v)};
}

// Products are of bf16 where one of their operands is stored so.
static inline frt_attention frt__attention(const frt_step *s)
{
  const double *a = s->attr;
  const bool grad = s->op == &frt_fused_attention_grad;
  const frt_value *y = grad ? s->in[FRT_ATTENTION_DY] : s->out[0];
  frt_attention g = {.n = (int64_t)a[0],
                     .heads = (int64_t)a[1],
                     .rows = (int64_t)a[2],
                     .keys = (int64_t)a[3],
                     .width = (int64_t)a[4],
                     .q = frt__attention_part(s, 0, s->in[0]),
                     .k = frt__attention_part(s, 1, s->in[1]),
                     .v = frt__attention_part(s, 2, s->in[2]),
                     .y = frt__attention_part(s, 3, y)};
  g.half = g.q.half || g.k.half || g.v.half || (grad && g.y.half);
  if (grad) {
    g.dq = frt__attention_part(s, 4, s->out[0]);
    g.dk = frt__attention_part(s, 5, s->out[s->n_out > 1 ? 1 : 0]);
    g.dv = frt__attention_part(s, 6, s->out[s->n_out > 1 ? 2 : 0]);
  }
  return g;
}

static inline float frt__attention_scale(void *const *in)
{
  return in[FRT_ATTENTION_SCALE] ? *(const float *)in[FRT_ATTENTION_SCALE] : 1.0f;
}
