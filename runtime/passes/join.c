// join.c -- a sum of padded pieces that together fill the whole is the pieces side by side: what
// the gradient makes of a map that was cut up (attention's queries, keys and values).
#include "ops/shape/shape.h"
#include "plan/plan.h"

enum { MOST = 16 };

typedef struct pieces {
  int32_t n, dim, pad[MOST]; // nodes
  int32_t n_add, add[MOST];
} pieces;

static bool only_here(const frt_plan *p, int32_t v)
{
  const frt_pvalue *x = &p->value[v];
  return x->maker >= 0 && x->uses == 1 && !x->pinned && !p->node[x->maker].dead;
}

// The one dimension a pad of zeros lengthens; -1: none, or several.
static int32_t lengthens(const frt_plan *p, const frt_pnode *n)
{
  int32_t dim = -1;
  for (int32_t d = 0; d < p->value[n->in[0]].v.shape.ndim; d++) {
    if (n->attr[FRT_PAD_BEFORE + d] != 0 || n->attr[FRT_PAD_AFTER + d] != 0) {
      dim = dim < 0 ? d : -2;
    }
  }
  return n->attr[FRT_PAD_VALUE] == 0 ? FRT_MAX(dim, -1) : -1;
}

static bool collect(const frt_plan *p, int32_t v, pieces *s)
{
  if (!only_here(p, v) || s->n >= MOST || s->n_add >= MOST) {
    return false;
  }
  const int32_t at = p->value[v].maker;
  const frt_pnode *n = &p->node[at];
  if (n->op == &frt_op_pad) {
    const int32_t dim = lengthens(p, n);
    s->dim = s->n == 0 ? dim : s->dim;
    s->pad[s->n++] = at;
    return dim >= 0 && dim == s->dim;
  }
  s->add[s->n_add++] = at;
  return n->op == &frt_op_add && collect(p, n->in[0], s) && collect(p, n->in[1], s);
}

static double starts(const frt_plan *p, const pieces *s, int32_t k)
{
  return p->node[s->pad[k]].attr[FRT_PAD_BEFORE + s->dim];
}

// Puts the pieces in order; whether each begins where the one before it ends, first to last.
static bool fill(const frt_plan *p, pieces *s, const frt_shape *whole)
{
  double end = 0;
  for (int32_t i = 0; i < s->n; i++) {
    for (int32_t k = i + 1; k < s->n; k++) {
      if (starts(p, s, k) < starts(p, s, i)) {
        int32_t t = s->pad[i];
        s->pad[i] = s->pad[k];
        s->pad[k] = t;
      }
    }
    if (starts(p, s, i) != end) {
      return false;
    }
    end += (double)p->value[p->node[s->pad[i]].in[0]].v.shape.dim[s->dim];
  }
  return end == (double)whole->dim[s->dim];
}

// Last to first, so that a sum is met before the sums in it.
frt_status frt__pass_join(frt_plan *p)
{
  frt__count_uses(p);
  for (int32_t i = p->n_node - 1; i >= 0; i--) {
    pieces s = {.n_add = 1, .add = {i}};
    const frt_pnode *root = &p->node[i];
    if (root->dead || root->op != &frt_op_add || !collect(p, root->in[0], &s) ||
        !collect(p, root->in[1], &s) || !fill(p, &s, &p->value[root->out[0]].v.shape)) {
      continue;
    }
    int32_t in[MOST], made;
    const double dim = s.dim;
    for (int32_t k = 0; k < s.n; k++) {
      in[k] = p->node[s.pad[k]].in[0];
      p->node[s.pad[k]].dead = true;
    }
    FRT_TRY(frt__pnode_new(p, &frt_op_cat, s.n, in, 1, 1, &dim, root->origin, &made));
    p->node[made].out[0] = p->node[i].out[0];
    p->node[made].rank = p->node[i].rank;
    for (int32_t k = 0; k < s.n_add; k++) {
      p->node[s.add[k]].dead = true;
    }
  }
  frt__sort_nodes(p);
  return FRT_OK;
}
