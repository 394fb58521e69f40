// attention.c -- attention and its gradient as one step each.
#include "cpu/kernels.h"
#include "cpu/reduce/lanes.h"

// A step of attention as its kernels take it.
static frt_attention_part attention_part(const frt_step *s, int32_t i, const frt_value *v)
{
  const double *a = s->attr + FRT_ATTENTION_SIZES + i * FRT_ATTENTION_PART;
  return (frt_attention_part){(int64_t)a[FRT_PART_AT], (int64_t)a[FRT_PART_SAMPLE],
                              (int64_t)a[FRT_PART_HEAD], (int64_t)a[FRT_PART_ROW], frt__bf16(v)};
}

// Products are of bf16 where one of their operands is stored so.
static frt_attention attention(const frt_step *s)
{
  const double *a = s->attr;
  const bool grad = s->op == &frt_fused_attention_grad;
  const frt_value *y = grad ? s->in[FRT_ATTENTION_DY] : s->out[0];
  frt_attention g = {.n = (int64_t)a[FRT_ATTENTION_SAMPLES],
                     .heads = (int64_t)a[FRT_ATTENTION_HEADS],
                     .rows = (int64_t)a[FRT_ATTENTION_QUERIES],
                     .keys = (int64_t)a[FRT_ATTENTION_KEYS],
                     .width = (int64_t)a[FRT_ATTENTION_WIDTH],
                     .q = attention_part(s, 0, s->in[0]),
                     .k = attention_part(s, 1, s->in[1]),
                     .v = attention_part(s, 2, s->in[2]),
                     .y = attention_part(s, 3, y)};
  g.bf16 = g.q.bf16 || g.k.bf16 || g.v.bf16 || (grad && g.y.bf16);
  if (grad) {
    g.dq = attention_part(s, 4, s->out[0]);
    g.dk = attention_part(s, 5, s->out[s->n_out > 1 ? 1 : 0]);
    g.dv = attention_part(s, 6, s->out[s->n_out > 1 ? 2 : 0]);
  }
  return g;
}

static float attention_scale(void *const *in)
{
  return in[FRT_ATTENTION_SCALE] ? *(const float *)in[FRT_ATTENTION_SCALE] : 1.0f;
}

// Softmax(scale q k') v of every sample and head without its weights in memory.
static frt_status plan_fused_attention(frt_step *s)
{
  const frt_attention g = attention(s);
  s->scratch = frt__kernels()->attention_scratch(&g);
  s->label = g.bf16 ? "own bf16" : NULL;
  return FRT_OK;
}

static frt_status run_fused_attention(const frt_step *s, void *const *in, void *const *out,
                                      void *scratch)
{
  const frt_attention g = attention(s);
  frt__kernels()->attention(&g, attention_scale(in), in[0], in[1], in[2], out[0],
                            s->n_out > 1 ? out[1] : NULL, scratch);
  return FRT_OK;
}

FRT_KERNEL(fused_attention) = {
  .name = "own",
  .product = true,
  .bf16_in = 7,
  .bf16_out = 1,
  .can = frt__all_f32,
  .plan = plan_fused_attention,
  .run = run_fused_attention,
};

// The gradient of attention by queries, keys and values; weights are computed again.
static frt_status plan_fused_attention_grad(frt_step *s)
{
  const frt_attention g = attention(s);
  s->scratch = frt__kernels()->attention_grad_scratch(&g);
  s->label = g.bf16 ? "own bf16" : NULL;
  return FRT_OK;
}

static frt_status run_fused_attention_grad(const frt_step *s, void *const *in, void *const *out,
                                           void *scratch)
{
  const frt_attention g = attention(s);
  frt__kernels()->attention_grad(&g, attention_scale(in), in[0], in[1], in[2], in[FRT_ATTENTION_DY],
                                 in[FRT_ATTENTION_LSE], out[0], out[s->n_out > 1 ? 1 : 0],
                                 out[s->n_out > 1 ? 2 : 0], scratch);
  return FRT_OK;
}

FRT_KERNEL(fused_attention_grad) = {
  .name = "own",
  .product = true,
  .bf16_in = 23, // not the scale, not what the forward pass kept of each row
  .bf16_out = 7,
  .can = frt__all_f32,
  .plan = plan_fused_attention_grad,
  .run = run_fused_attention_grad,
};
