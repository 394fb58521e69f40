// fuse.c -- patterns: convolution + activation, sums of products, and chains of elementwise nodes
// that become one step. Batch norm has a file of its own (fuse_bn.c).
#include "ops/conv/conv.h"
#include "ops/reduce/reduce.h"
#include "plan/plan.h"

#include <stdio.h>

static const frt_act_op acts[] = {
  {&frt_op_silu,    &frt_op_silu_grad,  false, FRT_ACT_SILU   },
  {&frt_op_relu,    &frt_op_relu_grad,  true,  FRT_ACT_RELU   },
  {&frt_op_relu6,   &frt_op_relu6_grad, true,  FRT_ACT_RELU6  },
  {&frt_op_sigmoid, NULL,               false, FRT_ACT_SIGMOID},
};

const frt_act_op *frt__act_of(const frt_op *op)
{
  for (int32_t i = 0; i < FRT_COUNT(acts); i++) {
    if (acts[i].op == op) {
      return &acts[i];
    }
  }
  return NULL;
}

// The first reader of `v` of a kind; -1.
static int32_t reader_that(const frt_plan *p, const frt_readers *r, int32_t v,
                           bool (*fits)(const frt_op *))
{
  for (int32_t k = r->first[v]; k < r->first[v + 1]; k++) {
    if (fits(p->node[r->list[k]].op)) {
      return r->list[k];
    }
  }
  return -1;
}
static bool is_act(const frt_op *op)
{
  return frt__act_of(op) != NULL;
}
static bool is_sum(const frt_op *op)
{
  return op == &frt_op_sum;
}

// --- convolution + activation
// ---------------------------------------------------------------------
frt_status frt__lower_conv_act(frt_plan *p)
{
  frt_readers readers, *r = &readers;
  FRT_TRY(frt__readers_new(p, r));
  for (int32_t i = 0; i < p->n_node; i++) {
    frt_pnode *n = &p->node[i];
    if (n->dead || n->op != &frt_op_conv2d || n->attr[FRT_CONV_ACT] != FRT_ACT_NONE) {
      continue;
    }
    const frt_pvalue *y = &p->value[n->out[0]];
    const int32_t at = reader_that(p, r, n->out[0], is_act);
    if (at < 0) {
      continue;
    }
    if (y->uses != 1 || y->pinned || y->v.shape.dtype != FRT_F32) {
      frt__missed_for_readers(p, r, n->out[0], i, "activation in its pass", at);
      continue;
    }
    frt_pnode *next = &p->node[at];
    const frt_act_op *a = frt__act_of(next->op);
    n->attr[FRT_CONV_ACT] = a->act;
    n->out[0] = next->out[0];
    p->value[n->out[0]].maker = i;
    size_t used = strlen(n->note);
    snprintf(n->note + used, sizeof n->note - used, used ? ", %s" : "%s", next->op->name);
    next->dead = true;
  }
  frt__readers_free(r);
  frt__sort_nodes(p);
  return FRT_OK;
}

// --- sum over the map of a product
// ------------------------------------------------------------------ The product of two maps that
// only a sum over height and width (and photos) reads is never stored.
frt_status frt__lower_product_sum(frt_plan *p)
{
  frt_readers readers, *r = &readers;
  FRT_TRY(frt__readers_new(p, r));
  enum { MAP = 1 << 2 | 1 << 3, PHOTOS = 1 << 0 };
  for (int32_t i = 0; i < p->n_node; i++) {
    const frt_pnode *m = &p->node[i];
    if (m->dead || m->op != &frt_op_mul) {
      continue;
    }
    const frt_pvalue *y = &p->value[m->out[0]];
    const frt_shape *s = &y->v.shape;
    if (s->ndim != 4 || s->dtype != FRT_F32 || frt__same_bytes(s) ||
        !frt__shape_equal(s, &p->value[m->in[0]].v.shape) ||
        !frt__shape_equal(s, &p->value[m->in[1]].v.shape)) {
      continue;
    }
    const int32_t at = reader_that(p, r, m->out[0], is_sum);
    const frt_pnode *sum = at >= 0 ? &p->node[at] : NULL;
    int32_t made, mask = sum ? (int32_t)sum->attr[FRT_REDUCE_MASK] : 0;
    if (mask != MAP && mask != (MAP | PHOTOS)) {
      continue;
    }
    if (y->uses != 1 || y->pinned) {
      frt__missed_for_readers(p, r, m->out[0], i, "sum over the map in its pass", at);
      continue;
    }
    if (frt__pnode_new(p, &frt_op_fused_mul_sum, 2, m->in, 1, 2, sum->attr, sum->origin, &made) !=
        FRT_OK) {
      break; // the two nodes stay as they are
    }
    p->node[made].out[0] = p->node[at].out[0];
    p->node[made].rank = p->node[at].rank;
    p->node[at].dead = p->node[i].dead = true;
  }
  frt__readers_free(r);
  frt__sort_nodes(p);
  return FRT_OK;
}

// --- elementwise chains
// -------------------------------------------------------------------------------
enum { MAX_INSTR = 24, MAX_IN = 12, MAX_OUT = 6 };

// A node may join the chain of a producer when no reader outside the chain comes before it: the
// whole chain then runs where its last node stood.
typedef struct chain {
  int32_t member[MAX_INSTR], n, n_in;
} chain;

// Asks the chain kernel about a chain of this one op.
static bool chain_knows(const frt_op *op)
{
  static const frt_value number; // f32 []
  const frt_value *in[3] = {&number, &number, &number}, *out[1] = {&number};
  const frt_kernel *k = frt__kernel(&frt_fused_chain);
  struct {
    frt_program p;
    frt_instr one;
  } program = {
    .p = {.n_instr = 1, .n_reg = 4}
  };
  program.p.instr[0] = (frt_instr){.op = op, .a = 0, .b = 1, .c = 2, .dst = 3, .store = 0};
  frt_step s = {.op = &frt_fused_chain,
                .kernel = k,
                .n_in = 3,
                .n_out = 1,
                .in = in,
                .out = out,
                .program = &program.p};
  return op->n_in <= 3 && k->can(&s);
}

static bool chainable(const frt_plan *p, const frt_pnode *n)
{
  if (n->dead || !(n->op->flags & FRT_ELEMENTWISE) || n->op == &frt_op_cast || n->n_out != 1 ||
      !chain_knows(n->op)) {
    return false;
  }
  for (int32_t k = 0; k < n->n_in; k++) {
    if (n->in[k] < 0 || p->value[n->in[k]].v.shape.dtype != FRT_F32) {
      return false;
    }
  }
  return p->value[n->out[0]].v.shape.dtype == FRT_F32;
}

// A reader outside the chain that comes before `at`; -1.
static int32_t reader_before(const frt_plan *p, const frt_readers *r, const chain *c, int32_t id,
                             int32_t at)
{
  for (int32_t m = 0; m < c->n; m++) {
    int32_t v = p->node[c->member[m]].out[0];
    for (int32_t k = r->first[v]; k < r->first[v + 1]; k++) {
      const frt_pnode *reader = &p->node[r->list[k]];
      if (reader->chain != id && r->list[k] < at) {
        return r->list[k];
      }
    }
  }
  return -1;
}

// Distinct values from outside that the members of `a` (and `b`, and node `at`) read.
static int32_t count_inputs(const frt_plan *p, const chain *a, const chain *b, int32_t at)
{
  int32_t seen[MAX_INSTR * 3 * 2 + 3], n_seen = 0;
  const chain *both[2] = {a, b};
  for (int32_t c = 0; c < 3; c++) {
    int32_t count = c == 2 ? 1 : both[c] ? both[c]->n : 0;
    for (int32_t m = 0; m < count; m++) {
      const frt_pnode *n = &p->node[c == 2 ? at : both[c]->member[m]];
      for (int32_t k = 0; k < n->n_in; k++) {
        bool known = false;
        for (int32_t i = 0; i < n_seen && !known; i++) {
          known = seen[i] == n->in[k];
        }
        if (!known) {
          seen[n_seen++] = n->in[k];
        }
      }
    }
  }
  return n_seen; // counts values made inside as well: a bound, which is what the limit needs
}

static void join(frt_plan *p, const frt_readers *r, chain *all, int32_t *n_chain, int32_t at)
{
  frt_pnode *n = &p->node[at];
  int32_t mine = -1;
  for (int32_t k = 0; k < n->n_in && !frt__graph.finite; k++) {
    const frt_pvalue *x = &p->value[n->in[k]];
    int32_t other = x->maker >= 0 && x->place == FRT_AT_ARENA ? p->node[x->maker].chain : -1;
    if (other < 0 || other == mine || p->node[x->maker].derived != n->derived ||
        !frt__shape_equal(&x->v.shape, &p->value[n->out[0]].v.shape)) {
      continue;
    }
    chain *o = &all[other], *m = mine >= 0 ? &all[mine] : NULL;
    const bool longer = o->n + (m ? m->n : 1) > MAX_INSTR;
    const bool wider = count_inputs(p, o, m, at) > MAX_IN + o->n + (m ? m->n : 0);
    const int32_t before = longer || wider ? -1 : reader_before(p, r, o, other, at);
    if (longer || wider || before >= 0) {
      const char *why = longer  ? "a chain has at most 24 ops"
                        : wider ? "a chain reads at most 12 values"
                                : "that is also read before";
      if (!n->derived) {
        frt__missed(p, at, "one chain with what it reads", why, before);
      }
      continue;
    }
    if (!m) {
      o->member[o->n++] = at;
      n->chain = mine = other;
      continue;
    }
    for (int32_t i = 0; i < m->n; i++) { // both chains now run where `at` stands
      o->member[o->n++] = m->member[i];
      p->node[m->member[i]].chain = other;
    }
    m->n = 0;
    mine = other;
  }
  if (mine < 0) {
    all[*n_chain] = (chain){.member = {at}, .n = 1};
    n->chain = (*n_chain)++;
  }
}

static void sort_members(chain *c)
{
  for (int32_t i = 1; i < c->n; i++) {
    int32_t m = c->member[i], j = i;
    for (; j > 0 && c->member[j - 1] > m; j--) {
      c->member[j] = c->member[j - 1];
    }
    c->member[j] = m;
  }
}

static bool read_outside(const frt_plan *p, const frt_readers *r, int32_t id, int32_t v)
{
  if (p->value[v].pinned) {
    return true;
  }
  for (int32_t k = r->first[v]; k < r->first[v + 1]; k++) {
    if (p->node[r->list[k]].chain != id) {
      return true;
    }
  }
  return false;
}

// The members as instructions; registers are reused once their last reader is past.
static frt_status write_program(frt_plan *p, const frt_readers *r, const chain *c, int32_t id,
                                int32_t *node)
{
  int32_t in[MAX_INSTR * 3], n_in = 0, out[MAX_INSTR], n_out = 0;
  for (int32_t m = 0; m < c->n; m++) {
    const frt_pnode *n = &p->node[c->member[m]];
    for (int32_t k = 0; k < n->n_in; k++) {
      int32_t maker = p->value[n->in[k]].maker;
      bool inside =
        maker >= 0 && p->value[n->in[k]].place == FRT_AT_ARENA && p->node[maker].chain == id;
      bool known = inside;
      for (int32_t i = 0; i < n_in && !known; i++) {
        known = in[i] == n->in[k];
      }
      if (!known) {
        in[n_in++] = n->in[k];
      }
    }
  }
  const frt_pnode *last = &p->node[c->member[c->n - 1]];
  frt_program *g = frt__plan_alloc(p, sizeof *g + sizeof g->instr[0] * (size_t)c->n);
  FRT_CHECK(g, FRT_ENOMEM, "out of memory: a plan");
  g->n_instr = c->n;
  g->shape = p->value[last->out[0]].v.shape;
  int16_t reg[MAX_INSTR], free_reg[MAX_INSTR + 1];
  int32_t n_free = 0, top = n_in;
  for (int32_t m = 0; m < c->n; m++) {
    const frt_pnode *n = &p->node[c->member[m]];
    frt_instr *s = &g->instr[m];
    int16_t operand[3] = {-1, -1, -1};
    for (int32_t k = 0; k < n->n_in && k < 3; k++) {
      for (int32_t i = 0; i < n_in; i++) {
        operand[k] = in[i] == n->in[k] ? (int16_t)i : operand[k];
      }
      for (int32_t i = 0; i < m && operand[k] < 0; i++) {
        operand[k] = p->node[c->member[i]].out[0] == n->in[k] ? reg[i] : operand[k];
      }
    }
    for (int32_t i = 0; i < m; i++) { // results nobody reads from here on give their register back
      bool needed = reg[i] < 0;
      for (int32_t j = m; j < c->n && !needed; j++) {
        const frt_pnode *user = &p->node[c->member[j]];
        for (int32_t k = 0; k < user->n_in; k++) {
          needed |= user->in[k] == p->node[c->member[i]].out[0] && j > m;
        }
      }
      if (!needed) {
        free_reg[n_free++] = reg[i];
        reg[i] = -1;
      }
    }
    reg[m] = n_free > 0 ? free_reg[--n_free] : (int16_t)top++;
    *s = (frt_instr){
      .op = n->op, .a = operand[0], .b = operand[1], .c = operand[2], .dst = reg[m], .store = -1};
    if (read_outside(p, r, id, n->out[0])) {
      s->store = (int16_t)n_out;
      out[n_out++] = n->out[0];
    }
  }
  g->n_reg = top;
  FRT_TRY(frt__pnode_new(p, &frt_fused_chain, n_in, in, n_out, 0, NULL, last->origin, node));
  frt_pnode *f = &p->node[*node];
  last = &p->node[c->member[c->n - 1]];
  memcpy(f->out, out, sizeof *out * (size_t)n_out);
  f->program = g;
  f->rank = last->rank;
  f->derived = last->derived;
  size_t used = 0;
  for (int32_t m = 0; m < c->n && used < sizeof f->note - 1; m++) {
    const bool again = p->node[c->member[m]].note[0] != '\0'; // the recompute pass made it
    used += (size_t)snprintf(f->note + used, sizeof f->note - used, "%s%s%s", m ? " " : "",
                             g->instr[m].op->name, again ? " again" : "");
  }
  return FRT_OK;
}

frt_status frt__lower_chain(frt_plan *p)
{
  frt_readers r;
  FRT_TRY(frt__readers_new(p, &r));
  int32_t n = p->n_node, n_chain = 0;
  chain *all = frt__alloc(sizeof *all * (size_t)(n + 1));
  frt_status status = all ? FRT_OK : frt_error_set(FRT_ENOMEM, "out of memory: a plan");
  for (int32_t i = 0; i < n && status == FRT_OK; i++) {
    p->node[i].chain = -1;
    if (chainable(p, &p->node[i])) {
      join(p, &r, all, &n_chain, i);
    }
  }
  for (int32_t c = 0; c < n_chain && status == FRT_OK; c++) {
    int32_t made;
    if (all[c].n > 0) {
      sort_members(&all[c]);
      status = write_program(p, &r, &all[c], c, &made);
      for (int32_t m = 0; m < all[c].n && status == FRT_OK; m++) {
        p->node[all[c].member[m]].dead = true;
      }
    }
  }
  frt__free(all);
  frt__readers_free(&r);
  frt__sort_nodes(p);
  return status;
}
