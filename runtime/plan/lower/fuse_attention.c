// fuse_attention.c -- softmax(scale q k') v as one step and its gradient as another, which computes
// the weights again: they are never stored. Queries, keys and values are read where they lie behind
// views, permutations and stretches; results go to where those that follow would have put them.
#include <stdio.h>

#include "ops/conv/conv.h"
#include "ops/norm/norm.h"
#include "plan/plan.h"

static const char what[] = "attention in one pass";

// Where an operand has number (sample, head, row, column).
typedef struct part {
  int32_t value;
  int64_t at, step[4];
} part;

// Nodes of the pattern; -1 absent.
typedef struct pattern {
  int32_t softmax, scores, values;                 // forward: q k', weights v
  int32_t softmax_grad, dweights, dv, dq, dk, dqs; // backward; dqs: times the scale
  int32_t q, k, v, dy, scale;                      // values
  bool scaled;
  int64_t size[4], keys; // samples, heads, queries, numbers of each
} pattern;

// --- the pattern --------------------------------------------------------------------------------
static frt_pnode *maker_of(const frt_plan *p, int32_t v)
{
  const int32_t at = v >= 0 ? p->value[v].maker : -1;
  return at >= 0 && p->value[v].place == FRT_AT_ARENA && !p->node[at].dead ? &p->node[at] : NULL;
}
static bool is_product(const frt_pnode *n, bool ta, bool tb)
{
  return n && n->op == &frt_op_matmul && (n->attr[FRT_MATMUL_TA] != 0) == ta &&
         (n->attr[FRT_MATMUL_TB] != 0) == tb;
}
// a b of these values (or, at -1, any).
static bool is_product_of(const frt_pnode *n, int32_t a, bool ta, int32_t b, bool tb)
{
  return is_product(n, ta, tb) && (a < 0 || n->in[0] == a) && (b < 0 || n->in[1] == b);
}
static int32_t index_of(const frt_plan *p, const frt_pnode *n)
{
  return (int32_t)(n - p->node);
}
static const frt_shape *shape_of(const frt_plan *p, int32_t v)
{
  return &p->value[v].v.shape;
}

// A product of two stacks of matrices with as many of each.
static bool is_stack(const frt_plan *p, const frt_pnode *n)
{
  const frt_shape *a = shape_of(p, n->in[0]), *b = shape_of(p, n->in[1]);
  if (a->ndim != b->ndim || a->ndim < 3 || a->ndim > 4 || a->dtype != FRT_F32) {
    return false;
  }
  for (int32_t d = 0; d < a->ndim - 2; d++) {
    if (a->dim[d] != b->dim[d]) {
      return false;
    }
  }
  return frt__numel(a) > 0 && frt__numel(b) > 0;
}

// x times a single number: x, and the number.
static bool is_scaled(const frt_plan *p, const frt_pnode *n, int32_t *x, int32_t *scale)
{
  for (int32_t k = 0; n && n->op == &frt_op_mul && k < 2; k++) {
    if (frt__numel(shape_of(p, n->in[k])) == 1 &&
        frt__shape_equal(shape_of(p, n->in[1 - k]), shape_of(p, n->out[0]))) {
      *x = n->in[1 - k];
      *scale = n->in[k];
      return true;
    }
  }
  return false;
}

// Why a softmax of other scores is not attention's, where it might be.
static void explain_scores(frt_plan *p, const frt_pnode *softmax, const frt_pnode *n)
{
  if (is_product(n, false, false) && is_stack(p, n)) {
    frt__missed(p, index_of(p, softmax), what, "its keys lie column by column", index_of(p, n));
  }
  for (int32_t k = 0; n && (n->op->flags & FRT_ELEMENTWISE) && k < n->n_in; k++) {
    const frt_pnode *from = maker_of(p, n->in[k]);
    if (is_product(from, false, true) && is_stack(p, from)) {
      frt__missed(p, index_of(p, softmax), what, "its scores are changed", index_of(p, n));
      return;
    }
  }
}

static bool find_forward(frt_plan *p, const frt_readers *r, int32_t at, pattern *f)
{
  const frt_pnode *n = &p->node[at];
  const frt_pnode *scores = maker_of(p, n->in[0]);
  const int32_t weights = n->out[0], last = shape_of(p, weights)->ndim - 1;
  if ((int32_t)n->attr[FRT_SOFTMAX_DIM] != last) {
    return false;
  }
  if (!is_product(scores, false, true) || !is_stack(p, scores)) {
    explain_scores(p, n, scores);
    return false;
  }
  *f = (pattern){at, index_of(p, scores), -1, -1, -1, -1, -1, -1, -1, .scale = -1, .dy = -1};
  for (int32_t k = r->first[weights]; k < r->first[weights + 1]; k++) {
    const frt_pnode *reader = &p->node[r->list[k]];
    if (is_product_of(reader, weights, false, -1, false) && is_stack(p, reader)) {
      f->values = r->list[k];
    }
  }
  if (p->value[weights].pinned) {
    frt__missed(p, at, what, "its weights are an output", -1);
    return false;
  }
  if (f->values < 0) {
    frt__missed_for_readers(p, r, weights, at, what, -1);
    return false;
  }
  if (frt__only_reader(p, r, n->in[0]) != at) {
    frt__missed_for_readers(p, r, n->in[0], at, what, at);
    return false;
  }
  f->q = scores->in[0];
  f->k = scores->in[1];
  f->v = p->node[f->values].in[1];
  f->scaled = is_scaled(p, maker_of(p, f->q), &f->q, &f->scale);
  const frt_shape *q = shape_of(p, f->q);
  for (int32_t i = 0; i < 4; i++) {
    const int32_t d = q->ndim - 4 + i;
    f->size[i] = d < 0 ? 1 : q->dim[d];
  }
  f->keys = shape_of(p, f->k)->dim[last - 1];
  if (shape_of(p, f->v)->dim[last] != f->size[3]) {
    frt__missed(p, at, what, "values are not as wide as keys", f->values);
    return false;
  }
  return true;
}

// What of the gradient reads the weights; false: somebody else does too.
static bool find_backward(frt_plan *p, const frt_readers *r, pattern *f)
{
  const int32_t weights = p->node[f->softmax].out[0], qs = p->node[f->scores].in[0];
  int32_t other = -1;
  for (int32_t i = r->first[weights]; i < r->first[weights + 1]; i++) {
    const int32_t at = r->list[i];
    const frt_pnode *n = &p->node[at];
    if (n->op == &frt_op_softmax_grad && n->in[0] == weights && f->softmax_grad < 0) {
      f->softmax_grad = at;
    } else if (is_product_of(n, weights, true, -1, false) && f->dv < 0) {
      f->dv = at;
    } else if (at != f->values) {
      other = at;
    }
  }
  if (f->softmax_grad < 0 && f->dv < 0 && other < 0) {
    return true;
  }
  if (other >= 0 || f->softmax_grad < 0 || f->dv < 0) {
    frt__missed(p, f->softmax, what,
                other >= 0 ? "its weights are also read" : "not all of its gradients are asked for",
                other);
    return false;
  }
  const int32_t dweights = p->node[f->softmax_grad].in[1], ds = p->node[f->softmax_grad].out[0];
  f->dy = p->node[f->dv].in[1];
  f->dweights = p->value[dweights].maker;
  for (int32_t i = r->first[ds]; i < r->first[ds + 1]; i++) {
    const frt_pnode *n = &p->node[r->list[i]];
    f->dq = is_product_of(n, ds, false, f->k, false) ? r->list[i] : f->dq;
    f->dk = is_product_of(n, ds, true, qs, false) ? r->list[i] : f->dk;
  }
  bool fits = frt__only_reader(p, r, dweights) == f->softmax_grad &&
              is_product_of(maker_of(p, dweights), f->dy, false, f->v, true) && f->dq >= 0 &&
              f->dk >= 0 && p->value[ds].uses == 2 && !p->value[ds].pinned;
  if (fits && f->scaled) {
    int32_t x, scale;
    f->dqs = frt__only_reader(p, r, p->node[f->dq].out[0]);
    fits = f->dqs >= 0 && is_scaled(p, &p->node[f->dqs], &x, &scale) && scale == f->scale;
  }
  if (!fits) {
    frt__missed(p, f->softmax, what, "its gradient is not the usual one", f->softmax_grad);
  }
  return fits;
}

// --- where operands lie -------------------------------------------------------------------------
static void dense_steps(const frt_shape *s, int64_t *step)
{
  int64_t at = 1;
  for (int32_t d = s->ndim - 1; d >= 0; d--) {
    step[d] = at;
    at *= s->dim[d];
  }
}

static part whole(const frt_plan *p, int32_t value)
{
  const frt_shape *s = shape_of(p, value);
  int64_t step[FRT_MAX_DIM];
  part x = {.value = value};
  dense_steps(s, step);
  for (int32_t i = 0; i < 4; i++) {
    const int32_t d = s->ndim - 4 + i;
    x.step[i] = d < 0 ? 0 : step[d];
  }
  return x;
}

// The part `x`, of these sizes, of a value of shape `s` once that value's dimensions have the steps
// `to`; false where it has no steps of its own then.
static bool moved(const frt_shape *s, const int64_t *to, const int64_t *size, part *x)
{
  int64_t step[FRT_MAX_DIM], last[FRT_MAX_DIM], at = 0;
  dense_steps(s, step);
  for (int32_t d = 0; d < s->ndim; d++) {
    last[d] = x->at / step[d] % s->dim[d];
    at += last[d] * to[d];
  }
  for (int32_t i = 0; i < 4; i++) {
    int32_t d = 0;
    while (size[i] > 1 && d < s->ndim && (s->dim[d] == 1 || x->step[i] % step[d] != 0)) {
      d++;
    }
    if (size[i] == 1) {
      x->step[i] = 0;
      continue;
    }
    const int64_t times = d < s->ndim ? x->step[i] / step[d] : 0;
    last[d < s->ndim ? d : 0] += times * (size[i] - 1);
    if (times == 0 || last[d] >= s->dim[d]) {
      return false;
    }
    x->step[i] = times * to[d];
  }
  x->at = at;
  return true;
}

// Back through what only moves numbers, as far as rows stay in one piece.
static part source(const frt_plan *p, int32_t value, const int64_t *size)
{
  part x = whole(p, value), best = x;
  for (const frt_pnode *n; (n = maker_of(p, x.value)); best = x.step[3] <= 1 ? x : best) {
    const frt_shape *made = shape_of(p, x.value), *from = shape_of(p, n->in[0]);
    int64_t step[FRT_MAX_DIM], to[FRT_MAX_DIM];
    dense_steps(from, step);
    for (int32_t d = 0; d < made->ndim; d++) {
      to[d] = step[n->op == &frt_op_permute ? (int32_t)n->attr[FRT_PERMUTE_ORDER + d]
                                            : FRT_MIN(d, from->ndim - 1)];
    }
    if (n->op == &frt_op_permute || n->op == &frt_op_narrow) {
      if (!moved(made, to, size, &x)) {
        break;
      }
      x.at += n->op == &frt_op_narrow
                ? (int64_t)n->attr[FRT_NARROW_START] * step[(int32_t)n->attr[FRT_NARROW_DIM]]
                : 0;
    } else if (n->op != &frt_op_reshape) {
      break;
    }
    x.value = n->in[0];
  }
  return best;
}

// Forward through a permutation that alone reads it, where rows stay in one piece: that node, or
// -1.
static int32_t turned_by(const frt_plan *p, const frt_readers *r, part *x, const int64_t *size)
{
  const int32_t at = frt__only_reader(p, r, x->value);
  const frt_pnode *n = at >= 0 ? &p->node[at] : NULL;
  const frt_shape *s = shape_of(p, x->value);
  int64_t step[FRT_MAX_DIM], to[FRT_MAX_DIM];
  part y = *x;
  if (!n || n->op != &frt_op_permute) {
    return -1;
  }
  dense_steps(shape_of(p, n->out[0]), step);
  for (int32_t d = 0; d < s->ndim; d++) {
    to[(int32_t)n->attr[FRT_PERMUTE_ORDER + d]] = step[d];
  }
  if (!moved(s, to, size, &y) || y.step[3] > 1) {
    return -1;
  }
  y.value = n->out[0];
  *x = y;
  return at;
}
static part target(frt_plan *p, const frt_readers *r, part x, const int64_t *size)
{
  const int32_t turn = turned_by(p, r, &x, size);
  if (turn >= 0) {
    p->node[turn].dead = true;
  }
  return x;
}

// The place of `v`, or of a view of it, among three values put one behind another by the only node
// that reads it. view, cat: nodes, -1 none; at: the numbers before it.
static bool put_behind(const frt_plan *p, const frt_readers *r, int32_t v, int32_t *view,
                       int32_t *cat, int64_t *at)
{
  int64_t outer = 1;
  *view = frt__only_reader(p, r, v);
  if (*view >= 0 && (p->node[*view].op->flags & FRT_VIEW)) {
    v = p->node[*view].out[0];
  } else {
    *view = -1;
  }
  *cat = frt__only_reader(p, r, v);
  if (*cat < 0 || p->node[*cat].op != &frt_op_cat || p->node[*cat].n_in != 3) {
    return false;
  }
  const frt_pnode *n = &p->node[*cat];
  for (int32_t k = 0; k < (int32_t)n->attr[FRT_CAT_DIM]; k++) {
    outer *= shape_of(p, n->out[0])->dim[k];
  }
  *at = 0;
  for (int32_t k = 0; n->in[k] != v; k++) {
    *at += frt__numel(shape_of(p, n->in[k]));
  }
  return outer == 1;
}

// Where dq, dk and dv go: into one value if they are put one behind another.
static bool together(frt_plan *p, const frt_readers *r, const pattern *f, part d[3])
{
  int32_t view[3], cat[3], turn[3];
  part turned[3];
  for (int32_t i = 0; i < 3; i++) {
    turned[i] = d[i];
    if (!put_behind(p, r, d[i].value, &view[i], &cat[i], &turned[i].at) || cat[i] != cat[0]) {
      return false;
    }
  }
  for (int32_t i = 0; i < 3; i++) {
    const int64_t size[4] = {f->size[0], f->size[1], i == 0 ? f->size[2] : f->keys, f->size[3]};
    turned[i].value = p->node[cat[0]].out[0];
    d[i] = turned[i];
    turn[i] = turned_by(p, r, &turned[i], size);
    if (view[i] >= 0) {
      p->node[view[i]].dead = true;
    }
  }
  p->node[cat[0]].dead = true;
  if (turn[0] >= 0 && turn[1] == turn[0] && turn[2] == turn[0]) {
    memcpy(d, turned, sizeof turned);
    p->node[turn[0]].dead = true;
  }
  return true;
}

// --- the steps ----------------------------------------------------------------------------------
static void put_part(double *attr, int32_t i, const part *x)
{
  double *a = attr + FRT_ATTENTION_SIZES + i * FRT_ATTENTION_PART;
  a[FRT_PART_AT] = (double)x->at;
  for (int32_t k = 0; k < 3; k++) {
    a[FRT_PART_SAMPLE + k] = (double)x->step[k];
  }
}

static frt_status make(frt_plan *p, const frt_readers *r, const pattern *f)
{
  const int64_t *size = f->size, keys[4] = {size[0], size[1], f->keys, size[3]};
  const bool grad = f->softmax_grad >= 0;
  double attr[FRT_ATTENTION_GRAD_ATTRS] = {(double)size[0], (double)size[1], (double)size[2],
                                           (double)f->keys, (double)size[3]};
  const part q = source(p, f->q, size), k = source(p, f->k, keys), v = source(p, f->v, keys);
  const part y = target(p, r, whole(p, p->node[f->values].out[0]), size);
  const part *operand[4] = {&q, &k, &v, &y};
  for (int32_t i = 0; i < 4; i++) {
    put_part(attr, i, operand[i]);
  }
  const int32_t in[4] = {q.value, k.value, v.value, f->scale};
  const frt_origin origin = p->node[f->values].origin;
  int32_t forward, lse = -1;
  FRT_TRY(frt__pnode_new(p, &frt_fused_attention, 4, in, grad ? 2 : 1, FRT_ATTENTION_ATTRS, attr,
                         origin, &forward));
  p->node[forward].out[0] = y.value;
  p->node[forward].rank = p->node[f->values].rank;
  snprintf(p->node[forward].note, sizeof p->node[forward].note, "%sq k', softmax, v",
           f->scaled ? "scale, " : "");
  if (grad) {
    const frt_shape rows = {
      .ndim = 3, .dtype = FRT_F32, .dim = {size[0], size[1], size[2]}
    };
    FRT_TRY(frt__value_new(p, &rows, &lse));
    p->node[forward].out[1] = lse;
    const part dy = source(p, f->dy, size);
    part d[3] = {whole(p, p->node[f->scaled ? f->dqs : f->dq].out[0]),
                 whole(p, p->node[f->dk].out[0]), whole(p, p->node[f->dv].out[0])};
    const bool one = together(p, r, f, d);
    for (int32_t i = 0; i < 3 && !one; i++) {
      d[i] = target(p, r, d[i], i == 0 ? size : keys);
    }
    put_part(attr, 3, &dy);
    for (int32_t i = 0; i < 3; i++) {
      put_part(attr, 4 + i, &d[i]);
    }
    const int32_t reads[6] = {q.value, k.value, v.value, f->scale, dy.value, lse};
    const frt_pnode *first = &p->node[f->softmax_grad];
    int32_t backward;
    FRT_TRY(frt__pnode_new(p, &frt_fused_attention_grad, 6, reads, one ? 1 : 3,
                           FRT_ATTENTION_GRAD_ATTRS, attr, first->origin, &backward));
    frt_pnode *b = &p->node[backward];
    b->rank = FRT_MIN(p->node[f->dweights].rank, p->node[f->dv].rank);
    for (int32_t i = 0; i < b->n_out; i++) {
      b->out[i] = d[i].value;
    }
    snprintf(b->note, sizeof b->note, "dq, dk, dv of scores made anew");
    const int32_t gone[] = {f->softmax_grad, f->dweights, f->dv, f->dq, f->dk, f->dqs};
    for (int32_t i = 0; i < FRT_COUNT(gone); i++) {
      if (gone[i] >= 0) {
        p->node[gone[i]].dead = true;
      }
    }
  }
  p->node[f->softmax].dead = p->node[f->scores].dead = p->node[f->values].dead = true;
  return FRT_OK;
}

frt_status frt__lower_attention(frt_plan *p)
{
  frt_readers r;
  FRT_TRY(frt__readers_new(p, &r));
  frt_status status = FRT_OK;
  bool any = false;
  for (int32_t i = 0, n = p->n_node; i < n && status == FRT_OK; i++) {
    pattern f;
    if (p->node[i].op == &frt_op_softmax && !p->node[i].dead && find_forward(p, &r, i, &f) &&
        find_backward(p, &r, &f)) {
      any = true;
      status = make(p, &r, &f);
    }
  }
  frt__readers_free(&r);
  if (status == FRT_OK && any) {
    frt__sort_nodes(p);
    frt__drop_unread(p); // scaled queries, permuted copies
  }
  return status;
}
