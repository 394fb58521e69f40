// ir_parse.c -- a graph from its text, which may be anybody's: bounded, every mistake in words with
// the number of its line, every node checked by its op.
#include "ir/ir.h"

#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_NAME = 1024, MAX_NUMBERS = 4096, MAX_BYTES = 64 << 20 };
static const int64_t MAX_DIM_SIZE = (int64_t)1 << 40;

typedef struct parser {
  const char *at, *end, *where;
  int32_t line;
  frt_ir *ir;
  int32_t *list; // numbers of values in the line at hand
  int32_t n_list, cap_list;
  char name[MAX_NAME + 1];
} parser;

__attribute__((format(printf, 2, 3), cold)) static frt_status bad(const parser *p, const char *fmt,
                                                                  ...)
{
  char why[400];
  va_list args;
  va_start(args, fmt);
  vsnprintf(why, sizeof why, fmt, args);
  va_end(args);
  return frt_error_set(FRT_EDATA, "%s: line %d: %s", p->where, p->line, why);
}
#define NEED(cond, ...)                                                                            \
  do {                                                                                             \
    if (!(cond)) {                                                                                 \
      return bad(p, __VA_ARGS__);                                                                  \
    }                                                                                              \
  } while (0)

// What a check of the library's found, as a mistake of this line.
static frt_status wrong(const parser *p, frt_status status)
{
  if (status == FRT_OK || status == FRT_EDATA) {
    return status;
  }
  char why[400];
  snprintf(why, sizeof why, "%s", frt_error_last());
  return status == FRT_ENOMEM && strstr(why, "out of memory: a graph") ? status : bad(p, "%s", why);
}

// --- words
// ----------------------------------------------------------------------------------------
static void blanks(parser *p)
{
  while (p->at < p->end && *p->at == ' ') {
    p->at++;
  }
}

static bool ends(parser *p)
{
  blanks(p);
  return p->at == p->end || *p->at == '\n';
}

// Whether `c` comes next; passes over it.
static bool next(parser *p, char c)
{
  blanks(p);
  if (p->at < p->end && *p->at == c) {
    p->at++;
    return true;
  }
  return false;
}

static bool letter(char c)
{
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

// A word of small letters, digits and '_' into p->name; "" where none stands.
static void word(parser *p)
{
  size_t n = 0;
  blanks(p);
  for (; p->at < p->end && letter(*p->at) && n < 64; p->at++) {
    p->name[n++] = *p->at;
  }
  p->name[n] = 0;
}

static bool is(parser *p, const char *what)
{
  return strcmp(p->name, what) == 0;
}

static int32_t hex(char c)
{
  return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static frt_status quoted(parser *p, const char *what)
{
  size_t n = 0;
  NEED(next(p, '"'), "%s in quotes is expected", what);
  for (;; p->at++) {
    NEED(p->at < p->end && *p->at != '\n', "%s has no closing quote", what);
    char c = *p->at;
    if (c == '"') {
      break;
    }
    if (c == '\\') {
      NEED(p->end - p->at > 1, "%s ends in a backslash", what);
      c = *++p->at;
      if (c == 'x') {
        NEED(p->end - p->at > 2 && hex(p->at[1]) >= 0 && hex(p->at[2]) >= 0,
             "%s has \\x without two digits", what);
        c = (char)(hex(p->at[1]) << 4 | hex(p->at[2]));
        p->at += 2;
      } else {
        NEED(c == '"' || c == '\\', "%s has an unknown escape", what);
      }
    }
    NEED((unsigned char)c >= 32 && c != 127, "%s has a control character", what);
    NEED(n < MAX_NAME, "%s is longer than %d bytes", what, MAX_NAME);
    p->name[n++] = c;
  }
  p->at++;
  p->name[n] = 0;
  return FRT_OK;
}

static frt_status decimal(parser *p, double *out)
{
  char text[48];
  size_t n = 0;
  blanks(p);
  while (p->at + n < p->end && n + 1 < sizeof text && strchr("0123456789+-.einfa", p->at[n])) {
    text[n] = p->at[n];
    n++;
  }
  text[n] = 0;
  char *stop = text;
  *out = n ? strtod(text, &stop) : 0;
  NEED(n > 0 && stop == text + n, "a number is expected");
  p->at += n;
  return FRT_OK;
}

static frt_status whole(parser *p, int64_t least, int64_t most, const char *what, int64_t *out)
{
  int64_t v = 0;
  int32_t digits = 0;
  for (; p->at < p->end && *p->at >= '0' && *p->at <= '9'; p->at++) {
    NEED(++digits <= 15, "%s must be a whole number of %lld to %lld", what, (long long)least,
         (long long)most);
    v = v * 10 + (*p->at - '0');
  }
  NEED(digits > 0 && v >= least && v <= most, "%s must be a whole number of %lld to %lld", what,
       (long long)least, (long long)most);
  *out = v;
  return FRT_OK;
}

// 3, N, 3N, 3/N
static frt_status symbolic(parser *p, bool over, double *v, uint8_t *form)
{
  *v = 1;
  *form = FRT_IR_TIMES_N;
  if (next(p, 'N')) {
    return FRT_OK;
  }
  FRT_TRY(decimal(p, v));
  *form = FRT_IR_PLAIN;
  if (p->at < p->end && *p->at == 'N') {
    *form = FRT_IR_TIMES_N;
    p->at++;
  } else if (over && p->end - p->at > 1 && p->at[0] == '/' && p->at[1] == 'N') {
    *form = FRT_IR_OVER_N;
    p->at += 2;
  }
  return FRT_OK;
}

// %7, declared already
static frt_status value(parser *p, int32_t *out)
{
  int64_t v;
  NEED(next(p, '%'), "a value such as %%3 is expected");
  FRT_TRY(whole(p, 0, FRT_IR_VALUES, "a value's number", &v));
  NEED(v < p->ir->n_value, "%%%d is not known here", (int)v);
  *out = (int32_t)v;
  return FRT_OK;
}

// %7, which must be the next
static frt_status fresh(parser *p, int32_t ahead)
{
  int64_t v;
  NEED(next(p, '%'), "a value such as %%3 is expected");
  FRT_TRY(whole(p, 0, FRT_IR_VALUES, "a value's number", &v));
  NEED(v == p->ir->n_value + ahead, "values are numbered in order: %%%d is expected",
       p->ir->n_value + ahead);
  return FRT_OK;
}

static frt_status dtype(parser *p, int32_t *out)
{
  word(p);
  for (*out = FRT_F32; *out <= FRT_F16; ++*out) {
    if (is(p, frt__dtype_name(*out))) {
      return FRT_OK;
    }
  }
  return bad(p, "there is no dtype '%s'", p->name);
}

// f32 [N, 3, 224, 224]
static frt_status shape(parser *p, frt_ir_val *v)
{
  FRT_TRY(dtype(p, &v->shape.dtype));
  NEED(next(p, '['), "a shape such as [N, 3, 224, 224] is expected");
  for (int32_t d = 0; !next(p, ']'); d++) {
    int64_t size = 1;
    NEED(d < FRT_MAX_DIM, "a shape has at most %d dimensions", FRT_MAX_DIM);
    NEED(d == 0 || next(p, ','), "a comma is expected between dimensions");
    blanks(p);
    if (p->at < p->end && *p->at != 'N') {
      FRT_TRY(whole(p, 1, MAX_DIM_SIZE, "a dimension", &size));
    }
    if (p->at < p->end && *p->at == 'N') {
      p->at++;
      v->per |= (uint8_t)(1 << d);
      p->ir->symbolic = true;
    }
    v->shape.dim[d] = size;
    v->shape.ndim = d + 1;
  }
  frt_shape two = frt__ir_shape(v, 2);
  return wrong(p, frt__check_size("graph", &two));
}

static frt_status add(parser *p, const frt_ir_val *v, int32_t *at)
{
  return wrong(p, frt__ir_value_new(p->ir, v, at));
}

static frt_status named(parser *p, int32_t at)
{
  int32_t twin;
  FRT_TRY(frt__ir_copy(p->ir, p->name, strlen(p->name), &p->ir->value[at].name));
  NEED(p->name[0], "a name is empty");
  FRT_TRY(frt__ir_named(p->ir, at, &twin));
  NEED(twin < 0, "the name '%.200s' is taken already", p->name);
  return FRT_OK;
}

// --- lines
// ----------------------------------------------------------------------------------------
static frt_status numbers(parser *p, frt_ir_val *v)
{
  int64_t n = frt__numel(&v->shape);
  int32_t d = v->shape.dtype;
  NEED(d == FRT_F32 || d == FRT_F64 || d == FRT_I32 || d == FRT_U8,
       "numbers of a constant are f32, f64, i32 or u8");
  NEED(n <= MAX_NUMBERS, "a constant of more than %d numbers can't stand in the text", MAX_NUMBERS);
  NEED(!v->per, "a constant can't go with the batch");
  v->data = frt__ir_alloc(p->ir, frt__bytes(&v->shape));
  FRT_CHECK(v->data, FRT_ENOMEM, "out of memory: a graph's constant");
  for (int64_t i = 0; i < n; i++) {
    double x;
    FRT_TRY(decimal(p, &x));
    double least = d == FRT_U8 ? 0 : INT32_MIN, most = d == FRT_U8 ? 255 : INT32_MAX;
    if (d == FRT_F32) {
      ((float *)v->data)[i] = (float)x;
    } else if (d == FRT_F64) {
      ((double *)v->data)[i] = x;
    } else {
      NEED(x >= least && x <= most, "a number of the constant is out of range");
      if (d == FRT_I32) {
        ((int32_t *)v->data)[i] = (int32_t)x;
      } else {
        ((uint8_t *)v->data)[i] = (uint8_t)x;
      }
    }
  }
  return FRT_OK;
}

static frt_status leaf(parser *p, int32_t kind)
{
  frt_ir_val v = {.kind = (uint8_t)kind, .node = -1, .out = -1};
  int32_t at, place = p->ir->n_value;
  FRT_TRY(fresh(p, 0));
  FRT_TRY(quoted(p, "a name"));
  FRT_TRY(add(p, &v, &at));
  FRT_TRY(named(p, at));
  FRT_TRY(shape(p, &v));
  NEED(kind == FRT_IR_INPUT || !v.per, "only inputs and results go with the batch");
  if (kind == FRT_IR_CONSTANT && next(p, '=')) {
    FRT_TRY(numbers(p, &v));
  }
  v.name = p->ir->value[place].name;
  p->ir->value[place] = v;
  return FRT_OK;
}

static frt_status scalar(parser *p)
{
  frt_ir_val v = {.kind = FRT_IR_SCALAR, .node = -1, .out = -1};
  int32_t at;
  FRT_TRY(fresh(p, 0));
  FRT_TRY(dtype(p, &v.shape.dtype));
  NEED(v.shape.dtype <= FRT_I32, "a scalar is f32, f64 or i32");
  FRT_TRY(symbolic(p, true, &v.number, &v.form));
  p->ir->symbolic |= v.form != FRT_IR_PLAIN;
  return add(p, &v, &at);
}

static frt_status output(parser *p)
{
  int32_t v;
  FRT_TRY(value(p, &v));
  FRT_TRY(quoted(p, "an output's name"));
  return wrong(p, frt_ir_output(p->ir, v, p->name));
}

static const frt_op *op_named(const char *name)
{
  for (int32_t i = 0; i < frt_op_table_len; i++) {
    if (strcmp(frt_op_table[i]->name, name) == 0) {
      return frt_op_table[i];
    }
  }
  return NULL;
}

// stride=2,2 pad=N,0 ... in any order; what is left out has its default. Ends before ':'.
static frt_status attributes(parser *p, frt_ir_op *o)
{
  uint32_t seen = 0;
  for (int32_t i = 0, at = 0; i < o->op->n_attr; i++) {
    for (int32_t k = 0; k < FRT_MAX(o->op->attr[i].n, 1); k++) {
      o->attr[at++] = o->op->attr[i].dflt;
    }
  }
  while (!next(p, ':')) {
    word(p);
    int32_t at = 0, i = 0;
    NEED(p->name[0], "%s: an attribute or ':' is expected", o->op->name);
    for (; i < o->op->n_attr && !is(p, o->op->attr[i].name); i++) {
      at += FRT_MAX(o->op->attr[i].n, 1);
    }
    NEED(i < o->op->n_attr, "%s has no attribute '%s'", o->op->name, p->name);
    NEED(!(seen >> i & 1), "%s: attribute '%s' is given twice", o->op->name, p->name);
    seen |= 1u << i;
    NEED(next(p, '='), "%s: '=' is expected after '%s'", o->op->name, o->op->attr[i].name);
    for (int32_t k = 0; k < FRT_MAX(o->op->attr[i].n, 1); k++, at++) {
      NEED(k == 0 || next(p, ','), "%s: attribute '%s' has %d numbers", o->op->name,
           o->op->attr[i].name, o->op->attr[i].n);
      FRT_TRY(symbolic(p, false, &o->attr[at], &o->form[at]));
      p->ir->symbolic |= o->form[at] != FRT_IR_PLAIN;
    }
  }
  return FRT_OK;
}

// The op's own rule at a batch of n: what it makes must be what the text says.
static frt_status check_at(parser *p, const frt_ir_op *o, int64_t n)
{
  const frt_ir *ir = p->ir;
  size_t each = sizeof(frt_shape) + sizeof(frt_shape *);
  char *room = frt__zalloc(each * (size_t)o->n_in + sizeof(frt_shape) * (size_t)o->n_out +
                           sizeof(double) * (size_t)o->n_attr + 1);
  FRT_CHECK(room, FRT_ENOMEM, "out of memory: a graph's node");
  frt_shape *in = (frt_shape *)room, *out = in + o->n_in;
  double *attr = (double *)(out + o->n_out);
  const frt_shape **xs = (const frt_shape **)(attr + o->n_attr);
  for (int32_t i = 0; i < o->n_in; i++) {
    if (o->in[i] >= 0) {
      in[i] = frt__ir_shape(&ir->value[o->in[i]], n);
      xs[i] = &in[i];
    }
  }
  for (int32_t i = 0; i < o->n_attr; i++) {
    attr[i] = frt__ir_number(o->attr[i], o->form[i], n);
  }
  frt_infer c = {.n_in = o->n_in, .n_out = o->n_out, .x = xs, .y = out, .attr = attr};
  frt_status status = wrong(p, frt__check_attrs(o->op, o->n_attr, attr));
  status = status == FRT_OK ? wrong(p, o->op->infer(&c)) : status;
  for (int32_t k = 0; k < o->n_out && status == FRT_OK; k++) {
    const frt_ir_val *v = &ir->value[o->out[k]];
    frt_shape said = frt__ir_shape(v, n);
    status = wrong(p, frt__check_size(o->op->name, &out[k]));
    if (status == FRT_OK && (said.dtype != out[k].dtype || !frt__shape_equal(&said, &out[k]))) {
      status = bad(p, "%s gives %s %s with N = %d, the text says %s %s", o->op->name,
                   frt__dtype_name(out[k].dtype), frt__shape_text(&out[k]), (int)n,
                   frt__dtype_name(said.dtype), frt__ir_shape_text(v));
    }
  }
  frt__free(room);
  return status;
}

static frt_status inputs(parser *p, const frt_op *op)
{
  p->n_list = 0;
  NEED(next(p, '('), "'(' is expected after '%s'", op->name);
  while (!next(p, ')')) {
    int32_t v = -1;
    NEED(p->n_list == 0 || next(p, ','), "%s: a comma is expected between inputs", op->name);
    if (!next(p, '-')) {
      FRT_TRY(value(p, &v));
    }
    FRT_TRY(frt__grow(&p->list, &p->cap_list, p->n_list + 1, sizeof *p->list));
    p->list[p->n_list++] = v;
  }
  int32_t n = p->n_list;
  NEED(op->n_in < 0 ? n > 0 : n == op->n_in, "%s takes %d inputs, got %d", op->name,
       FRT_MAX(op->n_in, 1), n);
  for (int32_t i = 0; i < n; i++) {
    NEED(p->list[i] >= 0 || (op->n_in > 0 && i >= op->n_in - op->n_optional),
         "%s: input %d is missing", op->name, i + 1);
  }
  return FRT_OK;
}

static frt_status origin(parser *p, frt_ir_op *o)
{
  int64_t number;
  while (!ends(p)) {
    word(p);
    if (is(p, "in")) {
      FRT_TRY(quoted(p, "a module's path"));
      FRT_TRY(frt__ir_copy(p->ir, p->name, strlen(p->name), &o->scope));
    } else if (is(p, "at")) {
      FRT_TRY(quoted(p, "a file's name"));
      FRT_TRY(frt__ir_copy(p->ir, p->name, strlen(p->name), &o->source));
      NEED(next(p, ':'), "':' and a line are expected after the file's name");
      FRT_TRY(whole(p, 0, INT32_MAX, "a line", &number));
      o->line = (int32_t)number;
    } else if (is(p, "stage")) {
      bool minus = next(p, '-');
      blanks(p);
      FRT_TRY(whole(p, 1, INT32_MAX, "a stage", &number));
      o->stage = minus ? FRT_BACKWARD : (int32_t)number;
    } else {
      return bad(p, "%s: 'in', 'at' or 'stage' is expected, got '%s'", o->op->name, p->name);
    }
  }
  return FRT_OK;
}

// %6, %7 = op(%1, -) attr=1,2 : f32 [..], f32 [..] in "scope" at "recipe.lua":17
static frt_status node(parser *p)
{
  int32_t n_out = 0, n_attr = 0, at;
  do {
    FRT_TRY(fresh(p, n_out++));
    NEED(n_out < FRT_OUT_VAR, "at most %d results of a node", FRT_OUT_VAR - 1);
  } while (next(p, ','));
  NEED(next(p, '='), "'=' is expected");
  word(p);
  const frt_op *op = op_named(p->name);
  NEED(op && !(op->flags & FRT_FUSED), "there is no op '%s'", p->name); // the planner's
  NEED(!(op->flags & FRT_UPDATE), "%s is an optimizer's step: a graph's text holds none", op->name);
  NEED(n_out == op->n_out, "%s has %d results, the text says %d", op->name, op->n_out, n_out);
  FRT_TRY(inputs(p, op));
  for (int32_t i = 0; i < op->n_attr; i++) {
    n_attr += FRT_MAX(op->attr[i].n, 1);
  }
  FRT_TRY(wrong(p, frt__ir_node_new(p->ir, op, p->n_list, n_out, n_attr, &at)));
  memcpy(p->ir->node[at].in, p->list, sizeof *p->list * (size_t)p->n_list);
  FRT_TRY(attributes(p, &p->ir->node[at]));
  for (int32_t k = 0; k < n_out; k++) {
    frt_ir_val v = {.kind = FRT_IR_MADE, .node = at, .out = k};
    NEED(k == 0 || next(p, ','), "%s: the shapes of %d results are expected", op->name, n_out);
    FRT_TRY(shape(p, &v));
    FRT_TRY(add(p, &v, &p->ir->node[at].out[k]));
  }
  FRT_TRY(origin(p, &p->ir->node[at]));
  FRT_TRY(check_at(p, &p->ir->node[at], 1));
  return check_at(p, &p->ir->node[at], 2);
}

static frt_status line(parser *p, bool *done)
{
  static const char *const leaves[] = {"input", "variable", "constant"};
  static const int32_t kinds[] = {FRT_IR_INPUT, FRT_IR_VARIABLE, FRT_IR_CONSTANT};
  blanks(p);
  if (p->at < p->end && *p->at == '%') {
    return node(p);
  }
  word(p);
  for (int32_t i = 0; i < FRT_COUNT(leaves); i++) {
    if (is(p, leaves[i])) {
      return leaf(p, kinds[i]);
    }
  }
  if (is(p, "scalar")) {
    return scalar(p);
  }
  if (is(p, "output")) {
    return output(p);
  }
  *done = is(p, "end");
  NEED(*done,
       "a line begins with input, variable, constant, scalar, output, end or a value, got "
       "'%s'",
       p->name);
  return FRT_OK;
}

static frt_status check_whole(parser *p)
{
  const frt_ir *ir = p->ir;
  bool batch = false;
  NEED(ir->n_output > 0, "the graph has no output");
  for (int32_t i = 0; i < ir->n_value; i++) {
    batch |= ir->value[i].kind == FRT_IR_INPUT && ir->value[i].per;
  }
  NEED(batch || !ir->symbolic, "no input goes with the batch, but other values do");
  return FRT_OK;
}

static frt_status parse(parser *p)
{
  static const char first[] = "foodrt graph ";
  size_t n = sizeof first - 1;
  bool done = false;
  p->line = 1;
  NEED(p->end - p->at <= MAX_BYTES, "a graph's text has at most %d bytes", MAX_BYTES);
  NEED((size_t)(p->end - p->at) > n && memcmp(p->at, first, n) == 0,
       "is no graph: it must begin with 'foodrt graph 1'");
  p->at += n;
  int64_t version;
  FRT_TRY(whole(p, 0, 999999, "the version", &version));
  NEED(version == 1, "the graph is of form %lld, this foodrt reads form 1", (long long)version);
  NEED(ends(p), "something stands behind the version");
  while (!done) {
    NEED(p->at < p->end, "the text breaks off: 'end' is missing");
    p->at++; // the line's end
    p->line++;
    NEED(p->at < p->end, "the text breaks off: 'end' is missing");
    if (!ends(p)) {
      FRT_TRY(line(p, &done));
      NEED(ends(p), "something stands behind what is expected here");
    }
  }
  return check_whole(p);
}

frt_status frt_ir_parse(const char *text, uint64_t bytes, const char *where, frt_ir **out)
{
  parser p = {.at = text, .end = text + bytes, .where = where && *where ? where : "graph"};
  *out = NULL;
  locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0), before;
  FRT_CHECK(c != (locale_t)0, FRT_ENOMEM, "out of memory: a graph");
  before = uselocale(c);
  frt_status status = frt__ir_new(&p.ir);
  status = status == FRT_OK ? parse(&p) : status;
  uselocale(before);
  freelocale(c);
  frt__free(p.list);
  if (status != FRT_OK) {
    frt_ir_free(p.ir);
    return status;
  }
  *out = p.ir;
  return FRT_OK;
}
