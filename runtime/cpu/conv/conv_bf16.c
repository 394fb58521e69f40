// conv_bf16.c -- a convolution's step whose maps are stored as bf16, by the products of bf16.h.
#include "cpu/conv/conv.h"

static bool by_weight(const frt__conv *v)
{
  return v->c.kind == FRT_DN_GRAD_WEIGHT;
}

static bool can(const frt_dn_conv *c, bool bf16)
{
  return bf16 && c->groups == 1;
}

static uint32_t takes(const frt_dn_conv *c, bool bf16)
{
  (void)bf16;
  return FRT__LOAD | FRT__STATS | (frt__conv_one_tap(c) ? FRT__GATE : 0);
}

static frt_status plan(frt_step *s)
{
  frt__conv *v = s->state;
  v->parts = v->counts ? frt_threads() : 0;
  FRT_TRY(frt__bf16_of_conv(&v->bf16, &v->c));
  v->bf16.source_bf16 = frt__bf16(s->in[0]);
  v->bf16.out_bf16 = frt__bf16(s->out[0]);
  v->bf16.loads = v->loads > 0;
  v->bf16.counts = v->counts;
  s->scratch = frt__conv_counts(v) +
               (by_weight(v) ? frt__bf16_weight_plan(&v->bf16) : frt__bf16_plan(&v->bf16));
  s->packed = v->bf16.packed_bytes;
  return FRT_OK;
}

static frt_status ready(frt__conv *v)
{
  return frt__bf16_ready(&v->bf16);
}
static void drop(frt__conv *v)
{
  frt__bf16_free(&v->bf16);
}

static frt_status run(const frt_step *s, const void *packed, void *const *in, void *const *out,
                      void *scratch)
{
  (void)packed; // bf16.c keeps its own
  frt__conv *v = s->state;
  frt_load room;
  const size_t counts = frt__conv_counts(v);
  const frt__bf16_args a = {.source = in[0],
                            .w = in[1],
                            .bias = v->c.bias ? in[2] : NULL,
                            .load = frt__conv_load(v, in, &room),
                            .out = out[0],
                            .parts = counts > 0 ? scratch : NULL,
                            .part = counts / FRT_MAX((size_t)1, (size_t)v->parts),
                            .scratch = (char *)scratch + counts};
  if (by_weight(v)) {
    frt__bf16_weight(&v->bf16, frt__bf16(s->in[1]), &a);
    return FRT_OK;
  }
  frt__bf16_pack(&v->bf16, in[1], s->in_version ? s->in_version[1] : 0);
  if (counts > 0) {
    memset(scratch, 0, counts);
  }
  frt__bf16_run(&v->bf16, &a);
  frt__conv_finish_counts(v, scratch, in, out);
  return FRT_OK;
}

const frt__conv_variant frt__conv_bf16 = {
  .name = "own bf16",
  .can = can,
  .takes = takes,
  .plan = plan,
  .ready = ready,
  .run = run,
  .free = drop,
};
