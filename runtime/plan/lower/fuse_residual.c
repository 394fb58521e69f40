// fuse_residual.c -- act(conv(x) + r) as one step, where nobody else reads the convolution or, with
// an activation, the sum: what a block of a network ends with at evaluation.
#include <stdio.h>

#include "ops/conv/conv.h"
#include "plan/plan.h"

// One whose sum may come before an activation of its own.
static bool takes_sum(const frt_pnode *n)
{
  return (n->op == &frt_op_conv2d || n->op == &frt_op_fused_conv2d) && n->n_out == 1 &&
         n->attr[FRT_CONV_ACT] == FRT_ACT_NONE;
}

// The convolution at `at` with `sum` and its activation, if there is one that can be taken.
static frt_status take(frt_plan *p, const frt_readers *r, int32_t at, int32_t sum)
{
  const int32_t y = p->node[at].out[0], made = p->node[sum].out[0];
  const int32_t other = p->node[sum].in[0] == y ? p->node[sum].in[1] : p->node[sum].in[0];
  const frt_shape *shape = &p->value[y].v.shape;
  if (other == y || !frt__shape_equal(shape, &p->value[other].v.shape) ||
      !frt__shape_equal(shape, &p->value[made].v.shape)) {
    return FRT_OK;
  }
  const int32_t next = frt__only_reader(p, r, made);
  const frt_act_op *act = next >= 0 ? frt__act_of(p->node[next].op) : NULL;
  int32_t twin;
  bool can;
  FRT_TRY(frt__conv_twin(p, at, 1, &twin));
  frt_pnode *n = &p->node[twin];
  const frt_pnode *last = &p->node[act ? next : sum];
  n->in[FRT_CONV_RESIDUAL] = other;
  n->attr[FRT_CONV_ACT] = act ? act->act : FRT_ACT_NONE;
  n->out[0] = last->out[0];
  n->rank = last->rank;
  const size_t used = strlen(n->note);
  snprintf(n->note + used, sizeof n->note - used, "%sresidual%s%s", used ? ", " : "",
           act ? " " : "", act ? act->op->name : "");
  FRT_TRY(frt__node_can(p, n, &can));
  if (can) {
    n->dead = false;
    p->node[at].dead = p->node[sum].dead = true;
    if (act) {
      p->node[next].dead = true;
    }
  }
  return FRT_OK;
}

frt_status frt__lower_conv_residual(frt_plan *p)
{
  frt_readers r;
  FRT_TRY(frt__readers_new(p, &r));
  frt_status status = FRT_OK;
  const int32_t n = p->n_node;
  for (int32_t i = 0; i < n && status == FRT_OK; i++) {
    if (p->node[i].dead || !takes_sum(&p->node[i])) {
      continue;
    }
    const int32_t sum = frt__only_reader(p, &r, p->node[i].out[0]);
    if (sum >= 0 && !p->node[sum].dead && p->node[sum].op == &frt_op_add) {
      status = take(p, &r, i, sum);
    }
  }
  frt__readers_free(&r);
  frt__sort_nodes(p);
  return status;
}
