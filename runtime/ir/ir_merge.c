// ir_merge.c -- the batch as a symbol: what two recordings at different batches say of each number.
#include "ir/ir.h"

#include <stdio.h>

typedef struct merging {
  const frt_ir *a, *b;
  int64_t n, m;
} merging;

static frt_status unlike(const merging *g, int32_t node, const char *fmt, const char *what)
{
  char why[200];
  const frt_ir_op *o = node >= 0 ? &g->a->node[node] : NULL;
  snprintf(why, sizeof why, fmt, what);
  return frt_error_set(FRT_EARG, "graph: %s%s with %lld photos is not as with %lld: %s",
                       o ? o->op->name : "what is recorded", o ? frt__ir_where(o) : "",
                       (long long)g->n, (long long)g->m, why);
}

// A number that is `a` at n photos and `b` at m: as multiple, as part (where `over`), or as it is.
static bool number(const merging *g, double a, double b, bool over, double *v, uint8_t *form)
{
  double n = (double)g->n, m = (double)g->m;
  *v = a;
  *form = FRT_IR_PLAIN;
  if (memcmp(&a, &b, sizeof a) == 0 || a == b) {
    return true;
  }
  double k = a / n;
  if (k == (double)(int64_t)k && k * n == a && k * m == b) {
    *v = k;
    *form = FRT_IR_TIMES_N;
    return true;
  }
  k = a * n;
  *v = k;
  *form = FRT_IR_OVER_N;
  return over && k / n == a && k / m == b;
}

static frt_status value(const merging *g, int32_t i, frt_ir_val *v)
{
  const frt_ir_val *x = &g->a->value[i], *y = &g->b->value[i];
  int32_t node = x->node;
  if (x->kind != y->kind || x->node != y->node || x->out != y->out ||
      strcmp(x->name, y->name) != 0 || x->shape.dtype != y->shape.dtype ||
      x->shape.ndim != y->shape.ndim) {
    return unlike(g, node, "value %s is another one", x->name);
  }
  *v = *x;
  v->ref = x->kind == FRT_IR_INPUT ? 0 : x->ref; // it was of one batch
  for (int32_t d = 0; d < x->shape.ndim; d++) {
    double k;
    uint8_t form;
    if (!number(g, (double)x->shape.dim[d], (double)y->shape.dim[d], false, &k, &form)) {
      char shapes[160];
      snprintf(shapes, sizeof shapes, "%s and %s", frt__shape_text(&x->shape),
               frt__shape_text(&y->shape));
      return unlike(g, node, "its shape is no multiple of them (%s)", shapes);
    }
    v->shape.dim[d] = (int64_t)k;
    v->per |= form == FRT_IR_TIMES_N ? (uint8_t)(1 << d) : 0;
  }
  if (x->kind == FRT_IR_CONSTANT && x->data &&
      (v->per || !y->data || memcmp(x->data, y->data, frt__bytes(&x->shape)) != 0)) {
    return unlike(g, node, "the numbers of '%s' depend on how many there are", x->name);
  }
  if (x->kind == FRT_IR_VARIABLE && v->per) {
    return unlike(g, node, "the variable '%s' is another one", x->name);
  }
  return FRT_OK;
}

// The first node that reads a scalar: where the recipe has it.
static int32_t reader(const frt_ir *ir, int32_t value)
{
  for (int32_t at = 0; at < ir->n_node; at++) {
    for (int32_t i = 0; i < ir->node[at].n_in; i++) {
      if (ir->node[at].in[i] == value) {
        return at;
      }
    }
  }
  return -1;
}

static frt_status copy_value(const merging *g, frt_ir *ir, int32_t i)
{
  frt_ir_val v;
  int32_t at, twin;
  FRT_TRY(value(g, i, &v));
  if (v.kind == FRT_IR_SCALAR) {
    double a = g->a->value[i].number, b = g->b->value[i].number;
    if (!number(g, a, b, true, &v.number, &v.form)) {
      char both[80];
      snprintf(both, sizeof both, "%.9g and %.9g", a, b);
      return unlike(g, reader(g->a, i), "a number is no multiple of them (%s)", both);
    }
  }
  FRT_TRY(frt__ir_copy(ir, v.name, strlen(v.name), &v.name));
  if (v.data) {
    size_t bytes = frt__bytes(&v.shape);
    void *data = frt__ir_alloc(ir, bytes);
    FRT_CHECK(data, FRT_ENOMEM, "out of memory: a graph's constant");
    memcpy(data, v.data, bytes);
    v.data = data;
  }
  ir->symbolic |= v.per != 0 || v.form != FRT_IR_PLAIN;
  FRT_TRY(frt__ir_value_new(ir, &v, &at));
  return v.name[0] ? frt__ir_named(ir, at, &twin) : FRT_OK;
}

static const char *attr_name(const frt_op *op, int32_t number)
{
  for (int32_t i = 0; i < op->n_attr; i++) {
    number -= FRT_MAX(op->attr[i].n, 1);
    if (number < 0) {
      return op->attr[i].name;
    }
  }
  return "?";
}

static frt_status copy_node(const merging *g, frt_ir *ir, int32_t i)
{
  const frt_ir_op *x = &g->a->node[i], *y = &g->b->node[i];
  if (x->op != y->op) {
    return unlike(g, i, "there it is %s", y->op->name);
  }
  if (x->n_in != y->n_in || x->n_out != y->n_out || x->n_attr != y->n_attr ||
      memcmp(x->in, y->in, sizeof(int32_t) * (size_t)x->n_in) != 0) {
    return unlike(g, i, "it reads %s", "other values");
  }
  int32_t at;
  FRT_TRY(frt__ir_node_new(ir, x->op, x->n_in, x->n_out, x->n_attr, &at));
  frt_ir_op *o = &ir->node[at];
  memcpy(o->in, x->in, sizeof(int32_t) * (size_t)(x->n_in + x->n_out)); // outputs lie behind
  for (int32_t k = 0; k < x->n_attr; k++) {
    if (!number(g, x->attr[k], y->attr[k], false, &o->attr[k], &o->form[k])) {
      char both[120];
      snprintf(both, sizeof both, "%.40s: %.9g and %.9g", attr_name(x->op, k), x->attr[k],
               y->attr[k]);
      return unlike(g, i, "an attribute is no multiple of them (%s)", both);
    }
    ir->symbolic |= o->form[k] != FRT_IR_PLAIN;
  }
  o->line = x->line;
  o->stage = x->stage;
  FRT_TRY(frt__ir_copy(ir, x->source, strlen(x->source), &o->source));
  return frt__ir_copy(ir, x->scope, strlen(x->scope), &o->scope);
}

static frt_status merge(const merging *g, frt_ir *ir)
{
  const frt_ir *a = g->a, *b = g->b;
  for (int32_t i = 0; i < a->n_node && i < b->n_node; i++) {
    FRT_TRY(copy_node(g, ir, i));
  }
  if (a->n_node != b->n_node) {
    int32_t last = FRT_MIN(a->n_node, b->n_node) - 1;
    char both[60];
    snprintf(both, sizeof both, "%d steps and %d", a->n_node, b->n_node);
    return unlike(g, last, "what follows differs (%s)", both);
  }
  if (a->n_value != b->n_value || a->n_output != b->n_output) {
    return unlike(g, -1, "it reads %s", "other values");
  }
  for (int32_t i = 0; i < a->n_value; i++) {
    FRT_TRY(copy_value(g, ir, i));
  }
  for (int32_t i = 0; i < a->n_output; i++) {
    if (a->output[i].value != b->output[i].value) {
      return unlike(g, -1, "'%s' is another value", a->output[i].name);
    }
    FRT_TRY(frt_ir_output(ir, a->output[i].value, a->output[i].name));
  }
  return FRT_OK;
}

frt_status frt_ir_merge(const frt_ir *a, int64_t n, const frt_ir *b, int64_t m, frt_ir **out)
{
  *out = NULL;
  FRT_CHECK(n > 0 && m > 0 && n != m, FRT_EARG,
            "graph: two different batches are needed, got %lld and %lld", (long long)n,
            (long long)m);
  frt_ir *ir;
  FRT_TRY(frt__ir_new(&ir));
  frt_status status = merge(&(merging){a, b, n, m}, ir);
  if (status != FRT_OK) {
    frt_ir_free(ir);
    return status;
  }
  *out = ir;
  return FRT_OK;
}
