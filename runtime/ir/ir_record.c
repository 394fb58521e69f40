// ir_record.c -- a graph recorded anew: with other inputs, at another batch, in another process.
#include "ir/ir.h"

#include <stdlib.h>

#define G frt__graph

typedef struct again {
  const frt_ir *ir;
  int64_t n;      // photos in the batch; 0: not known yet
  frt_link *link; // of every value
  uint8_t *given, *need;
} again;

static const char *name_of(const frt_ir *ir, int32_t value)
{
  const frt_ir_val *v = &ir->value[value];
  if (v->name[0]) {
    return v->name;
  }
  for (int32_t i = 0; i < ir->n_output; i++) {
    if (ir->output[i].value == value) {
      return ir->output[i].name;
    }
  }
  return v->node >= 0 ? ir->node[v->node].op->name : "a scalar";
}

// What stands for a value must have its dtype and shape; where that goes with the batch it says how
// many photos there are.
static frt_status fits(again *a, int32_t value, const frt_shape *s)
{
  const frt_ir_val *v = &a->ir->value[value];
  bool ok = s->dtype == v->shape.dtype && s->ndim == v->shape.ndim;
  int64_t n = a->n;
  for (int32_t d = 0; ok && d < s->ndim; d++) {
    int64_t is = s->dim[d], unit = v->shape.dim[d];
    if (v->per >> d & 1) {
      n = n ? n : is / unit;
      ok = n > 0 && is % unit == 0 && is / unit == n;
    } else {
      ok = is == unit;
    }
  }
  if (!ok && a->n) {
    return frt_error_set(FRT_ESHAPE, "graph: '%s' must be %s %s with N = %lld, got %s %s",
                         name_of(a->ir, value), frt__dtype_name(v->shape.dtype),
                         frt__ir_shape_text(v), (long long)a->n, frt__dtype_name(s->dtype),
                         frt__shape_text(s));
  }
  FRT_CHECK(ok, FRT_ESHAPE, "graph: '%s' must be %s %s, got %s %s", name_of(a->ir, value),
            frt__dtype_name(v->shape.dtype), frt__ir_shape_text(v), frt__dtype_name(s->dtype),
            frt__shape_text(s));
  a->n = n;
  return FRT_OK;
}

static frt_status take(again *a, int32_t n, const int32_t *values, const frt_ref *refs)
{
  for (int32_t i = 0; i < n; i++) {
    frt_link l;
    FRT_CHECK(values[i] >= 0 && values[i] < a->ir->n_value, FRT_EARG, "graph: no value %d",
              values[i]);
    FRT_TRY(frt__link(refs[i], &l));
    FRT_CHECK(l.node >= 0, FRT_EARG, "graph: '%s' is given nothing", name_of(a->ir, values[i]));
    FRT_TRY(fits(a, values[i], frt__link_shape(l)));
    a->link[values[i]] = l;
    a->given[values[i]] = 1;
  }
  return FRT_OK;
}

static frt_status constant(const frt_ir_val *v, frt_link *out)
{
  frt_ref var;
  FRT_TRY(frt_var_new(&v->shape, FRT_VAR_STATE, NULL, &var));
  frt_status status = frt_var_write(var, 0, frt__numel(&v->shape), v->data);
  status = status == FRT_OK ? frt__link(var, out) : status;
  frt_var_free(var); // its bytes stay as long as the node that reads them
  return status;
}

// A leaf that a node reads, recorded when it is first read, as the recipe did.
static frt_status leaf(again *a, int32_t value)
{
  const frt_ir_val *v = &a->ir->value[value];
  frt_link *l = &a->link[value];
  if (l->node >= 0) {
    return FRT_OK;
  }
  if (v->kind == FRT_IR_SCALAR) {
    frt_ref ref;
    FRT_TRY(frt_scalar(frt__ir_number(v->number, v->form, a->n), v->shape.dtype, &ref));
    return frt__link(ref, l);
  }
  if (v->ref != 0) {
    FRT_TRY(frt__link(v->ref, l));
    return fits(a, value, frt__link_shape(*l));
  }
  FRT_CHECK(v->kind == FRT_IR_CONSTANT && v->data, FRT_ESTATE,
            "graph: '%s' (%s %s) has no value: none was given for it", name_of(a->ir, value),
            frt__dtype_name(v->shape.dtype), frt__ir_shape_text(v));
  return constant(v, l);
}

static frt_status record(again *a, int32_t at)
{
  const frt_ir_op *o = &a->ir->node[at];
  frt_link few[16], *in = few;
  double few_attr[64], *attr = few_attr;
  void *room = NULL;
  if (o->n_in > FRT_COUNT(few) || o->n_attr > FRT_COUNT(few_attr)) {
    size_t numbers = sizeof *attr * (size_t)o->n_attr;
    room = frt__alloc(numbers + sizeof *in * (size_t)o->n_in);
    FRT_CHECK(room, FRT_ENOMEM, "out of memory: recording %s", o->op->name);
    attr = room;
    in = (frt_link *)((char *)room + numbers);
  }
  frt_status status = FRT_OK;
  for (int32_t i = 0; i < o->n_in && status == FRT_OK; i++) {
    in[i] = (frt_link){-1, 0};
    if (o->in[i] >= 0) {
      status = leaf(a, o->in[i]);
      in[i] = a->link[o->in[i]];
    }
  }
  for (int32_t i = 0; i < o->n_attr; i++) {
    attr[i] = frt__ir_number(o->attr[i], o->form[i], a->n);
  }
  int32_t node = -1;
  if (status == FRT_OK) {
    status = frt__record_links(o->op, o->n_in, in, o->n_attr, attr, o->n_out, &node);
  }
  frt__free(room);
  FRT_TRY(status);
  for (int32_t k = 0; k < o->n_out; k++) {
    if (!a->given[o->out[k]]) {
      a->link[o->out[k]] = (frt_link){node, k};
    }
  }
  return FRT_OK;
}

// Lines, scopes and stages are those of the first recording; a stage is numbered anew.
static void place(const frt_ir_op *o, int32_t *stage)
{
  frt_line(o->source, o->line);
  frt_scope(o->scope);
  if (o->stage != *stage) {
    *stage = o->stage;
    frt_checkpoint(o->stage > 0);
    if (o->stage < 0) {
      G.here.stage = FRT_BACKWARD;
    }
  }
}

static frt_status record_all(again *a, int32_t n, const int32_t *values, const frt_ref *refs,
                             int32_t n_out, const int32_t *wanted, frt_ref *outs)
{
  const frt_ir *ir = a->ir;
  for (int32_t i = 0; i < ir->n_value; i++) {
    a->link[i] = (frt_link){-1, 0};
  }
  FRT_TRY(take(a, n, values, refs));
  for (int32_t i = 0; i < n_out; i++) {
    FRT_CHECK(wanted[i] >= 0 && wanted[i] < ir->n_value, FRT_EARG, "graph: no value %d", wanted[i]);
  }
  frt__ir_needed(ir, n_out, wanted, a->given, a->need);
  // An input that nobody gave may be a variable that the graph still knows.
  for (int32_t at = 0; at < ir->n_node; at++) {
    for (int32_t i = 0; a->need[at] && i < ir->node[at].n_in; i++) {
      int32_t v = ir->node[at].in[i];
      if (v >= 0 && ir->value[v].kind == FRT_IR_INPUT) {
        FRT_TRY(leaf(a, v));
      }
    }
  }
  FRT_CHECK(a->n || !ir->symbolic, FRT_EARG,
            "graph: how many photos there are follows from an input, and none was given");
  int32_t stage = 0;
  for (int32_t at = 0; at < ir->n_node; at++) {
    if (a->need[at]) {
      place(&ir->node[at], &stage);
      FRT_TRY(record(a, at));
    }
  }
  for (int32_t i = 0; i < n_out; i++) {
    FRT_TRY(leaf(a, wanted[i]));
    outs[i] = frt__ref(a->link[wanted[i]]);
  }
  return FRT_OK;
}

frt_status frt_ir_record(const frt_ir *ir, int32_t n, const int32_t *values, const frt_ref *refs,
                         int32_t n_out, const int32_t *wanted, frt_ref *outs)
{
  size_t links = sizeof(frt_link) * (size_t)ir->n_value;
  char *room = frt__zalloc(links + (size_t)ir->n_value + (size_t)ir->n_node);
  FRT_CHECK(room, FRT_ENOMEM, "out of memory: recording a graph");
  again a = {.ir = ir,
             .link = (frt_link *)room,
             .given = (uint8_t *)room + links,
             .need = (uint8_t *)room + links + ir->n_value};
  frt_origin here = G.here;
  frt_status status = record_all(&a, n, values, refs, n_out, wanted, outs);
  G.here = here;
  frt__free(room);
  return status;
}

frt_status frt_ir_set(frt_ir *ir, int32_t value, frt_ref var)
{
  int32_t index;
  FRT_CHECK(value >= 0 && value < ir->n_value, FRT_EARG, "graph: no value %d", value);
  frt_ir_val *v = &ir->value[value];
  FRT_CHECK(v->kind == FRT_IR_INPUT || v->kind == FRT_IR_VARIABLE || v->kind == FRT_IR_CONSTANT,
            FRT_EARG, "graph: %s is computed, no variable can stand for it", name_of(ir, value));
  FRT_TRY(frt__var(var, &index));
  again a = {.ir = ir};
  FRT_TRY(fits(&a, value, &G.var[index].shape));
  v->ref = var;
  return FRT_OK;
}

// --- run again and again
// ---------------------------------------------------------------------------- What a run needs
// beside the inputs. Today a run records the graph and finds its plan in the cache; who replays a
// plan at fixed addresses keeps it here and leaves the callers as they are.
struct frt_bound {
  const frt_ir *ir;
  int32_t n_in, n_out, *in, *out;
};

frt_status frt_ir_bind(const frt_ir *ir, int32_t n_in, const int32_t *inputs, int32_t n_out,
                       const int32_t *wanted, frt_bound **out)
{
  *out = NULL;
  for (int32_t i = 0; i < n_in + n_out; i++) {
    int32_t v = i < n_in ? inputs[i] : wanted[i - n_in];
    FRT_CHECK(v >= 0 && v < ir->n_value, FRT_EARG, "graph: no value %d", v);
  }
  frt_bound *b = frt__alloc(sizeof *b + sizeof(int32_t) * (size_t)(n_in + n_out));
  FRT_CHECK(b, FRT_ENOMEM, "out of memory: binding a graph");
  *b = (frt_bound){.ir = ir, .n_in = n_in, .n_out = n_out, .in = (int32_t *)(b + 1)};
  b->out = b->in + n_in;
  for (int32_t i = 0; i < n_in + n_out; i++) {
    b->in[i] = i < n_in ? inputs[i] : wanted[i - n_in];
  }
  *out = b;
  return FRT_OK;
}

frt_status frt_bound_run(frt_bound *b, const frt_ref *inputs, frt_ref *outs)
{
  FRT_TRY(frt_ir_record(b->ir, b->n_in, b->in, inputs, b->n_out, b->out, outs));
  return frt_realize(b->n_out, outs);
}

void frt_bound_free(frt_bound *b)
{
  frt__free(b);
}
