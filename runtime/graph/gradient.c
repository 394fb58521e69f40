// gradient.c -- the gradient as graph rewriting: a walk back over the nodes that lie between what
// is asked for and the loss. What is frozen is not asked for, so nothing is recorded for it.
#include "graph.h"

#define G frt__graph

// Gradient so far of every output of every node of the walk; 0 where none has arrived.
typedef struct tape {
  const int32_t *order;
  int32_t n;
  frt_ref *dy; // first output of node `pos` is at first[pos]
  int32_t *first;
} tape;

static frt_status add_into(frt_ref *sum, frt_ref g)
{
  if (g == 0) {
    return FRT_OK;
  }
  if (*sum == 0) {
    *sum = g;
    return FRT_OK;
  }
  return frt__g2(&frt_op_add, *sum, g, sum);
}

static frt_status back_through(int32_t at, tape *t)
{
  frt_node *n = G.node[at];
  enum { FEW = 16 };
  frt_ref few[4 * FEW];
  const frt_shape *few_shapes[2 * FEW];
  bool few_need[FEW];
  int32_t wide = FRT_MAX(n->n_in, n->n_out);
  FRT_CHECK(wide <= FEW || n->op->n_in < 0, FRT_EARG, "%s: too many inputs for a gradient",
            n->op->name);
  frt_ref *refs = few;
  const frt_shape **shapes = few_shapes;
  bool *need = few_need;
  void *heap = NULL;
  if (wide > FEW) {
    size_t each = 4 * sizeof *refs + 2 * sizeof *shapes + sizeof *need;
    heap = frt__alloc(each * (size_t)wide);
    FRT_CHECK(heap, FRT_ENOMEM, "out of memory: gradient of %s", n->op->name);
    refs = heap;
    shapes = (void *)(refs + 4 * wide);
    need = (void *)(shapes + 2 * wide);
  } else {
    wide = FEW;
  }
  frt_ref *x = refs, *y = x + wide, *dy = y + wide, *dx = dy + wide;
  const frt_shape **xs = shapes, **ys = xs + wide;
  for (int32_t i = 0; i < n->n_in; i++) {
    bool given = n->in[i].node >= 0;
    x[i] = frt__ref(n->in[i]);
    xs[i] = given ? frt__link_shape(n->in[i]) : NULL;
    need[i] = given && G.node[n->in[i].node]->dep && frt__is_real(xs[i]->dtype);
    dx[i] = 0;
  }
  for (int32_t k = 0; k < n->n_out; k++) {
    y[k] = frt__ref((frt_link){at, k});
    ys[k] = &n->shape[k];
    dy[k] = t->dy[t->first[n->pos] + k];
  }
  frt_grad_call c = {.n_in = n->n_in,
                     .n_out = n->n_out,
                     .x = x,
                     .y = y,
                     .dy = dy,
                     .xs = xs,
                     .ys = ys,
                     .attr = n->attr,
                     .need = need,
                     .dx = dx};
  G.here = n->origin;
  frt_status status = n->op->grad(&c);
  if (status != FRT_OK) {
    frt__blame(n->origin);
  }
  for (int32_t i = 0; i < n->n_in && status == FRT_OK; i++) {
    if (need[i] && dx[i] != 0) {
      const frt_node *from = G.node[n->in[i].node];
      status = add_into(&t->dy[t->first[from->pos] + n->in[i].out], dx[i]);
    }
  }
  frt__free(heap);
  return status;
}

// Marks which nodes depend on a wanted one; leaves of the walk are numbered behind its nodes.
static frt_status number(tape *t, int32_t **leaves, int32_t *n_leaves)
{
  static int32_t *list, cap;
  int32_t count = 0;
  for (int32_t p = 0; p < t->n; p++) {
    frt_node *n = G.node[t->order[p]];
    n->pos = p;
    n->dep = n->wanted == G.mark;
    for (int32_t i = 0; i < n->n_in; i++) {
      if (n->in[i].node < 0) {
        continue;
      }
      frt_node *from = G.node[n->in[i].node];
      if (from->kind != FRT_NODE_OP && from->mark != G.mark) {
        from->mark = G.mark;
        from->dep = from->wanted == G.mark;
        from->pos = t->n + count;
        FRT_TRY(frt__grow(&list, &cap, count + 1, sizeof *list));
        list[count++] = n->in[i].node;
      }
      n->dep |= from->dep && !(n->op->flags & FRT_NO_GRAD);
    }
  }
  *leaves = list;
  *n_leaves = count;
  return FRT_OK;
}

static frt_status gradient(frt_ref loss, int32_t n, const frt_link *wrt, frt_ref *out, tape *t)
{
  frt_link l;
  FRT_TRY(frt__link(loss, &l));
  const frt_shape *shape = frt__link_shape(l);
  FRT_CHECK(frt__numel(shape) == 1, FRT_ESHAPE, "backward: the loss must be one number, got %s",
            frt__shape_text(shape));
  FRT_CHECK(frt__is_real(shape->dtype), FRT_ESHAPE, "backward: the loss must be float, got %s",
            frt__dtype_name(shape->dtype));
  const int32_t *order;
  int32_t n_order, *leaves, n_leaves;
  FRT_TRY(frt__walk_needed(1, &l, false, false, &order, &n_order));
  int32_t *copy = frt__alloc(sizeof *copy * (size_t)(n_order + 1));
  FRT_CHECK(copy, FRT_ENOMEM, "out of memory: the gradient's list");
  memcpy(copy, order, sizeof *copy * (size_t)n_order);
  t->order = copy;
  t->n = n_order;
  for (int32_t i = 0; i < n; i++) {
    if (wrt[i].node >= 0) {
      G.node[wrt[i].node]->wanted = G.mark;
    }
  }
  FRT_TRY(number(t, &leaves, &n_leaves));
  t->first = frt__alloc(sizeof *t->first * (size_t)(n_order + n_leaves + 1));
  FRT_CHECK(t->first, FRT_ENOMEM, "out of memory: the gradient's list");
  int32_t total = 0;
  for (int32_t p = 0; p < n_order + n_leaves; p++) {
    t->first[p] = total;
    total += G.node[p < n_order ? copy[p] : leaves[p - n_order]]->n_out;
  }
  t->dy = frt__zalloc(sizeof *t->dy * (size_t)(total + 1));
  FRT_CHECK(t->dy, FRT_ENOMEM, "out of memory: the gradient's list");
  memset(out, 0, sizeof *out * (size_t)n);
  if (G.node[l.node]->mark != G.mark || !G.node[l.node]->dep) {
    return FRT_OK;
  }
  frt_ref one;
  FRT_TRY(frt__gs(1, loss, &one));
  FRT_TRY(frt__g_reshape(one, shape, &t->dy[t->first[G.node[l.node]->pos] + l.out]));
  for (int32_t p = n_order - 1; p >= 0; p--) {
    frt_node *node = G.node[copy[p]];
    bool any = false;
    for (int32_t k = 0; k < node->n_out; k++) {
      any |= t->dy[t->first[p] + k] != 0;
    }
    if (!node->dep || !any) {
      continue;
    }
    bool inputs_need = false;
    for (int32_t i = 0; i < node->n_in; i++) {
      inputs_need |= node->in[i].node >= 0 && G.node[node->in[i].node]->dep;
    }
    if (!inputs_need || (node->op->flags & FRT_NO_GRAD)) {
      continue; // wanted itself; nothing below it is
    }
    if (!node->op->grad) {
      frt__blame(node->origin);
      return frt_error_set(FRT_EARG, "backward: %s has no gradient", node->op->name);
    }
    FRT_TRY(back_through(copy[p], t));
  }
  for (int32_t i = 0; i < n; i++) {
    frt_node *node = wrt[i].node < 0 ? NULL : G.node[wrt[i].node];
    if (node && node->mark == G.mark && node->pos < n_order + n_leaves) {
      out[i] = t->dy[t->first[node->pos] + wrt[i].out];
    }
  }
  return FRT_OK;
}

frt_status frt_grad(frt_ref loss, int32_t n, const frt_ref *wrt, frt_ref *out)
{
  frt_link *links = frt__alloc(sizeof *links * (size_t)(n + 1));
  FRT_CHECK(links, FRT_ENOMEM, "out of memory: the gradient's list");
  frt_status status = FRT_OK;
  for (int32_t i = 0; i < n && status == FRT_OK; i++) {
    int32_t v;
    if (frt__names_var(wrt[i])) { // the leaf the loss has read, not a value assigned since
      status = frt__var(wrt[i], &v);
      links[i] = (frt_link){status == FRT_OK ? G.var[v].leaf : -1, 0};
    } else {
      status = frt__link(wrt[i], &links[i]);
    }
  }
  tape t = {0};
  frt_origin here = G.here;
  if (status == FRT_OK) {
    status = gradient(loss, n, links, out, &t);
  }
  G.here = here;
  frt__free((void *)t.order);
  frt__free(t.first);
  frt__free(t.dy);
  frt__free(links);
  return status;
}

frt_status frt_grad_leaves(frt_ref t, int32_t *n, frt_ref *out)
{
  frt_link l;
  const int32_t *order;
  int32_t n_order, found = 0;
  FRT_TRY(frt__link(t, &l));
  FRT_TRY(frt__walk_needed(1, &l, false, false, &order, &n_order));
  for (int32_t p = -1; p < n_order; p++) {
    const frt_node *node = G.node[p < 0 ? l.node : order[p]];
    for (int32_t i = p < 0 ? -1 : 0; i < (p < 0 ? 0 : node->n_in); i++) {
      int32_t from = p < 0 ? l.node : node->in[i].node;
      frt_node *leaf = from < 0 ? NULL : G.node[from];
      if (leaf && leaf->kind == FRT_NODE_VAR && leaf->mark != G.mark) {
        leaf->mark = G.mark;
        if (G.var[leaf->var].requires_grad) {
          if (found < *n) {
            out[found] = frt__pack(leaf->var, G.var[leaf->var].gen, FRT_OUT_VAR);
          }
          found++;
        }
      }
    }
  }
  *n = found;
  return FRT_OK;
}
