// walk.c -- what a set of values needs, in record order; which nodes and pending assignments are of
// no use any more.
#include "ir/graph.h"

#define G frt__graph

static int32_t *order;
static int32_t n_order, cap_order;

static void mark_link(frt_link l, int32_t *open, bool stop)
{
  if (l.node < 0) {
    return;
  }
  frt_node *n = G.node[l.node];
  bool leaf = n->kind != FRT_NODE_OP || (stop && frt__link_has_value(l));
  if (leaf) {
    return;
  }
  if (n->mark != G.mark) {
    n->mark = G.mark;
    n->moving = false;
    (*open)++;
  }
  n->moving |= n->op->moving.out > 0 && l.out >= n->op->moving.out;
}

// Whether input i is there for outputs that nobody asks for.
static bool is_idle(const frt_node *n, int32_t i)
{
  return n->op->moving.in > 0 && i >= n->op->moving.in && !n->moving;
}

frt_var *frt__leaf_var(const frt_node *leaf)
{
  frt_var *v = &G.var[leaf->var];
  return v->used && v->gen == leaf->var_gen ? v : NULL;
}

static frt_status check_fresh(const frt_node *user, frt_link l)
{
  const frt_node *n = l.node < 0 ? NULL : G.node[l.node];
  if (!n || n->kind != FRT_NODE_VAR || n->version == G.var[n->var].version) {
    return FRT_OK;
  }
  const char *what = user->op ? user->op->name : "tensor";
  const frt_var *v = frt__leaf_var(n);
  frt__blame(user->origin);
  if (n->borrowed) {
    return frt_error_set(FRT_ESTATE,
                         "%s: its value is gone: the batch it reads was given back before it was "
                         "computed (item() or realize() computes it, before the next batch is "
                         "taken)",
                         what);
  }
  return frt_error_set(FRT_ESTATE,
                       "%s: its value is gone: variable '%s' has changed since this was recorded "
                       "(keep() the result before the step that changes it)",
                       what, v && v->name ? v->name : "?");
}

frt_status frt__walk_needed(int32_t n, const frt_link *from, bool with_pending, bool stop_at_values,
                            const int32_t **out, int32_t *n_out)
{
  int32_t open = 0;
  G.mark++;
  n_order = 0;
  for (int32_t i = 0; i < n; i++) {
    mark_link(from[i], &open, stop_at_values);
  }
  for (int32_t i = 0; with_pending && i < G.n_pending; i++) {
    frt_link value = G.var[G.pending[i]].current;
    if (stop_at_values) {
      FRT_TRY(check_fresh(G.node[value.node], value));
    }
    mark_link(value, &open, stop_at_values);
  }
  FRT_TRY(frt__grow(&order, &cap_order, G.live, sizeof *order));
  for (int32_t at = G.newest; at >= 0 && open > 0; at = G.node[at]->older) {
    frt_node *node = G.node[at];
    if (node->mark != G.mark || node->kind != FRT_NODE_OP) {
      continue;
    }
    open--;
    order[n_order++] = at;
    for (int32_t i = 0; i < node->n_in; i++) {
      if (stop_at_values && !is_idle(node, i)) {
        FRT_TRY(check_fresh(node, node->in[i]));
      }
      mark_link(node->in[i], &open, stop_at_values);
    }
  }
  for (int32_t i = 0, j = n_order - 1; i < j; i++, j--) {
    int32_t swap = order[i];
    order[i] = order[j];
    order[j] = swap;
  }
  *out = order;
  *n_out = n_order;
  return FRT_OK;
}

// Into `order`: every node, newest first; false without memory for it.
static bool list_all(void)
{
  if (frt__grow(&order, &cap_order, G.live, sizeof *order) != FRT_OK) {
    return false;
  }
  n_order = 0;
  for (int32_t at = G.newest; at >= 0; at = G.node[at]->older) {
    order[n_order++] = at;
  }
  return true;
}

static bool is_there(frt_link l)
{
  const frt_node *n = l.node < 0 ? NULL : G.node[l.node];
  bool moves = n && n->op && n->op->moving.out > 0 && l.out >= n->op->moving.out;
  return !n || frt__link_has_value(l) || (n->dep && (!moves || n->moving));
}

void frt__drop_stale(void)
{
  bool *drop = frt__alloc(sizeof *drop * (size_t)(G.n_pending + 1));
  if (drop && list_all()) { // else they wait for the next failure
    while (n_order > 0) {   // oldest first; dep, moving: can be computed
      frt_node *node = G.node[order[--n_order]];
      const frt_var *v = node->kind == FRT_NODE_VAR ? &G.var[node->var] : NULL;
      node->dep = !v || (node->version == v->version && !v->torn);
      node->moving = true;
      for (int32_t i = 0; i < node->n_in && node->dep; i++) {
        bool moves = node->op->moving.in > 0 && i >= node->op->moving.in;
        *(moves ? &node->moving : &node->dep) &= is_there(node->in[i]);
      }
    }
    for (int32_t i = 0; i < G.n_pending; i++) {
      drop[i] = !is_there(G.var[G.pending[i]].current);
    }
    frt__drop_pending(drop);
  }
  frt__free(drop);
}

// Which kept nodes still need what they were computed from: those without a value, and those
// through which a gradient could be asked for by a variable as it is now or by a root. node->dep
// says whether such a thing lies at or below a node.
static void find_useful(void)
{
  while (n_order > 0) { // oldest first
    frt_node *node = G.node[order[--n_order]];
    node->dep = node->kind == FRT_NODE_OP && node->mark == G.mark;
    if (node->kind == FRT_NODE_VAR) {
      const frt_var *v = &G.var[node->var];
      node->dep = node->version == v->version && !v->released;
    }
    bool flows = node->kind == FRT_NODE_OP && !(node->op->flags & FRT_NO_GRAD);
    for (int32_t i = 0; flows && i < node->n_in && !node->dep; i++) {
      node->dep = node->in[i].node >= 0 && G.node[node->in[i].node]->dep;
    }
  }
}

static bool needs_inputs(const frt_node *n)
{
  for (int32_t k = 0; k < n->n_out; k++) {
    if (!n->value || !n->value[k].space) {
      return true;
    }
  }
  for (int32_t i = 0; i < n->n_in; i++) {
    if (n->in[i].node >= 0 && G.node[n->in[i].node]->dep) {
      return true;
    }
  }
  return false;
}

frt_status frt_sweep(int32_t n, const frt_ref *roots)
{
  G.mark++;
  G.sweeps++;
  for (int32_t i = 0; i < n; i++) {
    frt_link l;
    if (!frt__names_var(roots[i]) && frt__link(roots[i], &l) == FRT_OK) {
      G.node[l.node]->mark = G.mark;
    }
  }
  for (int32_t i = 0; i < G.n_pending; i++) {
    G.node[G.var[G.pending[i]].current.node]->mark = G.mark;
  }
  bool known = list_all();
  if (known) { // else everything keeps its inputs this time
    find_useful();
  }
  // Newest to oldest: users come before their inputs, so one pass marks and frees.
  int32_t *keep = &G.newest;
  for (int32_t at = G.newest; at >= 0;) {
    frt_node *node = G.node[at];
    int32_t older = node->older;
    if (node->mark == G.mark) {
      bool inputs = !known || needs_inputs(node);
      for (int32_t i = 0; i < node->n_in; i++) {
        if (node->in[i].node >= 0 && inputs) {
          G.node[node->in[i].node]->mark = G.mark;
        } else {
          node->in[i] = (frt_link){-1, 0};
        }
      }
      *keep = at;
      keep = &node->older;
    } else {
      frt__node_free(at);
    }
    at = older;
  }
  *keep = -1;
  for (int32_t i = 0; i < G.n_var; i++) {
    if (G.var[i].released && G.var[i].leaf < 0) {
      frt__var_drop(i);
    }
  }
  return FRT_OK;
}
