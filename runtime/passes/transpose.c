// transpose.c -- products of stacks of matrices that were transposed before or are afterwards: the
// product reads them so, nothing is copied. q:matmul(k:transpose(3, 4)) and its gradient become
// what fuse_attention.c looks for.
#include "ops/conv/conv.h"
#include "plan/plan.h"

// Whether the node exchanges the last two dimensions and no others.
static bool transposes(const frt_plan *p, const frt_pnode *n)
{
  const int32_t ndim = p->value[n->out[0]].v.shape.ndim;
  if (n->dead || n->op != &frt_op_permute || ndim < 3) {
    return false;
  }
  for (int32_t d = 0; d < ndim; d++) {
    const int32_t other = d == ndim - 1 ? d - 1 : d == ndim - 2 ? d + 1 : d;
    if ((int32_t)n->attr[FRT_PERMUTE_ORDER + d] != other) {
      return false;
    }
  }
  return true;
}

static frt_pnode *maker_of(const frt_plan *p, int32_t v)
{
  const int32_t at = p->value[v].maker;
  return at >= 0 && p->value[v].place == FRT_AT_ARENA && !p->node[at].dead ? &p->node[at] : NULL;
}

// Two stacks of as many matrices: one with a matrix of weights is left as it is.
static bool is_stack(const frt_plan *p, const frt_pnode *n)
{
  const frt_shape *a = &p->value[n->in[0]].v.shape, *b = &p->value[n->in[1]].v.shape;
  bool same = n->op == &frt_op_matmul && !n->dead && a->ndim >= 3 && a->ndim == b->ndim;
  for (int32_t d = 0; same && d < a->ndim - 2; d++) {
    same = a->dim[d] == b->dim[d];
  }
  return same;
}

frt_status frt__pass_transpose(frt_plan *p)
{
  frt_readers r;
  bool any = false;
  FRT_TRY(frt__readers_new(p, &r));
  for (int32_t i = 0; i < p->n_node; i++) {
    frt_pnode *n = &p->node[i];
    if (n->op == &frt_op_matmul && is_stack(p, n)) {
      for (int32_t k = 0; k < 2; k++) {
        const frt_pnode *from = maker_of(p, n->in[k]);
        if (from && transposes(p, from)) {
          n->in[k] = from->in[0];
          n->attr[FRT_MATMUL_TA + k] = n->attr[FRT_MATMUL_TA + k] == 0;
          any = true;
        }
      }
    } else if (transposes(p, n) && frt__only_reader(p, &r, n->in[0]) == i) {
      frt_pnode *from = maker_of(p, n->in[0]);
      if (from && is_stack(p, from)) { // (a b)' = b' a'
        const int32_t a = from->in[0];
        const double ta = from->attr[FRT_MATMUL_TB] == 0;
        from->in[0] = from->in[1];
        from->in[1] = a;
        from->attr[FRT_MATMUL_TB] = from->attr[FRT_MATMUL_TA] == 0;
        from->attr[FRT_MATMUL_TA] = ta;
        from->out[0] = n->out[0];
        p->value[n->out[0]].maker = p->value[n->in[0]].maker;
        n->dead = any = true;
      }
    }
  }
  frt__readers_free(&r);
  if (any) {
    frt__sort_nodes(p);
    frt__drop_unread(p);
  }
  return FRT_OK;
}
