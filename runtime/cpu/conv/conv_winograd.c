// conv_winograd.c -- dense 3x3 convolutions of stride 1, their gradients too, by Winograd's
// F(4x4, 3x3), and F(2x2, 3x3) where maps are stored as bf16.
#include "cpu/conv/conv.h"

enum { TAPS = 9 };

// Where it pays, in multiply-adds per pair of channels: a tile's products with what its transforms
// cost, against the outputs' taps; packed weights are four (bf16: two) times as many, and read (at
// evaluation) or made and read (in training) however few the tiles are. Gradients by the weights
// are only turned back once.
typedef struct costs {
  int64_t out, each, read, made, back; // out: outputs along a side of a tile
} costs;
static const costs costs_f32 = {4, 47, 800, 1000, 400}, costs_bf16 = {2, 22, 350, 350, 400};

static bool pays(const frt_dn_conv *c, const costs *k)
{
  const bool back = c->kind == FRT_DN_GRAD_INPUT;
  const int64_t oh = back ? c->h : c->oh, ow = back ? c->w : c->ow; // of the map that is made
  const int64_t tiles = c->n * ((oh + k->out - 1) / k->out) * ((ow + k->out - 1) / k->out);
  const bool made = c->kind != FRT_DN_CONV || !c->bias;
  const int64_t filters = c->kind == FRT_DN_GRAD_WEIGHT ? k->back : k->read + (made ? k->made : 0);
  return tiles * k->each + filters < c->n * oh * ow * TAPS;
}

static bool can(const frt_dn_conv *c, bool bf16)
{
  return c->groups == 1 && c->kh == 3 && c->kw == 3 && c->stride[0] == 1 && c->stride[1] == 1 &&
         c->dilation[0] == 1 && c->dilation[1] == 1 && c->pad[0] <= 2 && c->pad[1] <= 2 &&
         c->c >= 16 && c->o >= 16 && c->act <= FRT_ACT_RELU6 &&
         pays(c, bf16 ? &costs_bf16 : &costs_f32);
}

static frt_status plan(frt_step *s)
{
  frt__conv *v = s->state;
  const frt_dn_conv *c = &v->c;
  v->shape = frt__conv_shape(c, s);
  v->parts = v->counts ? frt__kernels()->winograd_team(&v->shape) : 0;
  v->packed_bytes = frt__conv_keeps(v) ? frt__kernels()->winograd_packed(&v->shape) : 0;
  s->scratch = c->kind == FRT_DN_GRAD_WEIGHT
                 ? frt__kernels()->winograd_weight_scratch(&v->shape)
                 : frt__conv_pass_scratch(v, frt__kernels()->winograd_scratch(&v->shape),
                                          frt__kernels()->winograd_packed(&v->shape));
  return FRT_OK;
}

static frt_status pack(const frt__conv *v, const float *w, void *packed)
{
  frt__kernels()->winograd_pack(&v->shape, v->c.kind == FRT_DN_GRAD_INPUT, w, packed);
  return FRT_OK;
}

static frt_status run(const frt_step *s, const void *packed, void *const *in, void *const *out,
                      void *scratch)
{
  const frt__conv *v = s->state;
  const frt_kernels *k = frt__kernels();
  frt__conv_pass p;
  if (v->c.kind == FRT_DN_GRAD_WEIGHT) {
    const frt_load *load = frt__conv_load(v, in, &p.room);
    k->winograd_weight(&v->shape, load, in[0], in[1], out[0], scratch);
    return FRT_OK;
  }
  FRT_TRY(frt__conv_begin(v, packed, in, scratch, k->winograd_scratch(&v->shape), &p));
  k->winograd(&v->shape, p.load, in[0], p.packed, p.bias, p.residual, out[0], p.moments, p.scratch);
  frt__conv_finish_counts(v, p.moments, in, out);
  return FRT_OK;
}

static uint32_t takes(const frt_dn_conv *c, bool bf16)
{
  (void)c;
  return FRT__LOAD | FRT__STATS | (bf16 ? 0 : FRT__RESIDUAL);
}

const frt__conv_variant frt__conv_winograd = {
  .name = "own winograd",
  .name_bf16 = "own winograd bf16",
  .can = can,
  .takes = takes,
  .plan = plan,
  .pack = pack,
  .run = run,
};
