// ir_of.c -- from recorded nodes to a graph as a value.
#include "ir/ir.h"

#include <stdio.h>
#include <stdlib.h>

#define G frt__graph

typedef struct making {
  frt_ir *ir;
  int32_t n_in;
  frt_link *in;   // where the walk stops
  int32_t *order; // op nodes, oldest first
  int32_t n_order;
  int32_t n_constant, n_input;
} making;

static int32_t input_at(const making *m, frt_link l)
{
  for (int32_t i = 0; i < m->n_in; i++) {
    if (m->in[i].node == l.node && m->in[i].out == l.out) {
      return i;
    }
  }
  return -1;
}

// Its past has been swept: what there is of it is its value.
static bool swept(const frt_node *n)
{
  for (int32_t i = 0; i < n->n_in; i++) {
    if (n->in[i].node >= 0) {
      return false;
    }
  }
  return n->kind == FRT_NODE_OP;
}

static void mark(const making *m, frt_link l, int32_t *open)
{
  if (l.node < 0 || input_at(m, l) >= 0) {
    return;
  }
  frt_node *n = G.node[l.node];
  if (n->kind == FRT_NODE_OP && n->mark != G.mark) {
    n->mark = G.mark;
    (*open)++;
  }
}

// The op nodes that `outs` need, from the newest down: users come before their inputs.
static frt_status walk(making *m, int32_t n, const frt_link *outs)
{
  int32_t open = 0, cap = 0;
  G.mark++;
  for (int32_t i = 0; i < n; i++) {
    mark(m, outs[i], &open);
  }
  for (int32_t at = G.newest; at >= 0 && open > 0; at = G.node[at]->older) {
    const frt_node *node = G.node[at];
    if (node->mark != G.mark || node->kind != FRT_NODE_OP) {
      continue;
    }
    open--;
    FRT_TRY(frt__grow(&m->order, &cap, m->n_order + 1, sizeof *m->order));
    m->order[m->n_order++] = at;
    for (int32_t i = 0; i < node->n_in; i++) {
      mark(m, node->in[i], &open);
    }
  }
  for (int32_t i = 0, j = m->n_order - 1; i < j; i++, j--) {
    int32_t swap = m->order[i];
    m->order[i] = m->order[j];
    m->order[j] = swap;
  }
  return FRT_OK;
}

// --- values
// ---------------------------------------------------------------------------------------
static frt_status name_value(frt_ir *ir, int32_t at, const char *name)
{
  int32_t twin;
  FRT_TRY(frt__ir_copy(ir, name, strlen(name), &ir->value[at].name));
  return frt__ir_named(ir, at, &twin); // variables of one name are told apart by their handles
}

static frt_status numbered(frt_ir *ir, int32_t at, const char *what, int32_t number)
{
  char name[32];
  snprintf(name, sizeof name, "%s.%d", what, number);
  return name_value(ir, at, name);
}

static frt_status constant(making *m, frt_link l, int32_t *at)
{
  frt_ir_val v = {.kind = FRT_IR_CONSTANT, .node = -1, .out = -1, .shape = *frt__link_shape(l)};
  size_t bytes = frt__bytes(&v.shape);
  v.data = frt__ir_alloc(m->ir, bytes);
  FRT_CHECK(v.data, FRT_ENOMEM, "out of memory: a graph's constant");
  FRT_TRY(frt_read(frt__ref(l), v.data, bytes));
  FRT_TRY(frt__ir_value_new(m->ir, &v, at));
  return numbered(m->ir, *at, "constant", ++m->n_constant);
}

static frt_status variable(making *m, frt_link l, const frt_node *user, int32_t *at)
{
  const frt_node *n = G.node[l.node];
  const frt_var *var = &G.var[n->var];
  if (n->version != var->version) {
    if (user) {
      frt__blame(user->origin);
    }
    return frt_error_set(FRT_ESTATE, "graph: variable '%s' has changed since %s read it",
                         var->name ? var->name : "?",
                         user && user->op ? user->op->name : "the graph");
  }
  bool input = var->wrapped || var->kind == FRT_VAR_INPUT;
  if (!input && (!var->name || var->released)) {
    return constant(m, l, at);
  }
  frt_ir_val v = {
    .kind = input ? FRT_IR_INPUT : FRT_IR_VARIABLE, .node = -1, .out = -1, .shape = var->shape};
  if (!var->released) {
    v.ref = frt__pack(n->var, var->gen, FRT_OUT_VAR);
  }
  FRT_TRY(frt__ir_value_new(m->ir, &v, at));
  if (input && !var->name) {
    return numbered(m->ir, *at, "input", ++m->n_input);
  }
  return name_value(m->ir, *at, var->name);
}

// Values of leaves are made when they are first read: variables, constants and inputs in a first
// pass over the nodes, so that they come first; scalars where they are read.
static frt_status leaf(making *m, frt_link l, const frt_node *user, bool scalars)
{
  if (l.node < 0 || input_at(m, l) >= 0) {
    return FRT_OK;
  }
  frt_node *n = G.node[l.node];
  int32_t at = -1;
  if (n->kind == FRT_NODE_SCALAR) {
    if (!scalars || n->mark == G.mark) {
      return FRT_OK;
    }
    frt_ir_val v = {
      .kind = FRT_IR_SCALAR, .node = -1, .out = -1, .shape = n->shape[0], .number = n->scalar};
    FRT_TRY(frt__ir_value_new(m->ir, &v, &at));
  } else if (scalars || n->mark == G.mark) {
    return FRT_OK;
  } else if (n->kind == FRT_NODE_VAR) {
    FRT_TRY(variable(m, l, user, &at));
  } else if (swept(n)) {
    // one value for each output, so that they lie side by side; -2: not there
    for (int32_t k = 0; k < n->n_out; k++) {
      int32_t made;
      if (frt__link_has_value((frt_link){l.node, k})) {
        FRT_TRY(constant(m, (frt_link){l.node, k}, &made));
      } else {
        frt_ir_val v = {
          .kind = FRT_IR_CONSTANT, .node = -1, .out = -1, .shape = n->shape[k], .missing = true};
        FRT_TRY(frt__ir_value_new(m->ir, &v, &made));
      }
      at = k ? at : made;
    }
  } else {
    return FRT_OK;
  }
  n->mark = G.mark;
  n->pos = at;
  return FRT_OK;
}

static frt_status value_of(const making *m, frt_link l, int32_t *at)
{
  *at = -1;
  if (l.node < 0) {
    return FRT_OK;
  }
  int32_t input = input_at(m, l);
  *at = input >= 0 ? input : G.node[l.node]->pos + l.out;
  const frt_ir_val *v = &m->ir->value[*at];
  FRT_CHECK(!v->missing, FRT_ESTATE, "graph: a result of %s is not there any more",
            G.node[l.node]->op->name);
  return FRT_OK;
}

static frt_status node(making *m, int32_t index)
{
  frt_node *n = G.node[index];
  frt_ir *ir = m->ir;
  int32_t at;
  for (int32_t i = 0; i < n->n_in; i++) {
    FRT_TRY(leaf(m, n->in[i], n, true));
  }
  FRT_TRY(frt__ir_node_new(ir, n->op, n->n_in, n->n_out, n->n_attr, &at));
  frt_ir_op *o = &ir->node[at];
  for (int32_t i = 0; i < n->n_in; i++) {
    FRT_TRY(value_of(m, n->in[i], &o->in[i]));
  }
  if (n->n_attr) {
    memcpy(o->attr, n->attr, sizeof(double) * (size_t)n->n_attr);
  }
  o->source = frt__text(n->origin.source); // interned: good as long as the process
  o->scope = frt__text(n->origin.scope);
  o->line = n->origin.line;
  o->stage = n->origin.stage;
  for (int32_t k = 0; k < n->n_out; k++) {
    frt_ir_val v = {.kind = FRT_IR_MADE, .node = at, .out = k, .shape = n->shape[k]};
    FRT_TRY(frt__ir_value_new(ir, &v, &o->out[k]));
  }
  n->pos = o->n_out ? o->out[0] : -1;
  return FRT_OK;
}

// --- the whole
// --------------------------------------------------------------------------------------
static frt_status make(making *m, int32_t n_out, const frt_link *outs, const char *const *out_names,
                       const char *const *in_names)
{
  frt_ir *ir = m->ir;
  int32_t at, twin;
  for (int32_t i = 0; i < m->n_in; i++) {
    const frt_node *n = G.node[m->in[i].node];
    frt_ir_val v = {
      .kind = FRT_IR_INPUT, .node = -1, .out = -1, .shape = *frt__link_shape(m->in[i])};
    if (n->kind == FRT_NODE_VAR && !G.var[n->var].released) {
      v.ref = frt__pack(n->var, G.var[n->var].gen, FRT_OUT_VAR);
    }
    FRT_TRY(frt__ir_value_new(ir, &v, &at));
    FRT_TRY(frt__ir_copy(ir, in_names[i], strlen(in_names[i]), &ir->value[at].name));
    FRT_TRY(frt__ir_named(ir, at, &twin));
    FRT_CHECK(ir->value[at].name[0] && twin < 0, FRT_EARG,
              "graph: inputs need names of their own, got '%s'", in_names[i]);
  }
  FRT_TRY(walk(m, n_out, outs));
  // The marks of the walk say which op nodes are in it; leaves carry the next one.
  G.mark++;
  for (int32_t i = 0; i < m->n_order; i++) {
    const frt_node *n = G.node[m->order[i]];
    if (swept(n)) {
      continue;
    }
    for (int32_t k = 0; k < n->n_in; k++) {
      FRT_TRY(leaf(m, n->in[k], n, false));
    }
  }
  for (int32_t i = 0; i < n_out; i++) {
    FRT_TRY(leaf(m, outs[i], NULL, false));
  }
  for (int32_t i = 0; i < m->n_order; i++) {
    if (!swept(G.node[m->order[i]])) {
      FRT_TRY(node(m, m->order[i]));
    }
  }
  for (int32_t i = 0; i < n_out; i++) {
    FRT_TRY(leaf(m, outs[i], NULL, true));
    FRT_TRY(value_of(m, outs[i], &at));
    FRT_TRY(frt_ir_output(ir, at, out_names[i]));
  }
  return FRT_OK;
}

static frt_status links_of(int32_t n, const frt_ref *refs, const char *what, frt_link **out)
{
  *out = frt__alloc(sizeof **out * (size_t)FRT_MAX(n, 1));
  FRT_CHECK(*out, FRT_ENOMEM, "out of memory: a graph");
  for (int32_t i = 0; i < n; i++) {
    FRT_TRY(frt__link(refs[i], &(*out)[i]));
    FRT_CHECK((*out)[i].node >= 0, FRT_EARG, "graph: %s %d is no tensor", what, i + 1);
  }
  return FRT_OK;
}

frt_status frt_ir_of(int32_t n_out, const frt_ref *outs, const char *const *out_names, int32_t n_in,
                     const frt_ref *ins, const char *const *in_names, frt_ir **out)
{
  FRT_CHECK(n_out > 0, FRT_EARG, "graph: needs at least one output");
  making m = {.n_in = n_in};
  frt_link *to = NULL;
  frt_status status = frt__ir_new(&m.ir);
  status = status == FRT_OK ? links_of(n_out, outs, "output", &to) : status;
  status = status == FRT_OK ? links_of(n_in, ins, "input", &m.in) : status;
  status = status == FRT_OK ? make(&m, n_out, to, out_names, in_names) : status;
  frt__free(to);
  frt__free(m.in);
  frt__free(m.order);
  if (status != FRT_OK) {
    frt_ir_free(m.ir);
    m.ir = NULL;
  }
  *out = m.ir;
  return status;
}
