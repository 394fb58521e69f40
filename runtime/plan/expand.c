// expand.c -- fused ops that the device has no kernel for become the pieces they mean. Stands
// behind everything that makes fused ops and before elementwise chains: a yes of `can` is final
// from here on.
#include "plan/plan.h"

// What expand() records into: nodes of the plan. A reference is a value's number plus 1.
static frt_status node(void *self, const frt_op *op, int32_t n_in, const frt_ref *in,
                       int32_t n_attr, const double *attr, int32_t n_out, frt_ref *out)
{
  frt_plan *p = ((const frt_expansion *)self)->p;
  const frt_expansion *e = self;
  enum { MOST = 16 };
  const int32_t full = FRT_MAX(n_in, op->n_in);
  const frt_shape *xs[MOST];
  frt_shape ys[MOST];
  int32_t ids[MOST], at;
  FRT_CHECK(full <= MOST && n_out <= MOST, FRT_EARG, "%s: too many operands to expand", op->name);
  for (int32_t i = 0; i < full; i++) {
    ids[i] = i < n_in && in[i] != 0 ? (int32_t)(in[i] - 1) : -1;
    xs[i] = ids[i] >= 0 ? &p->value[ids[i]].v.shape : NULL;
  }
  frt_infer c = {.n_in = full, .n_out = n_out, .x = xs, .y = ys, .attr = attr};
  FRT_TRY(op->infer(&c));
  FRT_TRY(frt__pnode_new(p, op, full, ids, n_out, n_attr, attr, e->origin, &at));
  p->node[at].rank = e->rank;
  p->node[at].derived = e->derived;
  for (int32_t k = 0; k < n_out; k++) {
    int32_t value;
    FRT_TRY(frt__value_new(p, &ys[k], &value));
    p->value[value].maker = at;
    p->node[at].out[k] = value;
    out[k] = value + 1;
  }
  return FRT_OK;
}

static frt_status scalar(void *self, double number, int32_t dtype, frt_ref *out)
{
  int32_t value;
  FRT_TRY(frt__const_new(((const frt_expansion *)self)->p, number, dtype, &value));
  *out = value + 1;
  return FRT_OK;
}

static const frt_shape *shape(void *self, frt_ref t)
{
  return &((const frt_expansion *)self)->p->value[(int32_t)t - 1].v.shape;
}

// The pieces of node `at`; their results are the node's own values.
static frt_status expand(frt_plan *p, int32_t at)
{
  enum { MOST = 16 };
  const int32_t n_in = p->node[at].n_in, n_out = p->node[at].n_out, first = p->n_node;
  frt_expansion e = {
    .p = p, .origin = p->node[at].origin, .rank = p->node[at].rank, .derived = p->node[at].derived};
  const frt_builder builder = {.self = &e, .node = node, .scalar = scalar, .shape = shape};
  frt_ref x[MOST], y[MOST] = {0};
  frt_shape copies[MOST];
  const frt_shape *xs[MOST];
  double attr[FRT_MAX_ATTR];
  FRT_CHECK(n_in <= MOST && n_out <= MOST && p->node[at].n_attr <= FRT_MAX_ATTR, FRT_EARG,
            "%s: too many operands to expand", p->node[at].op->name);
  for (int32_t i = 0; i < n_in; i++) { // what they lie in moves while nodes are made
    const int32_t v = p->node[at].in[i];
    x[i] = v >= 0 ? v + 1 : 0;
    copies[i] = v >= 0 ? p->value[v].v.shape : (frt_shape){0};
    xs[i] = v >= 0 ? &copies[i] : NULL;
  }
  memcpy(attr, p->node[at].attr, sizeof *attr * (size_t)p->node[at].n_attr);
  const frt_expand c = {.n_in = n_in, .n_out = n_out, .x = x, .xs = xs, .attr = attr, .y = y};
  frt__builder = &builder;
  frt_status status = p->node[at].op->expand(&c);
  frt__builder = NULL;
  FRT_TRY(status);
  for (int32_t k = 0; k < n_out; k++) {
    const int32_t out = p->node[at].out[k], made = (int32_t)y[k] - 1;
    if (out < 0) {
      continue;
    }
    const int32_t maker = p->value[made].maker;
    FRT_CHECK(maker >= first, FRT_EARG, "%s: an output of its pieces is an input",
              p->node[at].op->name);
    for (int32_t j = 0; j < p->node[maker].n_out; j++) {
      if (p->node[maker].out[j] == made) {
        p->node[maker].out[j] = out;
      }
    }
    p->value[out].maker = maker;
    for (int32_t i = first; i < p->n_node; i++) {
      frt__redirect(&p->node[i], made, out);
    }
  }
  p->node[at].dead = true;
  return FRT_OK;
}

frt_status frt__pass_expand(frt_plan *p)
{
  bool any = false;
  for (int32_t i = 0, n = p->n_node; i < n; i++) {
    bool can;
    if (p->node[i].dead || !p->node[i].op->expand) {
      continue;
    }
    FRT_TRY(frt__node_can(p, &p->node[i], &can));
    if (!can) {
      FRT_TRY(expand(p, i));
      any = true;
    }
  }
  if (any) {
    frt__sort_nodes(p);
    frt__drop_unread(p);
  }
  return FRT_OK;
}
