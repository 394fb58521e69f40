// store.c -- which maps a plan stores as bf16 (frt_set_precision). Numbers stay f32 in meaning, in
// registers and in every sum; only the bytes of large intermediate maps are halved, where the
// kernels that make and read them can. Variables, statistics, losses and what has no map (logits,
// gates, gradients of weights) keep all 32 bits.
#include "plan/plan.h"

// Numbers below which a map is not worth it, and rows below which a matrix is none.
enum { LARGE = 16384, ROWS = 256 };

static bool is_map(const frt_value *v)
{
  const frt_shape *s = &v->shape;
  return s->dtype == FRT_F32 && frt__numel(s) >= LARGE &&
         (s->ndim >= 3 || (s->ndim == 2 && s->dim[0] >= ROWS)) &&
         !(s->ndim == 4 && s->dim[2] * s->dim[3] == 1);
}

static bool has(uint32_t mask, int32_t position)
{
  return mask >> FRT_MIN(position, 31) & 1;
}

// A variable of two dimensions is a matrix of weights: products bring it into their own form.
bool frt__bf16_operand(const frt_kernel *k, int32_t position, const frt_value *v)
{
  return has(k->bf16_in, position) && is_map(v) && !(v->is_var && v->shape.ndim == 2);
}

// A product wants its maps as bf16; every other kernel takes them so where one of its inputs is.
bool frt__wants_bf16(const frt_plan *p, const frt_pnode *n, const frt_kernel *k)
{
  bool any = false;
  for (int32_t i = 0; i < n->n_in && frt__graph.store == FRT_STORE_BF16 && !n->derived; i++) {
    const frt_value *v = n->in[i] >= 0 ? &p->value[n->in[i]].v : NULL;
    any = any || (v && frt__bf16_operand(k, i, v) && (k->product || frt__bf16(v)));
  }
  return any;
}

// Whether anybody reads `value` as bf16.
static bool read_so(const frt_plan *p, const frt_readers *r, int32_t value)
{
  for (int32_t i = r->first[value]; i < r->first[value + 1]; i++) {
    const frt_pnode *n = &p->node[r->list[i]];
    if (n->op->flags & FRT_VIEW) {
      if (read_so(p, r, n->out[0])) {
        return true;
      }
      continue;
    }
    const frt_kernel *k = frt__kernel(n->op);
    for (int32_t j = 0; k && j < n->n_in; j++) {
      if (n->in[j] == value && has(k->bf16_in, j)) {
        return true;
      }
    }
  }
  return false;
}

// A matrix that a product makes of two maps, and not of a map and weights, is a gradient of
// weights.
static bool is_weights(const frt_plan *p, const frt_pnode *n, int32_t value)
{
  bool map = p->value[value].v.shape.ndim > 2;
  for (int32_t i = 0; i < n->n_in; i++) {
    map = map || (n->in[i] >= 0 && p->value[n->in[i]].v.is_var);
  }
  return !map;
}

bool frt__bf16_result(const frt_plan *p, const frt_readers *r, const frt_pnode *n,
                      const frt_kernel *k, int32_t position)
{
  const int32_t value = n->out[position];
  if (value < 0 || !has(k->bf16_out, position) || !is_map(&p->value[value].v)) {
    return false;
  }
  if (k->product) {
    return read_so(p, r, value) && !is_weights(p, n, value);
  }
  return !k->over || read_so(p, r, value); // chains write either
}

frt_status frt_set_precision(const char *name)
{
  const bool bf16 = name && strcmp(name, "bf16") == 0;
  frt_device *d = frt__device();
  FRT_CHECK(bf16 || (name && strcmp(name, "fp32") == 0), FRT_EARG,
            "precision: must be 'fp32' or 'bf16', got '%s'", name ? name : "nothing");
  FRT_CHECK(!bf16 || (d->backend->stores_now(d) >> FRT_STORE_BF16 & 1), FRT_EDEVICE,
            "precision: %s", d->backend->no_bf16);
  frt__graph.store = bf16 ? FRT_STORE_BF16 : FRT_STORE_OWN;
  return FRT_OK;
}

const char *frt_precision(void)
{
  return frt__graph.store == FRT_STORE_BF16 ? "bf16" : "fp32";
}
