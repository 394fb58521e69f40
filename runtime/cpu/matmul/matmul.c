// matmul.c -- matrix products: oneDNN's sgemm where it is one product, its batched primitive
// elsewhere; of maps stored as bf16 matmul_bf16.c's.
#include "cpu/matmul/matmul.h"
#include "ops/conv/conv.h"

typedef frt__matmul matmul;

static bool can(const frt_step *s)
{
  return s->in[0]->shape.dtype == FRT_F32 && s->in[1]->shape.dtype == FRT_F32 &&
         frt__numel(&s->in[0]->shape) > 0 && frt__numel(&s->in[1]->shape) > 0;
}

// Leading dimensions padded with 1 in front to n.
static int64_t leading(const frt_shape *s, int32_t n, int64_t *out)
{
  const int32_t own = s->ndim - 2;
  int64_t product = 1;
  for (int32_t i = 0; i < n; i++) {
    out[i] = i < n - own ? 1 : s->dim[i - (n - own)];
    product *= out[i];
  }
  return product;
}

static frt_status plan(frt_step *s)
{
  const frt_shape *a = &s->in[0]->shape, *b = &s->in[1]->shape, *y = &s->out[0]->shape;
  matmul *v = frt__zalloc(sizeof *v);
  FRT_CHECK(v, FRT_ENOMEM, "out of memory: a matrix product's state");
  s->state = v;
  frt_dn_matmul *c = &v->c;
  c->ta = s->attr[FRT_MATMUL_TA] != 0;
  c->tb = s->attr[FRT_MATMUL_TB] != 0;
  c->m = y->dim[y->ndim - 2];
  c->n = y->dim[y->ndim - 1];
  c->k = a->dim[a->ndim - (c->ta ? 2 : 1)];
  c->n_batch = y->ndim - 2;
  const int64_t n_a = leading(a, c->n_batch, c->a_batch), n_b = leading(b, c->n_batch, c->b_batch);
  if (frt__bf16(s->in[0]) || frt__bf16(s->in[1]) || frt__bf16(s->out[0])) {
    return frt__matmul_bf16_plan(s);
  }
  if (n_b == 1 && (n_a == 1 || !c->ta)) {
    c->m *= n_a; // rows of all of them under one another
    return FRT_OK;
  }
  FRT_TRY(frt__dn_matmul(&v->dn, c));
  s->scratch = frt__dn_scratch(v->dn);
  return FRT_OK;
}

static frt_status ready(frt_step *s)
{
  matmul *v = s->state;
  if (v->variant == FRT__MATMUL_ROWS) {
    return frt__bf16_ready(&v->bf16);
  }
  return v->dn ? frt__dn_ready(v->dn) : FRT_OK;
}

static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  const matmul *v = s->state;
  const frt_dn_matmul *c = &v->c;
  if (v->variant != FRT__MATMUL_F32) {
    frt__matmul_bf16(s, in, out, scratch);
    return FRT_OK;
  }
  if (v->dn) {
    return frt__dn_run(v->dn, in[0], in[1], NULL, out[0], scratch);
  }
  return frt__dn_sgemm(c->ta, c->tb, c->m, c->n, c->k, in[0], c->ta ? c->m : c->k, in[1],
                       c->tb ? c->k : c->n, 0.0f, out[0], c->n);
}

static void free_state(frt_step *s)
{
  matmul *v = s->state;
  if (v) {
    frt__dn_free(v->dn);
    frt__bf16_free(&v->bf16);
    frt__free(v);
    s->state = NULL;
  }
}

FRT_KERNEL(matmul) = {
  .name = "onednn",
  .product = true,
  .bf16_in = 3,
  .bf16_out = 1,
  .can = can,
  .plan = plan,
  .ready = ready,
  .run = run,
  .free = free_state,
};
