// gradient.c -- the gradient as graph rewriting: a walk back over the nodes that lie between what
// is asked for and the loss. What is frozen is not asked for, so nothing is recorded for it.
#include "ir/graph.h"

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
  G.here.stage = FRT_BACKWARD;
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

// What has been assigned to a trainable variable and not yet realized: to readers it is the
// variable.
static void set_barriers(bool on)
{
  for (int32_t i = 0; i < G.n_pending; i++) {
    const frt_var *v = &G.var[G.pending[i]];
    if (v->requires_grad && G.node[v->current.node]->kind == FRT_NODE_OP) {
      G.node[v->current.node]->barrier = on;
    }
  }
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
      n->dep |= from->dep && !n->barrier && !(n->op->flags & FRT_NO_GRAD);
    }
  }
  *leaves = list;
  *n_leaves = count;
  return FRT_OK;
}

// A variable as the loss has read it: its pending value where the loss depends on that, else the
// leaf of its bytes. After the walk from the loss.
static frt_status find_wanted(frt_link loss, int32_t n, const frt_ref *wrt, frt_link *links)
{
  for (int32_t i = 0; i < n; i++) {
    int32_t v;
    if (!frt__names_var(wrt[i])) {
      FRT_TRY(frt__link(wrt[i], &links[i]));
      continue;
    }
    FRT_TRY(frt__var(wrt[i], &v));
    frt_link pending = G.var[v].current;
    bool read =
      pending.node >= 0 && (pending.node == loss.node || G.node[pending.node]->mark == G.mark);
    links[i] = read ? pending : (frt_link){G.var[v].leaf, 0};
  }
  return FRT_OK;
}

static frt_status gradient(frt_ref loss, int32_t n, const frt_ref *refs, frt_link *wrt,
                           frt_ref *out, tape *t)
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
  FRT_TRY(find_wanted(l, n, refs, wrt));
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
  frt_ref one = 0;
  FRT_TRY(frt__gs(1, loss, &one));
  FRT_TRY(frt__g_reshape(one, shape, &one));
  if (G.node[l.node]->mark != G.mark) { // a leaf
    for (int32_t i = 0; i < n; i++) {
      out[i] = wrt[i].node == l.node ? one : 0;
    }
    return FRT_OK;
  }
  if (!G.node[l.node]->dep) {
    return FRT_OK;
  }
  t->dy[t->first[G.node[l.node]->pos] + l.out] = one;
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
    if (!inputs_need || node->barrier || (node->op->flags & FRT_NO_GRAD)) {
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
  tape t = {0};
  frt_origin here = G.here;
  set_barriers(true);
  frt_status status = gradient(loss, n, wrt, links, out, &t);
  set_barriers(false);
  G.here = here;
  frt__free((void *)t.order);
  frt__free(t.first);
  frt__free(t.dy);
  frt__free(links);
  return status;
}

// The trainable variable that a link reads; -1.
static int32_t trainable(frt_link l)
{
  if (l.node < 0) {
    return -1;
  }
  const frt_node *n = G.node[l.node];
  if (n->kind == FRT_NODE_VAR) {
    const frt_var *v = frt__leaf_var(n);
    if (!v) {
      return -1;
    }
    bool newer = v->current.node >= 0 && G.node[v->current.node]->barrier &&
                 G.node[v->current.node]->mark == G.mark && G.node[v->current.node]->dep;
    return v->requires_grad && !newer ? n->var : -1;
  }
  for (int32_t i = 0; n->barrier && i < G.n_pending; i++) {
    const frt_var *v = &G.var[G.pending[i]];
    if (v->requires_grad && v->current.node == l.node && v->current.out == l.out) {
      return G.pending[i];
    }
  }
  return -1;
}

// Visits what `t` depends on without looking behind pending values.
static frt_status leaves(frt_ref t, int32_t *n, frt_ref *out)
{
  frt_link l;
  const int32_t *order;
  int32_t n_order, room = *n;
  *n = 0;
  FRT_TRY(frt__link(t, &l));
  FRT_TRY(frt__walk_needed(1, &l, false, false, &order, &n_order));
  for (int32_t p = 0; p < n_order; p++) {
    G.node[order[p]]->dep = false;
  }
  G.node[l.node]->dep = true;
  for (int32_t p = n_order - 1; p >= 0; p--) {
    const frt_node *node = G.node[order[p]];
    for (int32_t i = 0; node->dep && !node->barrier && i < node->n_in; i++) {
      if (node->in[i].node >= 0) {
        G.node[node->in[i].node]->dep = true;
      }
    }
  }
  for (int32_t p = -1; p < n_order; p++) {
    const frt_node *node = p < 0 ? NULL : G.node[order[p]];
    for (int32_t i = 0; i < (node ? node->n_in : 1); i++) {
      frt_link from = node ? node->in[i] : l;
      int32_t v = !node || (node->dep && !node->barrier) ? trainable(from) : -1;
      bool known = v < 0;
      for (int32_t k = 0; !known && k < FRT_MIN(*n, room); k++) {
        known = out[k] == frt__pack(v, G.var[v].gen, FRT_OUT_VAR);
      }
      if (!known) {
        if (*n < room) {
          out[*n] = frt__pack(v, G.var[v].gen, FRT_OUT_VAR);
        }
        (*n)++;
      }
    }
  }
  return FRT_OK;
}

frt_status frt_grad_leaves(frt_ref t, int32_t *n, frt_ref *out)
{
  set_barriers(true);
  frt_status status = leaves(t, n, out);
  set_barriers(false);
  return status;
}
