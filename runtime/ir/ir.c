// ir.c -- a graph as a value: its memory, names, and walking it.
#include "ir/ir.h"

#include <stdio.h>

// --- memory -------------------------------------------------------------------------------------
enum { ROOM = 16384 };

void *frt__ir_alloc(frt_ir *ir, size_t bytes)
{
  bytes = (bytes + 15) & ~(size_t)15;
  if (bytes > ir->n_room) {
    size_t size = FRT_MAX(bytes, ROOM);
    char *block = frt__zalloc(size + 16);
    if (!block) {
      return NULL;
    }
    memcpy(block, &ir->blocks, sizeof ir->blocks);
    ir->blocks = block;
    if (size - bytes < ir->n_room) { // large: a block of its own
      return block + 16;
    }
    ir->room = block + 16;
    ir->n_room = size;
  }
  void *at = ir->room;
  ir->room += bytes;
  ir->n_room -= bytes;
  return at;
}

frt_status frt__ir_new(frt_ir **out)
{
  *out = frt__zalloc(sizeof **out);
  FRT_CHECK(*out, FRT_ENOMEM, "out of memory: a graph");
  return FRT_OK;
}

void frt_ir_free(frt_ir *ir)
{
  if (!ir) {
    return;
  }
  for (char *block = ir->blocks, *next; block; block = next) {
    memcpy(&next, block, sizeof next);
    frt__free(block);
  }
  frt__free(ir->value);
  frt__free(ir->node);
  frt__free(ir->output);
  frt__free(ir->by_name);
  frt__free(ir->text);
  frt__free(ir);
}

frt_status frt__ir_copy(frt_ir *ir, const char *text, size_t n, const char **out)
{
  char *copy = n ? frt__ir_alloc(ir, n + 1) : NULL;
  FRT_CHECK(copy || !n, FRT_ENOMEM, "out of memory: a graph's text");
  if (copy) {
    memcpy(copy, text, n);
    copy[n] = 0;
  }
  *out = copy ? copy : "";
  return FRT_OK;
}

frt_status frt__ir_value_new(frt_ir *ir, const frt_ir_val *v, int32_t *at)
{
  FRT_CHECK(ir->n_value < FRT_IR_VALUES, FRT_EARG, "graph: more than %d values", FRT_IR_VALUES);
  FRT_TRY(frt__grow(&ir->value, &ir->cap_value, ir->n_value + 1, sizeof *ir->value));
  ir->value[ir->n_value] = *v;
  if (!v->name) {
    ir->value[ir->n_value].name = "";
  }
  *at = ir->n_value++;
  return FRT_OK;
}

frt_status frt__ir_node_new(frt_ir *ir, const frt_op *op, int32_t n_in, int32_t n_out,
                            int32_t n_attr, int32_t *at)
{
  FRT_TRY(frt__grow(&ir->node, &ir->cap_node, ir->n_node + 1, sizeof *ir->node));
  frt_ir_op n = {
    .op = op, .n_in = n_in, .n_out = n_out, .n_attr = n_attr, .source = "", .scope = ""};
  size_t numbers = sizeof(double) * (size_t)n_attr,
         links = sizeof(int32_t) * (size_t)(n_in + n_out);
  char *block = frt__ir_alloc(ir, numbers + links + (size_t)n_attr + 1);
  FRT_CHECK(block, FRT_ENOMEM, "out of memory: a graph's node");
  n.attr = (double *)block;
  n.in = (int32_t *)(block + numbers);
  n.out = n.in + n_in;
  n.form = (uint8_t *)(block + numbers + links);
  ir->node[ir->n_node] = n;
  *at = ir->n_node++;
  return FRT_OK;
}

// --- names --------------------------------------------------------------------------------------
static int32_t *slot_of(const frt_ir *ir, const char *name)
{
  uint64_t at = frt__hash(0, name, strlen(name));
  int32_t *slot;
  do {
    slot = &ir->by_name[at++ & (uint64_t)(ir->n_slots - 1)];
  } while (*slot >= 0 && strcmp(ir->value[*slot].name, name) != 0);
  return slot;
}

static frt_status more_names(frt_ir *ir)
{
  if (2 * (ir->n_names + 1) <= ir->n_slots) {
    return FRT_OK;
  }
  int32_t *old = ir->by_name, n_old = ir->n_slots, n = FRT_MAX(64, 2 * n_old);
  int32_t *table = frt__alloc(sizeof *table * (size_t)n);
  FRT_CHECK(table, FRT_ENOMEM, "out of memory: a graph's names");
  memset(table, 0xff, sizeof *table * (size_t)n);
  ir->by_name = table;
  ir->n_slots = n;
  for (int32_t i = 0; i < n_old; i++) {
    if (old[i] >= 0) {
      *slot_of(ir, ir->value[old[i]].name) = old[i];
    }
  }
  frt__free(old);
  return FRT_OK;
}

frt_status frt__ir_named(frt_ir *ir, int32_t value, int32_t *twin)
{
  FRT_TRY(more_names(ir));
  int32_t *slot = slot_of(ir, ir->value[value].name);
  *twin = *slot;
  if (*slot < 0) {
    *slot = value;
    ir->n_names++;
  }
  return FRT_OK;
}

frt_status frt_ir_rename(frt_ir *ir, int32_t value, const char *name)
{
  FRT_CHECK(value >= 0 && value < ir->n_value && ir->value[value].name[0], FRT_EARG,
            "graph: no named value %d", value);
  FRT_CHECK(*name && frt_ir_find(ir, name) < 0, FRT_EARG, "graph: '%s' is a value's name already",
            name);
  FRT_TRY(frt__ir_copy(ir, name, strlen(name), &ir->value[value].name));
  // The table has no way to forget a name: it is written anew.
  memset(ir->by_name, 0xff, sizeof *ir->by_name * (size_t)ir->n_slots);
  ir->n_names = 0;
  for (int32_t i = 0, twin; i < ir->n_value; i++) {
    if (ir->value[i].name[0]) {
      FRT_TRY(frt__ir_named(ir, i, &twin));
    }
  }
  return FRT_OK;
}

int32_t frt_ir_find(const frt_ir *ir, const char *name)
{
  for (int32_t i = 0; i < ir->n_output; i++) {
    if (strcmp(ir->output[i].name, name) == 0) {
      return ir->output[i].value;
    }
  }
  return ir->n_slots ? *slot_of(ir, name) : -1;
}

// --- numbers and messages -----------------------------------------------------------------------
double frt__ir_number(double v, uint8_t form, int64_t n)
{
  return form == FRT_IR_TIMES_N ? v * (double)n : form == FRT_IR_OVER_N ? v / (double)n : v;
}

frt_shape frt__ir_shape(const frt_ir_val *v, int64_t n)
{
  frt_shape s = v->shape;
  for (int32_t d = 0; d < s.ndim; d++) {
    s.dim[d] *= v->per >> d & 1 ? n : 1;
  }
  return s;
}

const char *frt__ir_shape_text(const frt_ir_val *v)
{
  static char ring[4][160];
  static int next;
  char *text = ring[next++ & 3];
  size_t at = (size_t)snprintf(text, 160, "[");
  for (int32_t d = 0; d < v->shape.ndim; d++) {
    bool per = v->per >> d & 1, one = per && v->shape.dim[d] == 1;
    at += (size_t)snprintf(text + at, 160 - at, d ? ", " : "");
    if (!one) {
      at += (size_t)snprintf(text + at, 160 - at, "%lld", (long long)v->shape.dim[d]);
    }
    at += (size_t)snprintf(text + at, 160 - at, per ? "N" : "");
  }
  snprintf(text + at, 160 - at, "]");
  return text;
}

const char *frt__ir_where(const frt_ir_op *node)
{
  static char ring[4][320];
  static int next;
  char *text = ring[next++ & 3];
  bool line = node->source[0] != 0, scope = node->scope[0] != 0;
  text[0] = 0;
  if (line && scope) {
    snprintf(text, 320, " (%.180s:%d, in '%.100s')", node->source, node->line, node->scope);
  } else if (line) {
    snprintf(text, 320, " (%.280s:%d)", node->source, node->line);
  } else if (scope) {
    snprintf(text, 320, " (in '%.280s')", node->scope);
  }
  return text;
}

void frt__ir_needed(const frt_ir *ir, int32_t n, const int32_t *values, const uint8_t *stop,
                    uint8_t *need)
{
  memset(need, 0, (size_t)ir->n_node);
  for (int32_t i = 0; i < n; i++) {
    const frt_ir_val *v = &ir->value[values[i]];
    if (v->node >= 0 && !(stop && stop[values[i]])) {
      need[v->node] = 1;
    }
  }
  for (int32_t at = ir->n_node - 1; at >= 0; at--) {
    const frt_ir_op *node = &ir->node[at];
    for (int32_t i = 0; need[at] && i < node->n_in; i++) {
      int32_t v = node->in[i];
      if (v >= 0 && ir->value[v].node >= 0 && !(stop && stop[v])) {
        need[ir->value[v].node] = 1;
      }
    }
  }
}

// --- walking ------------------------------------------------------------------------------------
int32_t frt_ir_n_values(const frt_ir *ir)
{
  return ir->n_value;
}

int32_t frt_ir_n_nodes(const frt_ir *ir)
{
  return ir->n_node;
}

int32_t frt_ir_n_outputs(const frt_ir *ir)
{
  return ir->n_output;
}

frt_status frt_ir_value(const frt_ir *ir, int32_t i, frt_ir_value_info *out)
{
  FRT_CHECK(i >= 0 && i < ir->n_value, FRT_EARG, "graph: no value %d", i);
  const frt_ir_val *v = &ir->value[i];
  *out = (frt_ir_value_info){.kind = v->kind,
                             .node = v->node,
                             .out = v->out,
                             .batch = v->per,
                             .shape = v->shape,
                             .name = v->name,
                             .number = v->number,
                             .data = v->data,
                             .bytes = v->data ? frt__bytes(&v->shape) : 0,
                             .ref = v->ref};
  return FRT_OK;
}

static frt_status node_at(const frt_ir *ir, int32_t i, const frt_ir_op **out)
{
  FRT_CHECK(i >= 0 && i < ir->n_node, FRT_EARG, "graph: no node %d", i);
  *out = &ir->node[i];
  return FRT_OK;
}

frt_status frt_ir_node(const frt_ir *ir, int32_t i, frt_ir_node_info *out)
{
  const frt_ir_op *n;
  FRT_TRY(node_at(ir, i, &n));
  *out = (frt_ir_node_info){.op = n->op->name,
                            .scope = n->scope,
                            .source = n->source,
                            .line = n->source[0] ? n->line : 0,
                            .n_in = n->n_in,
                            .n_out = n->n_out,
                            .n_attr = n->op->n_attr,
                            .in = n->in,
                            .out = n->out};
  return FRT_OK;
}

frt_status frt_ir_attr_at(const frt_ir *ir, int32_t node, int32_t i, frt_ir_attr *out)
{
  const frt_ir_op *n;
  FRT_TRY(node_at(ir, node, &n));
  FRT_CHECK(i >= 0 && i < n->op->n_attr, FRT_EARG, "graph: %s has no attribute %d", n->op->name, i);
  int32_t at = 0;
  for (int32_t k = 0; k < i; k++) {
    at += FRT_MAX(n->op->attr[k].n, 1);
  }
  *out =
    (frt_ir_attr){n->op->attr[i].name, FRT_MAX(n->op->attr[i].n, 1), n->attr + at, n->form + at};
  return FRT_OK;
}

frt_status frt_ir_attr_of(const frt_ir *ir, int32_t node, const char *name, frt_ir_attr *out)
{
  const frt_ir_op *n;
  FRT_TRY(node_at(ir, node, &n));
  for (int32_t i = 0; i < n->op->n_attr; i++) {
    if (strcmp(n->op->attr[i].name, name) == 0) {
      return frt_ir_attr_at(ir, node, i, out);
    }
  }
  return frt_error_set(FRT_EARG, "graph: %s has no attribute '%s'", n->op->name, name);
}

frt_status frt_ir_output_at(const frt_ir *ir, int32_t i, int32_t *value, const char **name)
{
  FRT_CHECK(i >= 0 && i < ir->n_output, FRT_EARG, "graph: no output %d", i);
  *value = ir->output[i].value;
  *name = ir->output[i].name;
  return FRT_OK;
}

frt_status frt_ir_output(frt_ir *ir, int32_t value, const char *name)
{
  FRT_CHECK(value >= 0 && value < ir->n_value, FRT_EARG, "graph: no value %d", value);
  FRT_CHECK(name && *name, FRT_EARG, "graph: an output needs a name");
  FRT_CHECK(frt_ir_find(ir, name) < 0, FRT_EARG, "graph: '%s' is a value's name already", name);
  FRT_TRY(frt__grow(&ir->output, &ir->cap_output, ir->n_output + 1, sizeof *ir->output));
  frt_ir_out *o = &ir->output[ir->n_output];
  FRT_TRY(frt__ir_copy(ir, name, strlen(name), &o->name));
  o->value = value;
  ir->n_output++;
  return FRT_OK;
}
