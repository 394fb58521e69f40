// conv_dense.c -- dense convolutions as own products with packed weights, what goes before and
// after them in the same pass.
#include "cpu/conv/conv.h"

// Fewer channels leave a product too short for what surrounds it, or panels half empty. By the
// input a convolution itself where the stride is 1; 1x1 there is oneDNN's, whose sgemm takes the
// plain weights as they lie and is up to 10 % faster on few channels. Few outputs are worth it
// where bias, activation and gate go along.
static bool can(const frt_dn_conv *c, bool bf16)
{
  enum { FEW = 32 };
  if (c->groups != 1 || bf16) {
    return false;
  }
  if (c->kind == FRT_DN_GRAD_INPUT) {
    return c->stride[0] == 1 && c->stride[1] == 1 && c->kh * c->kw > 1 && c->c >= FEW &&
           c->o >= FEW;
  }
  return c->kind == FRT_DN_CONV && c->c >= FEW && (c->o >= FEW || c->bias);
}

static frt_status plan(frt_step *s)
{
  frt__conv *v = s->state;
  v->shape = frt__conv_shape(&v->c, s);
  v->shape.in_rows = frt__conv_one_pixel(&v->c);
  v->shape.loads = v->loads > 0;
  v->shape.counts = v->counts;
  v->parts = v->counts ? frt__kernels()->dense_team(&v->shape) : 0;
  v->packed_bytes = frt__conv_keeps(v) ? frt__kernels()->dense_packed(&v->shape) : 0;
  s->scratch = frt__conv_pass_scratch(v, frt__kernels()->dense_scratch(&v->shape),
                                      frt__kernels()->dense_packed(&v->shape));
  return FRT_OK;
}

static frt_status pack(const frt__conv *v, const float *w, void *packed)
{
  frt__kernels()->dense_pack(&v->shape, v->c.kind == FRT_DN_GRAD_INPUT, w, packed);
  return FRT_OK;
}

static frt_status run(const frt_step *s, const void *packed, void *const *in, void *const *out,
                      void *scratch)
{
  const frt__conv *v = s->state;
  const frt_kernels *k = frt__kernels();
  frt__conv_pass p;
  FRT_TRY(frt__conv_begin(v, packed, in, scratch, k->dense_scratch(&v->shape), &p));
  k->dense(&v->shape, p.load, in[0], p.packed, p.bias, p.residual, out[0], p.moments, p.scratch);
  frt__conv_finish_counts(v, p.moments, in, out);
  return FRT_OK;
}

// Only rows as they lie can be computed as they are read.
static uint32_t takes(const frt_dn_conv *c, bool bf16)
{
  (void)bf16;
  return FRT__RESIDUAL | FRT__STATS | (frt__conv_one_pixel(c) ? FRT__LOAD | FRT__GATE : 0);
}

const frt__conv_variant frt__conv_dense = {
  .name = "own dense",
  .can = can,
  .takes = takes,
  .plan = plan,
  .pack = pack,
  .run = run,
};
