// fuse_gate.c -- squeeze-and-excitation backward. y = act(bn(x)) is read by its mean, from which a
// gate is made, and by the product with that gate: dy = dz * gate + expand(add). The pass that
// makes the gate's gradient, a sum of dz y, adds up what batch norm's gradient needs as well, and
// that one computes dy as it reads dz: dy is never stored, and read once less.
#include "plan/plan.h"

// The maker of v where its result is read by `reader` alone; -1.
static int32_t made_for(const frt_plan *p, const frt_readers *r, int32_t v, int32_t reader)
{
  const int32_t maker = p->value[v].maker;
  return maker >= 0 && !p->node[maker].dead && p->node[maker].n_out == 1 &&
             frt__only_reader(p, r, v) == reader
           ? maker
           : -1;
}

typedef struct gated {
  int32_t sum, product, expand; // nodes that make dy
  int32_t dz, gate, add, gate_grad;
} gated;

// The gate's gradient: the sum over each photo of dz times the same act(bn(x)).
static int32_t gate_grad_of(const frt_plan *p, const frt_readers *r, const frt_pnode *g,
                            const gated *f)
{
  for (int32_t k = r->first[f->dz]; k < r->first[f->dz + 1]; k++) {
    const frt_pnode *n = &p->node[r->list[k]];
    if (!n->dead && n->op == &frt_op_fused_load_sum && n->in[0] == g->in[0] && n->in[1] == f->dz &&
        memcmp(n->in + 2, g->in + 2, 4 * sizeof *n->in) == 0 &&
        n->attr[FRT_FUSED_SUM_ACT] == g->attr[FRT_FUSED_ACT] && n->attr[FRT_FUSED_SUM_MEAN] == 0 &&
        frt__numel(&p->value[n->out[0]].v.shape) == frt__numel(&p->value[f->gate].v.shape)) {
      return r->list[k];
    }
  }
  return -1;
}

static bool pattern(const frt_plan *p, const frt_readers *r, int32_t at, gated *f)
{
  const frt_pnode *g = &p->node[at];
  f->sum = made_for(p, r, g->in[1], at);
  if (f->sum < 0 || p->node[f->sum].op != &frt_op_add) {
    return false;
  }
  for (int32_t k = 0; k < 2; k++) {
    f->product = made_for(p, r, p->node[f->sum].in[k], f->sum);
    f->expand = made_for(p, r, p->node[f->sum].in[1 - k], f->sum);
    if (f->product < 0 || f->expand < 0 || p->node[f->expand].op != &frt_op_expand ||
        !frt__gate_of(p, &p->node[f->product], &f->dz, &f->gate)) {
      continue;
    }
    f->add = p->node[f->expand].in[0];
    f->gate_grad = gate_grad_of(p, r, g, f);
    if (f->gate_grad >= 0 &&
        frt__shape_equal(&p->value[f->add].v.shape, &p->value[f->gate].v.shape)) {
      return true;
    }
  }
  return false;
}

static frt_status take(frt_plan *p, int32_t at, const gated *f)
{
  const frt_pnode *g = &p->node[at];
  const double act = g->attr[FRT_FUSED_ACT];
  const int32_t x = g->in[0];
  frt_shape shape = {
    .dtype = FRT_F32,
    .ndim = 3,
    .dim = {4, p->value[x].v.shape.dim[0], p->value[x].v.shape.dim[1]},
  };
  int32_t in[9] = {x, f->dz, g->in[2], g->in[3], g->in[4], g->in[5], f->gate, f->add, -1};
  int32_t sums, grad;
  FRT_TRY(frt__value_new(p, &shape, &in[8]));
  const bool map = p->value[p->node[f->gate_grad].out[0]].v.shape.ndim == 4;
  const double sums_attr[2] = {act, map};
  FRT_TRY(frt__pnode_new(p, &frt_op_fused_gate_sums, 6, in, 2, 2, sums_attr,
                         p->node[f->gate_grad].origin, &sums));
  FRT_TRY(
    frt__pnode_new(p, &frt_op_fused_bn_gate_grad, 9, in, 3, 1, &act, p->node[at].origin, &grad));
  frt_pnode *s = &p->node[sums], *d = &p->node[grad];
  s->out[0] = p->node[f->gate_grad].out[0];
  s->out[1] = in[8];
  s->rank = p->node[f->gate_grad].rank;
  memcpy(s->note, p->node[f->gate_grad].note, sizeof s->note);
  memcpy(d->out, p->node[at].out, sizeof *d->out * 3);
  d->rank = p->node[at].rank;
  memcpy(d->note, p->node[at].note, sizeof d->note);
  bool can, both;
  FRT_TRY(frt__node_can(p, s, &can));
  FRT_TRY(frt__node_can(p, d, &both));
  s->dead = d->dead = !(can && both);
  if (can && both) {
    p->value[in[8]].maker = sums;
    p->node[at].dead = p->node[f->gate_grad].dead = true;
    p->node[f->sum].dead = p->node[f->product].dead = p->node[f->expand].dead = true;
  }
  return FRT_OK;
}

frt_status frt__lower_gate(frt_plan *p)
{
  frt_readers r;
  FRT_TRY(frt__readers_new(p, &r));
  frt_status status = FRT_OK;
  const int32_t n = p->n_node;
  for (int32_t i = 0; i < n && status == FRT_OK; i++) {
    gated f;
    if (!p->node[i].dead && p->node[i].op == &frt_op_fused_bn_act_grad && pattern(p, &r, i, &f)) {
      status = take(p, i, &f);
    }
  }
  frt__readers_free(&r);
  frt__sort_nodes(p);
  return status;
}
