// reference.c -- runs an op's plain-C forward() as a step of a plan: the judge of every backend,
// and the fallback of the CPU backend where it has no kernel.
#include "device/backend.h"

typedef struct refcall {
  frt_call c;
  frt_status (*forward)(const frt_call *c);
  const frt_shape *shape[];
} refcall;

static frt_status ready(frt_step *s)
{
  refcall *r = frt__zalloc(sizeof *r + sizeof r->shape[0] * (size_t)(s->n_in + s->n_out));
  FRT_CHECK(r, FRT_ENOMEM, "out of memory: %s", s->op->name);
  for (int32_t i = 0; i < s->n_in; i++) {
    r->shape[i] = s->in[i] ? &s->in[i]->shape : NULL;
  }
  for (int32_t k = 0; k < s->n_out; k++) {
    r->shape[s->n_in + k] = &s->out[k]->shape;
  }
  r->c = (frt_call){
    .n_in = s->n_in, .n_out = s->n_out, .xs = r->shape, .ys = r->shape + s->n_in, .attr = s->attr};
  int32_t made = s->n_out > 0 ? s->out[0]->shape.dtype : FRT_F32;
  int32_t read = s->n_in > 0 && s->in[0] ? s->in[0]->shape.dtype : FRT_F32;
  bool wide = made == FRT_F64 || (!frt__is_real(made) && read == FRT_F64);
  r->forward = s->op->forward;
  for (int32_t i = 0; wide && i < frt_op_table_len; i++) {
    if (frt_op_table[i] == s->op) {
      r->forward = frt_op_table64[i]->forward;
    }
  }
  s->state = r;
  return FRT_OK;
}

static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  (void)scratch;
  frt_call c = ((const refcall *)s->state)->c;
  c.x = (const void *const *)in;
  c.y = out;
  return ((const refcall *)s->state)->forward(&c);
}

static void drop(frt_step *s)
{
  frt__free(s->state);
  s->state = NULL;
}

const frt_kernel frt__reference = {.name = "reference", .ready = ready, .run = run, .free = drop};
