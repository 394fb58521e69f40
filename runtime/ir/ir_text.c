// ir_text.c -- a graph as text, a line per value or node. README.md describes the form.
#include "ir/ir.h"

#include <inttypes.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct writer {
  char *text;
  size_t n, cap;
  bool failed;
} writer;

static void put(writer *w, const char *text, size_t n)
{
  if (w->n + n + 1 > w->cap && !w->failed) {
    size_t cap = FRT_MAX(2 * w->cap, w->n + n + 4096);
    char *more = frt__realloc(w->text, cap);
    w->failed = !more;
    w->text = more ? more : w->text;
    w->cap = more ? cap : w->cap;
  }
  if (!w->failed) {
    memcpy(w->text + w->n, text, n);
    w->n += n;
    w->text[w->n] = 0;
  }
}

__attribute__((format(printf, 2, 3))) static void say(writer *w, const char *fmt, ...)
{
  char line[256];
  va_list args;
  va_start(args, fmt);
  int n = vsnprintf(line, sizeof line, fmt, args);
  va_end(args);
  put(w, line, (size_t)FRT_MIN(n, (int)sizeof line - 1));
}

// In quotes; what is no printable ASCII as \xNN, so that the text is one wherever it is kept.
static void quoted(writer *w, const char *text)
{
  put(w, "\"", 1);
  for (; *text; text++) {
    unsigned char c = (unsigned char)*text;
    if (c == '"' || c == '\\') {
      put(w, "\\", 1);
    }
    if (c < 32 || c > 126) {
      say(w, "\\x%02x", c);
    } else {
      put(w, text, 1);
    }
  }
  put(w, "\"", 1);
}

// Names with control characters are none of ours, and nobody's terminal should get them.
static bool clean(const char *text)
{
  for (; *text; text++) {
    if ((unsigned char)*text < 32 || *text == 127) {
      return false;
    }
  }
  return true;
}

// The shortest of three lengths that reads back as the same number.
static void number(writer *w, double v)
{
  char text[40];
  for (int digits = 6; digits <= 17; digits += digits == 6 ? 3 : 8) {
    snprintf(text, sizeof text, "%.*g", digits, v);
    if (strtod(text, NULL) == v) {
      break;
    }
  }
  put(w, text, strlen(text));
}

static void symbolic(writer *w, double v, uint8_t form)
{
  if (form != FRT_IR_TIMES_N || v != 1) {
    number(w, v);
  }
  if (form != FRT_IR_PLAIN) {
    say(w, form == FRT_IR_TIMES_N ? "N" : "/N");
  }
}

static void shape(writer *w, const frt_ir_val *v)
{
  say(w, "%s %s", frt__dtype_name(v->shape.dtype), frt__ir_shape_text(v));
}

enum { INLINE = 256 }; // numbers of a constant that stand in the text

static bool stands_in_text(const frt_ir_val *v)
{
  int32_t d = v->shape.dtype;
  return v->data && frt__numel(&v->shape) <= INLINE &&
         (d == FRT_F32 || d == FRT_F64 || d == FRT_I32 || d == FRT_U8);
}

static void leaf(writer *w, const frt_ir_val *v, int32_t i)
{
  static const char *const word[] = {"", "input", "variable", "scalar", "constant"};
  if (v->kind == FRT_IR_SCALAR) {
    say(w, "scalar %%%d %s ", i, frt__dtype_name(v->shape.dtype));
    symbolic(w, v->number, v->form);
    put(w, "\n", 1);
    return;
  }
  say(w, "%s %%%d ", word[v->kind], i);
  quoted(w, v->name);
  put(w, " ", 1);
  shape(w, v);
  if (v->kind == FRT_IR_CONSTANT && stands_in_text(v)) {
    put(w, " =", 2);
    for (int64_t k = 0, n = frt__numel(&v->shape); k < n; k++) {
      int32_t d = v->shape.dtype;
      put(w, " ", 1);
      number(w, d == FRT_F32   ? (double)((const float *)v->data)[k]
                : d == FRT_F64 ? ((const double *)v->data)[k]
                : d == FRT_I32 ? (double)((const int32_t *)v->data)[k]
                               : (double)((const uint8_t *)v->data)[k]);
    }
  }
  put(w, "\n", 1);
}

static bool is_default(const frt_ir_op *o, const frt_attr *a, int32_t at)
{
  for (int32_t k = 0; k < FRT_MAX(a->n, 1); k++) {
    if (o->form[at + k] != FRT_IR_PLAIN || o->attr[at + k] != a->dflt) {
      return false;
    }
  }
  return true;
}

static void node(writer *w, const frt_ir *ir, const frt_ir_op *o)
{
  for (int32_t k = 0; k < o->n_out; k++) {
    say(w, "%s%%%d", k ? ", " : "", o->out[k]);
  }
  say(w, " = %s(", o->op->name);
  for (int32_t i = 0; i < o->n_in; i++) {
    put(w, ", ", i ? 2 : 0);
    if (o->in[i] < 0) {
      put(w, "-", 1);
    } else {
      say(w, "%%%d", o->in[i]);
    }
  }
  put(w, ")", 1);
  for (int32_t i = 0, at = 0; i < o->op->n_attr; i++) {
    const frt_attr *a = &o->op->attr[i];
    bool left_out = is_default(o, a, at);
    for (int32_t k = 0; k < FRT_MAX(a->n, 1); k++, at++) {
      if (!left_out) {
        say(w, k ? "," : " %s=", a->name);
        symbolic(w, o->attr[at], o->form[at]);
      }
    }
  }
  for (int32_t k = 0; k < o->n_out; k++) {
    say(w, k ? ", " : " : ");
    shape(w, &ir->value[o->out[k]]);
  }
  if (o->scope[0] && clean(o->scope)) {
    put(w, " in ", 4);
    quoted(w, o->scope);
  }
  if (o->source[0] && clean(o->source)) {
    put(w, " at ", 4);
    quoted(w, o->source);
    say(w, ":%d", o->line);
  }
  if (o->stage) {
    say(w, " stage %d", o->stage);
  }
  put(w, "\n", 1);
}

// Two variables of one name would be one to whoever reads the text.
static frt_status check_names(const frt_ir *ir)
{
  for (int32_t i = 0; i < ir->n_value; i++) {
    const frt_ir_val *v = &ir->value[i];
    FRT_CHECK(!v->name[0] || !ir->n_slots || frt_ir_find(ir, v->name) == i, FRT_EARG,
              "graph: two values are called '%s': its text would not tell them apart", v->name);
    FRT_CHECK(clean(v->name), FRT_EARG, "graph: a value's name has a control character");
  }
  for (int32_t i = 0; i < ir->n_node; i++) {
    const frt_ir_op *o = &ir->node[i];
    FRT_CHECK(!(o->op->flags & FRT_UPDATE), FRT_EARG,
              "graph: %s%s is an optimizer's step: a text holds none", o->op->name,
              frt__ir_where(o));
  }
  return FRT_OK;
}

static void write_all(writer *w, const frt_ir *ir)
{
  say(w, "foodrt graph 1\n");
  int32_t i = 0;
  for (int32_t at = 0; at <= ir->n_node; at++) {
    int32_t made = at < ir->n_node && ir->node[at].n_out ? ir->node[at].out[0] : ir->n_value;
    for (; i < made; i++) {
      leaf(w, &ir->value[i], i);
    }
    if (at < ir->n_node) {
      node(w, ir, &ir->node[at]);
      i += ir->node[at].n_out;
    }
  }
  for (int32_t k = 0; k < ir->n_output; k++) {
    say(w, "output %%%d ", ir->output[k].value);
    quoted(w, ir->output[k].name);
    put(w, "\n", 1);
  }
  say(w, "end\n");
}

frt_status frt_ir_text(frt_ir *ir, const char **text, uint64_t *bytes)
{
  FRT_TRY(check_names(ir));
  writer w = {0};
  locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0), before = (locale_t)0;
  FRT_CHECK(c != (locale_t)0, FRT_ENOMEM, "out of memory: a graph's text");
  before = uselocale(c); // numbers have a point, whatever the process's language
  write_all(&w, ir);
  uselocale(before);
  freelocale(c);
  if (w.failed) {
    frt__free(w.text);
    return frt_error_set(FRT_ENOMEM, "out of memory: a graph's text");
  }
  frt__free(ir->text);
  ir->text = w.text;
  *text = w.text;
  *bytes = w.n;
  return FRT_OK;
}
