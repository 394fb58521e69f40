// simplify.c -- the first passes over a plan's graph: identities and twins go, batch norm at
// evaluation folds into the convolution before it.
#include "ops/norm/norm.h"
#include "plan/plan.h"

// --- identities and twins
// -------------------------------------------------------------------------
static bool is_identity(const frt_plan *p, const frt_pnode *n)
{
  if (n->op == &frt_op_detach) {
    return true;
  }
  if (n->op == &frt_op_reshape || n->op == &frt_op_expand) {
    return frt__shape_equal(&p->value[n->in[0]].v.shape, &p->value[n->out[0]].v.shape);
  }
  return n->op == &frt_op_cast &&
         p->value[n->in[0]].v.shape.dtype == p->value[n->out[0]].v.shape.dtype;
}

static uint64_t node_hash(const frt_pnode *n)
{
  uint64_t h = frt__hash((uint64_t)(uintptr_t)n->op, n->in, sizeof *n->in * (size_t)n->n_in);
  return frt__hash(h, n->attr, sizeof *n->attr * (size_t)n->n_attr);
}

static bool twins(const frt_pnode *a, const frt_pnode *b)
{
  return a->op == b->op && a->n_in == b->n_in && a->n_out == b->n_out && a->n_attr == b->n_attr &&
         memcmp(a->in, b->in, sizeof *a->in * (size_t)a->n_in) == 0 &&
         memcmp(a->attr, b->attr, sizeof *a->attr * (size_t)a->n_attr) == 0;
}

static frt_status merge(frt_plan *p)
{
  int32_t size = 16;
  while (size < 2 * p->n_node) {
    size *= 2;
  }
  int32_t *table = frt__alloc(sizeof *table * (size_t)size);
  int32_t *to = frt__alloc(sizeof *to * (size_t)(p->n_value + 1));
  if (!table || !to) {
    frt__free(table);
    frt__free(to);
    return frt_error_set(FRT_ENOMEM, "out of memory: a plan");
  }
  memset(table, 0xff, sizeof *table * (size_t)size);
  for (int32_t v = 0; v < p->n_value; v++) {
    to[v] = v;
  }
  for (int32_t i = 0; i < p->n_node; i++) {
    frt_pnode *n = &p->node[i];
    for (int32_t k = 0; k < n->n_in; k++) {
      n->in[k] = n->in[k] >= 0 ? to[n->in[k]] : -1;
    }
    if (is_identity(p, n)) {
      to[n->out[0]] = n->in[0];
      n->dead = true;
      continue;
    }
    if (n->op->flags & (FRT_RANDOM | FRT_UPDATE)) {
      continue;
    }
    int32_t at = (int32_t)(node_hash(n) & (uint64_t)(size - 1));
    while (table[at] >= 0 && !twins(&p->node[table[at]], n)) {
      at = (at + 1) & (size - 1);
    }
    if (table[at] < 0) {
      table[at] = i;
      continue;
    }
    for (int32_t k = 0; k < n->n_out; k++) {
      to[n->out[k]] = p->node[table[at]].out[k];
    }
    n->dead = true;
  }
  for (int32_t i = 0; i < p->n_output; i++) {
    p->output[i] = to[p->output[i]];
  }
  for (int32_t i = 0; i < p->n_assign; i++) {
    p->assign[i].value = to[p->assign[i].value];
  }
  frt__free(table);
  frt__free(to);
  frt__sort_nodes(p);
  return FRT_OK;
}

// --- batch norm at evaluation, into the convolution before it
// ----------------------------------------
//     bn(conv(x, w) + c) = conv(x, w * s) + (c - mean) * s + beta,   s = gamma / sqrt(var + eps)
// The new weight is made of variables alone: where none of them is assigned in this plan it is
// derived data, computed again only when one of them moves.
typedef struct folder {
  frt_plan *p;
  int64_t rank;
  frt_origin origin;
} folder;

static frt_status emit(folder *f, const frt_op *op, int32_t a, int32_t b, const frt_shape *shape,
                       int32_t *out)
{
  int32_t in[2] = {a, b}, node;
  double attr[FRT_SHAPE_DIMS + FRT_MAX_DIM] = {shape->ndim, 1, 1, 1, 1, 1, 1};
  for (int32_t i = 0; i < shape->ndim; i++) {
    attr[FRT_SHAPE_DIMS + i] = (double)shape->dim[i];
  }
  int32_t n_attr = op == &frt_op_reshape ? FRT_SHAPE_DIMS + FRT_MAX_DIM : 0;
  FRT_TRY(frt__pnode_new(f->p, op, b >= 0 ? 2 : 1, in, 1, n_attr, attr, f->origin, &node));
  FRT_TRY(frt__value_new(f->p, shape, out));
  f->p->value[*out].maker = node;
  f->p->node[node].out[0] = *out;
  f->p->node[node].rank = f->rank;
  f->p->node[node].derived = true;
  return FRT_OK;
}

static frt_status fold(frt_plan *p, int32_t bn, int32_t conv)
{
  // The convolution moves to where batch norm stood: its parameters may be made in between.
  p->node[conv].rank = p->node[bn].rank;
  folder f = {p, p->node[bn].rank - 1, p->node[bn].origin};
  const int32_t *in = p->node[bn].in;
  int32_t gamma = in[1], beta = in[2], mean = in[3], var = in[4];
  int32_t w = p->node[conv].in[1], bias = p->node[conv].in[2];
  const frt_shape per = p->value[gamma].v.shape, weight = p->value[w].v.shape;
  frt_shape column = weight;
  for (int32_t d = 1; d < column.ndim; d++) {
    column.dim[d] = 1;
  }
  int32_t eps, v, r, s, sw, w2, ms, b2;
  FRT_TRY(frt__const_new(p, p->node[bn].attr[FRT_BATCH_NORM_EPS], per.dtype, &eps));
  FRT_TRY(emit(&f, &frt_op_add, var, eps, &per, &v));
  FRT_TRY(emit(&f, &frt_op_rsqrt, v, -1, &per, &r));
  FRT_TRY(emit(&f, &frt_op_mul, r, gamma, &per, &s));
  FRT_TRY(emit(&f, &frt_op_reshape, s, -1, &column, &sw));
  FRT_TRY(emit(&f, &frt_op_mul, w, sw, &weight, &w2));
  if (bias >= 0) {
    int32_t less;
    FRT_TRY(emit(&f, &frt_op_sub, bias, mean, &per, &less));
    FRT_TRY(emit(&f, &frt_op_mul, less, s, &per, &ms));
    FRT_TRY(emit(&f, &frt_op_add, beta, ms, &per, &b2));
  } else {
    FRT_TRY(emit(&f, &frt_op_mul, mean, s, &per, &ms));
    FRT_TRY(emit(&f, &frt_op_sub, beta, ms, &per, &b2));
  }
  frt_pnode *c = &p->node[conv], *b = &p->node[bn];
  c->in[1] = w2;
  c->in[2] = b2;
  c->out[0] = b->out[0];
  memcpy(c->note, "batch norm", 11);
  b->dead = true;
  return FRT_OK;
}

static frt_status fold_batch_norm(frt_plan *p)
{
  frt_readers r;
  FRT_TRY(frt__readers_new(p, &r));
  int32_t n = p->n_node;
  frt_status status = FRT_OK;
  for (int32_t i = 0; i < n && status == FRT_OK; i++) {
    if (p->node[i].op != &frt_op_batch_norm || p->node[i].dead) {
      continue;
    }
    const frt_pvalue *x = &p->value[p->node[i].in[0]];
    if (x->maker < 0 || p->node[x->maker].op != &frt_op_conv2d) {
      continue;
    }
    if (x->uses != 1 || x->pinned || x->v.shape.dtype != FRT_F32) {
      frt__missed_for_readers(p, &r, p->node[i].in[0], x->maker, "batch norm in its weights", i);
      continue;
    }
    status = fold(p, i, x->maker);
  }
  frt__readers_free(&r);
  frt__sort_nodes(p);
  return status;
}

// Optimizers' steps write variables: they and what follows from them come after everything that may
// still fail.
static void updates_last(frt_plan *p)
{
  int64_t behind = (int64_t)p->n_node * 16;
  for (int32_t i = 0; i < p->n_node; i++) {
    frt_pnode *n = &p->node[i];
    bool late = (n->op->flags & FRT_UPDATE) != 0;
    for (int32_t k = 0; k < n->n_in && !late; k++) {
      int32_t maker = n->in[k] >= 0 ? p->value[n->in[k]].maker : -1;
      late = maker >= 0 && p->node[maker].rank >= behind;
    }
    n->rank += late ? behind : 0;
  }
  frt__sort_nodes(p);
}

frt_status frt__pass_simplify(frt_plan *p)
{
  FRT_TRY(merge(p));
  updates_last(p);
  if (frt__as_recorded() || frt__graph.finite) {
    return FRT_OK;
  }
  FRT_TRY(frt__pass_join(p));
  FRT_TRY(frt__pass_transpose(p));
  return fold_batch_norm(p);
}
