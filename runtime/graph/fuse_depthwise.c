// fuse_depthwise.c -- batch norm taken apart and into its neighbours: statistics into the depthwise
// convolution that makes the map, normalise and activation into the one that reads it.
#include <stdio.h>

#include "plan.h"

// --- batch norm as statistics and application
// ------------------------------------------------------
// The application alone is a pure function of what is kept for the backward pass anyway.
static frt_status split(frt_plan_t *p, int32_t at)
{
  const frt_pnode *n = &p->node[at];
  int32_t x = n->in[0], w = n->in[1], b = n->in[2], stats, apply;
  bool fused = n->op == &frt_fused_bn_act;
  double act = fused ? n->attr[2] : FRT_ACT_NONE;
  int32_t in[3] = {x, n->in[3], n->in[4]};
  FRT_TRY(frt__pnode_new(p, &frt_fused_bn_stats, 3, in, 4, 2, n->attr, n->origin, &stats));
  n = &p->node[at];
  int32_t use[5] = {x, w, b, n->out[1], n->out[2]};
  FRT_TRY(frt__pnode_new(p, &frt_fused_bn_apply, 5, use, 1, 1, &act, n->origin, &apply));
  n = &p->node[at];
  memcpy(p->node[stats].out, n->out + 1, sizeof *n->out * 4);
  p->node[apply].out[0] = n->out[0];
  p->node[stats].rank = n->rank;
  p->node[apply].rank = n->rank + 1;
  snprintf(p->node[apply].note, sizeof p->node[apply].note, "%s", n->note);
  p->node[at].dead = true;
  return FRT_OK;
}

static bool all_f32(const frt_plan_t *p, const frt_pnode *n)
{
  for (int32_t k = 0; k < n->n_in; k++) {
    if (n->in[k] < 0 || p->value[n->in[k]].v.shape.dtype != FRT_F32) {
      return false;
    }
  }
  const frt_shape *x = &p->value[n->in[0]].v.shape;
  return x->ndim == 4 && frt__numel(x) > 0;
}

static frt_status split_all(frt_plan_t *p)
{
  int32_t n = p->n_node;
  for (int32_t i = 0; i < n; i++) {
    const frt_pnode *b = &p->node[i];
    if (!b->dead && (b->op == &frt_op_batch_norm_train || b->op == &frt_fused_bn_act) &&
        all_f32(p, b)) {
      FRT_TRY(split(p, i));
    }
  }
  frt__sort_nodes(p);
  return FRT_OK;
}

frt_status frt__pass_fuse_depthwise(frt_plan_t *p)
{
  if (!frt__kernel_named("fused_bn_stats") || !frt__kernel_named("fused_bn_apply")) {
    return FRT_OK;
  }
  return split_all(p);
}
