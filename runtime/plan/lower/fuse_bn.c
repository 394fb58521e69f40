// fuse_bn.c -- what stands between two convolutions in training, taken into them. Batch norm is
// split into statistics and application; the statistics go into the convolution that makes the map,
// and the application with its activation (and a gate per photo and channel) into the load of
// whoever reads it. A map that every reader can compute as it reads is never stored; where one
// cannot, it is.
#include <stdio.h>

#include "ops/norm/norm.h"
#include "ops/reduce/reduce.h"
#include "plan/plan.h"

// --- batch norm as statistics and application
// ------------------------------------------------------
// y = act(bn(x)); the two new nodes take the place of batch_norm_train at `at`.
static frt_status split(frt_plan *p, int32_t at, double act, int32_t y, const char *note)
{
  const frt_pnode *n = &p->node[at];
  int32_t in[3] = {n->in[0], n->in[3], n->in[4]}, stats, apply;
  int32_t use[5] = {n->in[0], n->in[1], n->in[2], n->out[1], n->out[2]};
  FRT_TRY(frt__pnode_new(p, &frt_op_fused_bn_stats, 3, in, 4, 2, n->attr, n->origin, &stats));
  n = &p->node[at];
  FRT_TRY(frt__pnode_new(p, &frt_op_fused_bn_apply, 5, use, 1, 1, &act, n->origin, &apply));
  n = &p->node[at];
  memcpy(p->node[stats].out, n->out + 1, sizeof *n->out * 4);
  p->node[apply].out[0] = y;
  p->node[stats].rank = n->rank;
  p->node[apply].rank = n->rank + 1;
  snprintf(p->node[apply].note, sizeof p->node[apply].note, "%s", note);
  p->node[at].dead = true;
  return FRT_OK;
}

static bool all_f32(const frt_plan *p, const frt_pnode *n)
{
  for (int32_t k = 0; k < n->n_in; k++) {
    if (n->in[k] < 0 || p->value[n->in[k]].v.shape.dtype != FRT_F32) {
      return false;
    }
  }
  const frt_shape *x = &p->value[n->in[0]].v.shape;
  return x->ndim == 4 && frt__numel(x) > 0;
}

// The activation that the batch norm kernels can take in; NULL: none.
static const frt_act_op *act_of(const frt_op *op)
{
  const frt_act_op *a = frt__act_of(op);
  return a && a->act != FRT_ACT_SIGMOID ? a : NULL;
}

// y = act(bn(x)) with act'(bn(x)) computed again from x in the backward pass: bn(x) is never
// stored. The gradient of act must be the one node `grad` whose result only batch_norm_grad reads.
// other: a reader of bn(x) that is in the way.
static bool bn_pattern(const frt_plan *p, const frt_readers *r, int32_t bn, int32_t *act,
                       int32_t *act_grad, int32_t *bn_grad, int32_t *other)
{
  int32_t y = p->node[bn].out[0];
  *act = *act_grad = *bn_grad = *other = -1;
  if (p->value[y].pinned || p->value[y].v.shape.ndim != 4 || p->value[y].v.shape.dtype != FRT_F32) {
    return false;
  }
  for (int32_t k = r->first[y]; k < r->first[y + 1]; k++) {
    *act = act_of(p->node[r->list[k]].op) ? r->list[k] : *act;
  }
  const frt_act_op *a = *act < 0 ? NULL : act_of(p->node[*act].op);
  if (!a) {
    return false;
  }
  // Who else reads bn(x): only the gradient may, and only where it is that of the input.
  int32_t seen = a->grad_of_output ? p->node[*act].out[0] : y;
  for (int32_t k = r->first[seen]; k < r->first[seen + 1]; k++) {
    const frt_pnode *n = &p->node[r->list[k]];
    if (n->op != a->grad || n->in[0] != seen || *act_grad >= 0) {
      continue;
    }
    int32_t dy = n->out[0];
    const frt_pnode *g = p->value[dy].uses == 1 ? &p->node[r->list[r->first[dy]]] : NULL;
    if (g && !p->value[dy].pinned && g->op == &frt_op_batch_norm_grad && g->in[1] == dy &&
        g->in[0] == p->node[bn].in[0]) {
      *act_grad = r->list[k];
      *bn_grad = r->list[r->first[dy]];
    }
  }
  int32_t allowed = 1 + (*act_grad >= 0 && !a->grad_of_output);
  *other = -1;
  for (int32_t k = r->first[y]; k < r->first[y + 1] && *other < 0; k++) {
    *other = r->list[k] != *act && r->list[k] != *act_grad ? r->list[k] : -1;
  }
  return p->value[y].uses == allowed;
}

static frt_status split_all(frt_plan *p, const frt_readers *r)
{
  int32_t n = p->n_node;
  for (int32_t i = 0; i < n; i++) {
    int32_t act, act_grad, bn_grad, made, other;
    if (p->node[i].dead || p->node[i].op != &frt_op_batch_norm_train) {
      continue;
    }
    if (!all_f32(p, &p->node[i])) {
      frt__missed(p, i, "statistics and application apart", "its value is not a float32 map", -1);
      continue;
    }
    if (!bn_pattern(p, r, i, &act, &act_grad, &bn_grad, &other)) {
      if (act >= 0 || other >= 0) {
        frt__missed(p, i, "activation in its pass", "its value is also read", other);
      } else if (p->value[p->node[i].out[0]].pinned) {
        frt__missed(p, i, "activation in its pass", "its value is an output", -1);
      }
      FRT_TRY(split(p, i, FRT_ACT_NONE, p->node[i].out[0], ""));
      continue;
    }
    double kind = act_of(p->node[act].op)->act;
    FRT_TRY(split(p, i, kind, p->node[act].out[0], p->node[act].op->name));
    p->node[act].dead = true;
    if (bn_grad < 0) {
      continue;
    }
    const frt_pnode *g = &p->node[bn_grad];
    const int32_t beta = p->node[i].in[2];
    int32_t in[6] = {g->in[0], p->node[act_grad].in[1], g->in[2], beta, g->in[3], g->in[4]};
    FRT_TRY(frt__pnode_new(p, &frt_op_fused_bn_act_grad, 6, in, 3, 1, &kind, g->origin, &made));
    frt_pnode *f = &p->node[made];
    g = &p->node[bn_grad];
    memcpy(f->out, g->out, sizeof *f->out * 3);
    f->rank = g->rank;
    snprintf(f->note, sizeof f->note, "%s recomputed", p->node[act].op->name);
    p->node[bn_grad].dead = p->node[act_grad].dead = true;
  }
  return FRT_OK;
}

// --- readers that compute what they read
// -----------------------------------------------------------
// What a reader is to take into its load: an application (gamma, beta, mean, rstd, activation), or
// a gate; and what it then reads in its place.
typedef struct taken {
  int32_t from, norm[4], gate;
  double act;
  char note[48];
} taken;

static bool is_conv(const frt_op *op)
{
  return op == &frt_op_conv2d || op == &frt_op_fused_conv2d;
}
static bool is_conv_weight(const frt_op *op)
{
  return op == &frt_op_conv2d_grad_weight || op == &frt_op_fused_conv2d_grad_weight;
}

frt_status frt__conv_twin(frt_plan *p, int32_t at, int32_t n_out, int32_t *made)
{
  const frt_pnode *n = &p->node[at];
  const bool forward = is_conv(n->op);
  int32_t in[FRT_CONV_INPUTS];
  memset(in, 0xff, sizeof in); // -1: absent
  double attr[FRT_FUSED_CONV_ATTRS] = {0};
  memcpy(in, n->in, sizeof *in * (size_t)n->n_in);
  memcpy(attr, n->attr, sizeof *attr * (size_t)n->n_attr);
  const frt_op *op = forward ? &frt_op_fused_conv2d : &frt_op_fused_conv2d_grad_weight;
  const int32_t n_in = forward ? FRT_CONV_INPUTS : FRT_CONV_WEIGHT_INPUTS;
  FRT_TRY(frt__pnode_new(p, op, n_in, in, n_out, FRT_COUNT(attr), attr, n->origin, made));
  n = &p->node[at];
  frt_pnode *m = &p->node[*made];
  memcpy(m->out, n->out, sizeof *m->out * (size_t)FRT_MIN(n_out, n->n_out));
  memcpy(m->note, n->note, sizeof m->note);
  m->rank = n->rank;
  m->dead = true;
  return FRT_OK;
}

static frt_status sum_twin(frt_plan *p, int32_t at, int32_t y, int32_t *made)
{
  const frt_pnode *n = &p->node[at];
  const bool product = n->op == &frt_op_fused_mul_sum;
  int32_t other = !product ? -1 : n->in[0] == y ? n->in[1] : n->in[0];
  int32_t in[6] = {y, other, -1, -1, -1, -1};
  double attr[FRT_FUSED_SUM_ATTRS] = {n->attr[FRT_REDUCE_MASK], n->attr[FRT_REDUCE_KEEPDIM], 0,
                                      !product};
  FRT_TRY(
    frt__pnode_new(p, &frt_op_fused_load_sum, 6, in, 1, FRT_COUNT(attr), attr, n->origin, made));
  n = &p->node[at];
  p->node[*made].out[0] = n->out[0];
  p->node[*made].rank = n->rank;
  p->node[*made].dead = true;
  return FRT_OK;
}

static void add_note(frt_pnode *n, const char *what)
{
  size_t used = strlen(n->note);
  snprintf(n->note + used, sizeof n->note - used, "%s%s", used && what[0] ? ", " : "", what);
}

// The reader `at` of y with `t` in its load; *made -1 where that cannot be, and why.
static frt_status reader_twin(frt_plan *p, int32_t at, int32_t y, const taken *t, int32_t *made,
                              const char **why)
{
  const frt_pnode *n = &p->node[at];
  const bool conv = is_conv(n->op), weight = is_conv_weight(n->op);
  const bool sum = n->op == &frt_op_fused_mul_sum || n->op == &frt_op_mean;
  *made = -1;
  *why = "this reader computes nothing as it loads";
  if ((conv || weight) && n->in[0] == y && n->in[1] != y) {
    int32_t twin;
    FRT_TRY(frt__conv_twin(p, at, n->n_out, &twin));
    frt_pnode *m = &p->node[twin];
    int32_t *loads = m->in + (conv ? FRT_CONV_LOAD : FRT_CONV_WEIGHT_LOAD);
    m->in[0] = t->from;
    if (t->gate >= 0) {
      loads[FRT_LOAD_GATE] = t->gate;
    } else {
      memcpy(loads, t->norm, sizeof t->norm);
      m->attr[FRT_FUSED_CONV_LOAD_ACT] = t->act;
    }
    add_note(m, t->note);
    *made = twin;
  } else if (sum && t->gate < 0 && (n->n_in < 2 || n->in[0] != n->in[1])) {
    FRT_TRY(sum_twin(p, at, y, made));
    frt_pnode *m = &p->node[*made];
    m->in[0] = t->from;
    memcpy(m->in + 2, t->norm, sizeof t->norm);
    m->attr[FRT_FUSED_SUM_ACT] = t->act;
    add_note(m, t->note);
  }
  bool can = false;
  if (*made >= 0) {
    *why = "the kernel of this reader can't";
    FRT_TRY(frt__node_can(p, &p->node[*made], &can));
  }
  *made = can ? *made : -1;
  return FRT_OK;
}

// Gives every reader of y its twin, if each has one: y is then not stored. Where one has none, the
// gradients by weights, which come long after, still compute y again, for it need not be kept until
// then.
static frt_status take_into_readers(frt_plan *p, const frt_readers *r, int32_t y, const taken *t)
{
  enum { MOST = 8 };
  const int32_t n = r->first[y + 1] - r->first[y], maker = p->value[y].maker;
  const char *what =
    t->gate >= 0 ? "gate in its readers' loads" : "batch norm in its readers' loads";
  int32_t twin[MOST];
  if (n == 0 || n > MOST) {
    if (n > MOST) {
      frt__missed(p, maker, what, "more than 8 read it", -1);
    }
    return FRT_OK;
  }
  bool all = !p->value[y].pinned;
  if (!all) {
    frt__missed(p, maker, what, "its value is an output", -1);
  }
  for (int32_t k = 0; k < n; k++) {
    int32_t at = r->list[r->first[y] + k];
    const char *why = "this reader takes another map so";
    twin[k] = -1;
    if (!p->node[at].dead) {
      FRT_TRY(reader_twin(p, at, y, t, &twin[k], &why));
    }
    // The first reason is enough. A gradient is no gate, and a sum may become the residual.
    const bool meant = t->gate >= 0 ? p->node[maker].origin.stage != FRT_BACKWARD
                                    : n > 1 || p->node[at].op != &frt_op_add;
    if (all && twin[k] < 0 && meant) {
      frt__missed(p, maker, what, why, at);
    }
    all = all && twin[k] >= 0;
  }
  for (int32_t k = 0; k < n; k++) {
    int32_t at = r->list[r->first[y] + k];
    if (all || (twin[k] >= 0 && t->gate < 0 && is_conv_weight(p->node[at].op))) {
      p->node[at].dead = true;
      p->node[twin[k]].dead = false;
    }
  }
  p->node[p->value[y].maker].dead = all;
  return FRT_OK;
}

bool frt__gate_of(const frt_plan *p, const frt_pnode *n, int32_t *map, int32_t *gate)
{
  const frt_shape *y = &p->value[n->out[0]].v.shape;
  for (int32_t k = 0; n->op == &frt_op_mul && y->ndim == 4 && k < 2; k++) {
    const frt_shape *g = &p->value[n->in[k]].v.shape;
    if (g->ndim == 4 && g->dim[0] == y->dim[0] && g->dim[1] == y->dim[1] && g->dim[2] == 1 &&
        g->dim[3] == 1 && y->dim[2] * y->dim[3] > 1 &&
        frt__shape_equal(&p->value[n->in[1 - k]].v.shape, y)) {
      *map = n->in[1 - k];
      *gate = n->in[k];
      return true;
    }
  }
  return false;
}

static bool gate_of(const frt_plan *p, const frt_pnode *n, taken *t)
{
  *t = (taken){.note = "gate"};
  return frt__gate_of(p, n, &t->from, &t->gate);
}

static bool application_of(const frt_pnode *n, taken *t)
{
  if (n->op != &frt_op_fused_bn_apply) {
    return false;
  }
  *t = (taken){.from = n->in[0], .gate = -1, .act = n->attr[FRT_FUSED_ACT]};
  memcpy(t->norm, n->in + 1, sizeof t->norm);
  snprintf(t->note, sizeof t->note, "batch norm%s%.16s on load", n->note[0] ? " " : "", n->note);
  return true;
}

static frt_status take_all(frt_plan *p, bool gates)
{
  frt_readers r;
  FRT_TRY(frt__readers_new(p, &r));
  frt_status status = FRT_OK;
  int32_t n = p->n_node;
  for (int32_t i = 0; i < n && status == FRT_OK; i++) {
    taken t;
    const frt_pnode *a = &p->node[i];
    if (!a->dead && (gates ? gate_of(p, a, &t) : application_of(a, &t))) {
      status = take_into_readers(p, &r, a->out[0], &t);
    }
  }
  frt__readers_free(&r);
  frt__sort_nodes(p);
  return status;
}

// --- the residual in the application's pass
// ---------------------------------------------------------
// act(bn(x) + r), where nobody else reads bn(x), nor, with an activation, the sum.
static frt_status add_residuals(frt_plan *p)
{
  frt_readers r;
  FRT_TRY(frt__readers_new(p, &r));
  int32_t n = p->n_node;
  for (int32_t i = 0; i < n; i++) {
    frt_pnode *a = &p->node[i];
    int32_t y = a->out[0], at = -1;
    if (!a->dead && a->op == &frt_op_fused_bn_apply && a->n_in == 5 &&
        a->attr[FRT_FUSED_ACT] == FRT_ACT_NONE) {
      at = frt__only_reader(p, &r, y);
      for (int32_t k = at < 0 ? r.first[y] : INT32_MAX; k < r.first[y + 1]; k++) {
        if (p->node[r.list[k]].op == &frt_op_add) {
          frt__missed_for_readers(p, &r, y, i, "residual in its pass", r.list[k]);
          break;
        }
      }
    }
    frt_pnode *sum = at >= 0 ? &p->node[at] : NULL;
    if (!sum || sum->dead || sum->op != &frt_op_add) {
      continue;
    }
    int32_t other = sum->in[0] == y ? sum->in[1] : sum->in[0], made;
    const frt_shape *shape = &p->value[y].v.shape;
    if (other == y || !frt__shape_equal(shape, &p->value[other].v.shape) ||
        !frt__shape_equal(shape, &p->value[sum->out[0]].v.shape)) {
      frt__missed(p, i, "residual in its pass", "what is added has another shape", at);
      continue;
    }
    int32_t next = frt__only_reader(p, &r, sum->out[0]);
    const frt_act_op *taken_in = next >= 0 ? act_of(p->node[next].op) : NULL;
    double act = taken_in ? taken_in->act : FRT_ACT_NONE;
    frt_pnode *last = taken_in ? &p->node[next] : sum;
    int32_t in[6] = {a->in[0], a->in[1], a->in[2], a->in[3], a->in[4], other};
    int32_t out = last->out[0];
    int64_t rank = last->rank;
    frt_status status =
      frt__pnode_new(p, &frt_op_fused_bn_apply, 6, in, 1, 1, &act, last->origin, &made);
    if (status != FRT_OK) {
      frt__readers_free(&r);
      return status;
    }
    frt_pnode *m = &p->node[made];
    m->out[0] = out;
    m->rank = rank;
    add_note(m, taken_in ? p->node[next].op->name : "");
    add_note(m, "residual");
    p->node[i].dead = p->node[at].dead = true;
    if (taken_in) {
      p->node[next].dead = true;
    }
  }
  frt__readers_free(&r);
  frt__sort_nodes(p);
  return FRT_OK;
}

// --- statistics in the pass that makes the map
// -----------------------------------------------------
static frt_status count_where_made(frt_plan *p)
{
  int32_t n = p->n_node;
  for (int32_t i = 0; i < n; i++) {
    const frt_pnode *s = &p->node[i];
    int32_t maker = s->op == &frt_op_fused_bn_stats ? p->value[s->in[0]].maker : -1;
    if (s->op != &frt_op_fused_bn_stats) {
      continue;
    }
    if (maker < 0 || !is_conv(p->node[maker].op) || p->node[maker].dead ||
        p->node[maker].n_out > 1) {
      bool taken = maker >= 0 && is_conv(p->node[maker].op);
      frt__missed(p, i, "statistics where the map is made",
                  taken ? "this convolution counts for another" : "no convolution makes it", maker);
      continue;
    }
    int32_t twin;
    bool can;
    FRT_TRY(frt__conv_twin(p, maker, FRT_CONV_OUTPUTS, &twin));
    s = &p->node[i];
    frt_pnode *m = &p->node[twin];
    m->in[FRT_CONV_RUNNING] = s->in[1];
    m->in[FRT_CONV_RUNNING + 1] = s->in[2];
    m->attr[FRT_FUSED_CONV_EPS] = s->attr[FRT_BATCH_NORM_EPS];
    m->attr[FRT_FUSED_CONV_MOMENTUM] = s->attr[FRT_BATCH_NORM_MOMENTUM];
    memcpy(m->out + 1, s->out, sizeof *s->out * 4);
    add_note(m, "statistics");
    FRT_TRY(frt__node_can(p, m, &can));
    if (can) {
      p->node[twin].dead = false;
      p->node[i].dead = p->node[maker].dead = true;
    } else {
      frt__missed(p, i, "statistics where the map is made", "the kernel of this convolution can't",
                  maker);
    }
  }
  frt__sort_nodes(p);
  return FRT_OK;
}

frt_status frt__lower_batch_norm(frt_plan *p)
{
  frt_readers r;
  FRT_TRY(frt__readers_new(p, &r));
  frt_status status = split_all(p, &r);
  frt__readers_free(&r);
  FRT_TRY(status);
  frt__sort_nodes(p);
  FRT_TRY(take_all(p, true));
  FRT_TRY(take_all(p, false));
  FRT_TRY(add_residuals(p));
  return count_where_made(p);
}
