// pickle.c -- the pickle machine: a stack, a memo, boxes for containers. Nothing is ever called.
// Memory is bounded by what the file holds, and by a limit.
#include "io/pickle.h"

enum { MAX_PICKLE = 64 << 20, MAX_ITEMS = 1 << 21, MAX_LONG = 255, READ = 1 << 16 };

frt_status frt__pk_damaged(const frt_pickle *p, const char *what)
{
  return frt_error_set(FRT_EDATA, "'%s': the pickle is damaged at byte %llu: %s", p->path,
                       (unsigned long long)(p->begin + p->at), what);
}

// --- bytes
// Makes sure that `n` more bytes have been read.
static frt_status need(frt_pickle *p, uint64_t n)
{
  if (p->have - p->at >= n) {
    return FRT_OK;
  }
  uint64_t size = p->end - p->begin;
  FRT_PK_NEED(n <= size - p->at, "the file is cut short");
  FRT_CHECK(p->at + n <= MAX_PICKLE, FRT_EDATA, "'%s': a pickle of more than %d MiB", p->path,
            MAX_PICKLE >> 20);
  uint64_t want = FRT_MIN(FRT_MAX(p->at + n, p->have * 2 + READ), size);
  char *text = frt__realloc(p->text, (size_t)want);
  FRT_CHECK(text, FRT_ENOMEM, "'%s': out of memory", p->path);
  p->text = text;
  p->cap = want;
  FRT_TRY(
    frt__file_pread(p->fd, p->path, text + p->have, (size_t)(want - p->have), p->begin + p->have));
  p->have = want;
  return FRT_OK;
}

// A little-endian whole number of `n` bytes.
static frt_status number(frt_pickle *p, int n, uint64_t *out)
{
  FRT_TRY(need(p, (uint64_t)n));
  *out = 0;
  for (int i = n - 1; i >= 0; i--) {
    *out = *out << 8 | (unsigned char)p->text[p->at + (uint64_t)i];
  }
  p->at += (uint64_t)n;
  return FRT_OK;
}

// --- stack and boxes
frt_status frt__pk_push(frt_pickle *p, frt_pk_value v)
{
  FRT_CHECK(++p->n_items <= MAX_ITEMS, FRT_EDATA, "'%s': the pickle holds too much to be weights",
            p->path);
  FRT_TRY(frt__grow(&p->stack, &p->cap_stack, p->n_stack + 1, sizeof *p->stack));
  p->stack[p->n_stack++] = v;
  return FRT_OK;
}

static frt_status push_int(frt_pickle *p, int32_t kind, int64_t i)
{
  return frt__pk_push(p, (frt_pk_value){.kind = kind, .i = i});
}

static frt_status push_text(frt_pickle *p, int32_t kind, uint64_t n)
{
  FRT_TRY(need(p, n));
  frt_pk_value v = {
    .kind = kind, .text = {(uint32_t)p->at, (uint32_t)n}
  };
  p->at += n;
  return frt__pk_push(p, v);
}

frt_status frt__pk_pop(frt_pickle *p, frt_pk_value *out)
{
  FRT_PK_NEED(p->n_stack > 0, "nothing on the stack");
  *out = p->stack[--p->n_stack];
  return FRT_OK;
}

static frt_status top(frt_pickle *p, int32_t below, frt_pk_value **out)
{
  FRT_PK_NEED(p->n_stack > below, "nothing on the stack");
  *out = &p->stack[p->n_stack - 1 - below];
  return FRT_OK;
}

// Index of the first value above the last mark.
static frt_status above_mark(frt_pickle *p, int32_t *out)
{
  int32_t i = p->n_stack;
  while (i > 0 && p->stack[i - 1].kind != FRT_PK_MARK) {
    i--;
  }
  FRT_PK_NEED(i > 0, "no mark");
  *out = i;
  return FRT_OK;
}

// Most boxes hold two or three values: they get no more room than they need.
static frt_status make_room(frt_pickle *p, frt_pk_box *b, int32_t n)
{
  if (n <= b->cap) {
    return FRT_OK;
  }
  int32_t cap = FRT_MAX(n, b->cap * 2);
  frt_pk_value *item = frt__realloc(b->item, sizeof *item * (size_t)cap);
  FRT_CHECK(item, FRT_ENOMEM, "'%s': out of memory", p->path);
  b->item = item;
  b->cap = cap;
  return FRT_OK;
}

frt_status frt__pk_extend(frt_pickle *p, int32_t box, const frt_pk_value *from, int32_t n)
{
  frt_pk_box *b = &p->box[box];
  p->n_items += n;
  FRT_CHECK(p->n_items <= MAX_ITEMS, FRT_EDATA, "'%s': the pickle holds too much to be weights",
            p->path);
  for (int32_t i = 0; i < n; i++) {
    FRT_PK_NEED(from[i].kind != FRT_PK_MARK, "a mark where a value should be");
  }
  FRT_TRY(make_room(p, b, b->n + n));
  if (n > 0) {
    memcpy(b->item + b->n, from, sizeof *from * (size_t)n);
  }
  b->n += n;
  return FRT_OK;
}

// Takes the `n` uppermost values into a new container and pushes it; `drop` more go with them.
frt_status frt__pk_collect(frt_pickle *p, int32_t kind, int32_t n, int32_t drop)
{
  FRT_PK_NEED(n + drop <= p->n_stack, "nothing on the stack");
  FRT_PK_NEED(kind != FRT_PK_DICT || n % 2 == 0, "a key without a value");
  FRT_TRY(frt__grow(&p->box, &p->cap_box, p->n_box + 1, sizeof *p->box));
  int32_t at = p->n_box++;
  p->box[at] = (frt_pk_box){0};
  FRT_TRY(frt__pk_extend(p, at, p->stack + p->n_stack - n, n));
  p->n_stack -= n + drop;
  return frt__pk_push(p, (frt_pk_value){.kind = kind, .at = at});
}

static frt_status collect_marked(frt_pickle *p, int32_t kind)
{
  int32_t first;
  FRT_TRY(above_mark(p, &first));
  return frt__pk_collect(p, kind, p->n_stack - first, 1);
}

// Adds values [first, top) to the container that lies `below` them.
static frt_status add(frt_pickle *p, int32_t kind, int32_t first, int32_t mark)
{
  int32_t n = p->n_stack - first;
  FRT_PK_NEED(first - mark >= 1, "nothing to add to");
  frt_pk_value *to = &p->stack[first - mark - 1];
  if (to->kind == FRT_PK_FOREIGN) { // items of somebody's list or dict
    p->n_stack = first - mark;
    return FRT_OK;
  }
  FRT_PK_NEED(to->kind == kind, kind == FRT_PK_DICT ? "not a dict" : "not a list");
  FRT_PK_NEED(kind != FRT_PK_DICT || n % 2 == 0, "a key without a value");
  FRT_TRY(frt__pk_extend(p, to->at, p->stack + first, n));
  p->n_stack = first - mark;
  return FRT_OK;
}

static frt_status add_marked(frt_pickle *p, int32_t kind)
{
  int32_t first;
  FRT_TRY(above_mark(p, &first));
  return add(p, kind, first, 1);
}

static frt_status remember(frt_pickle *p, uint64_t at)
{
  frt_pk_value *v;
  FRT_TRY(top(p, 0, &v));
  FRT_PK_NEED(v->kind != FRT_PK_MARK, "a mark where a value should be");
  frt_pk_value copy = *v;
  // Memos are numbered as they come; a number far beyond them would only cost memory.
  FRT_PK_NEED(at <= (uint64_t)p->n_memo + 4096, "a memo number out of order");
  FRT_TRY(frt__grow(&p->memo, &p->cap_memo, (int32_t)at + 1, sizeof *p->memo));
  while (p->n_memo <= (int32_t)at) {
    p->memo[p->n_memo++] = (frt_pk_value){.kind = FRT_PK_MARK};
  }
  p->memo[at] = copy;
  return FRT_OK;
}

static frt_status recall(frt_pickle *p, uint64_t at)
{
  FRT_PK_NEED(at < (uint64_t)p->n_memo && p->memo[at].kind != FRT_PK_MARK,
              "a memo that was never set");
  return frt__pk_push(p, p->memo[at]);
}

static frt_status read_line(frt_pickle *p, uint64_t *start, int *n)
{
  *start = p->at;
  for (;;) {
    FRT_TRY(need(p, 1));
    if (p->text[p->at++] == '\n') {
      break;
    }
    FRT_PK_NEED(p->at - *start < 1000, "a name without an end");
  }
  *n = (int)(p->at - *start) - 1;
  return FRT_OK;
}

static frt_status global(frt_pickle *p)
{
  uint64_t module, name;
  int module_n, name_n;
  FRT_TRY(read_line(p, &module, &module_n));
  FRT_TRY(read_line(p, &name, &name_n));
  return frt__pk_push_global(p, p->text + module, module_n, p->text + name, name_n);
}

static frt_status stack_global(frt_pickle *p)
{
  frt_pk_value name, module;
  FRT_TRY(frt__pk_pop(p, &name));
  FRT_TRY(frt__pk_pop(p, &module));
  FRT_PK_NEED(name.kind == FRT_PK_TEXT && module.kind == FRT_PK_TEXT, "a name must be text");
  return frt__pk_push_global(
    p, p->text + module.text.start, (int)FRT_MIN(module.text.length, (uint32_t)1000),
    p->text + name.text.start, (int)FRT_MIN(name.text.length, (uint32_t)1000));
}

// What OrderedDicts carry besides their items (the versions of modules) is not needed.
static frt_status build(frt_pickle *p)
{
  frt_pk_value state, *object;
  FRT_TRY(frt__pk_pop(p, &state));
  FRT_TRY(top(p, 0, &object));
  FRT_PK_NEED(object->kind == FRT_PK_DICT || object->kind == FRT_PK_FOREIGN,
              "attributes of what has none");
  return FRT_OK;
}

static frt_status push_long(frt_pickle *p, uint64_t n)
{
  FRT_PK_NEED(n <= MAX_LONG, "a number of too many digits");
  FRT_TRY(need(p, n));
  if (n > 8) {
    return push_text(p, FRT_PK_BIG, n);
  }
  uint64_t v = 0;
  bool negative = n > 0 && (p->text[p->at + n - 1] & 0x80);
  for (uint64_t i = 0; i < 8; i++) {
    uint64_t byte = i < n ? (unsigned char)p->text[p->at + i] : negative ? 255 : 0;
    v |= byte << 8 * i;
  }
  p->at += n;
  return push_int(p, FRT_PK_INT, (int64_t)v);
}

static frt_status push_float(frt_pickle *p)
{
  FRT_TRY(need(p, 8));
  uint64_t v = 0;
  for (int i = 0; i < 8; i++) {
    v = v << 8 | (unsigned char)p->text[p->at++];
  }
  frt_pk_value value = {.kind = FRT_PK_FLOAT};
  memcpy(&value.d, &v, sizeof v);
  return frt__pk_push(p, value);
}

// Opcodes that are followed by a number: how many bytes it has, 0 for the others.
static int argument_bytes(unsigned char op)
{
  switch (op) {
  case 0x80: // protocol
  case 'K':
  case 'q':
  case 'h':
  case 'U':
  case 'C':
  case 0x8a:
  case 0x8c:
    return 1;
  case 'M':
    return 2;
  case 'J':
  case 'X':
  case 'T':
  case 'B':
  case 'r':
  case 'j':
  case 0x8b:
    return 4;
  case 0x8d:
  case 0x8e:
  case 0x96: // bytes that may change
  case 0x95: // frame
    return 8;
  default:
    return 0;
  }
}

static frt_status step_with_number(frt_pickle *p, unsigned char op, uint64_t n)
{
  switch (op) {
  case 0x80:
    FRT_PK_NEED(n >= 2 && n <= 5, "a pickle of another protocol than 2 to 5");
    return FRT_OK;
  case 0x95:
    return FRT_OK;
  case 'K':
  case 'M':
    return push_int(p, FRT_PK_INT, (int64_t)n);
  case 'J':
    return push_int(p, FRT_PK_INT, (int32_t)(uint32_t)n);
  case 'q':
  case 'r':
    return remember(p, n);
  case 'h':
  case 'j':
    return recall(p, n);
  case 0x8a:
  case 0x8b:
    return push_long(p, n);
  default: // text and bytes
    return push_text(p, FRT_PK_TEXT, n);
  }
}

static frt_status unknown(const frt_pickle *p, unsigned char op)
{
  return frt_error_set(FRT_EDATA,
                       "'%s': the pickle uses operation 0x%02x at byte %llu, which "
                       "weights don't need",
                       p->path, op, (unsigned long long)(p->begin + p->at - 1));
}

static frt_status step(frt_pickle *p, unsigned char op)
{
  frt_pk_value v, *at;
  int32_t first;
  switch (op) {
  case '(':
    return push_int(p, FRT_PK_MARK, 0);
  case 'N':
    return push_int(p, FRT_PK_NONE, 0);
  case 0x88:
  case 0x89:
    return push_int(p, FRT_PK_BOOL, op == 0x88);
  case 'G':
    return push_float(p);
  case '0':
    return frt__pk_pop(p, &v);
  case '1':
    FRT_TRY(above_mark(p, &first));
    p->n_stack = first - 1;
    return FRT_OK;
  case '2':
    FRT_TRY(top(p, 0, &at));
    return frt__pk_push(p, *at);
  case ')':
    return frt__pk_collect(p, FRT_PK_TUPLE, 0, 0);
  case ']':
  case 0x8f: // a set reads as a list
    return frt__pk_collect(p, FRT_PK_LIST, 0, 0);
  case '}':
    return frt__pk_collect(p, FRT_PK_DICT, 0, 0);
  case 't':
    return collect_marked(p, FRT_PK_TUPLE);
  case 'l':
    return collect_marked(p, FRT_PK_LIST);
  case 'd':
    return collect_marked(p, FRT_PK_DICT);
  case 0x85:
  case 0x86:
  case 0x87:
    return frt__pk_collect(p, FRT_PK_TUPLE, op - 0x84, 0);
  case 'a':
    return add(p, FRT_PK_LIST, p->n_stack - 1, 0);
  case 's':
    return add(p, FRT_PK_DICT, p->n_stack - 2, 0);
  case 'e':
  case 0x90:
    return add_marked(p, FRT_PK_LIST);
  case 0x91: // FROZENSET
    return collect_marked(p, FRT_PK_LIST);
  case 'u':
    return add_marked(p, FRT_PK_DICT);
  case 'c':
    return global(p);
  case 0x93:
    return stack_global(p);
  case 'R':
    return frt__pk_reduce(p);
  case 0x81: // NEWOBJ: class, arguments
  case 0x92: // NEWOBJ_EX: class, arguments, named arguments
    FRT_TRY(top(p, op == 0x81 ? 1 : 2, &at));
    return at->kind == FRT_PK_FOREIGN ? frt__pk_object(p, op == 0x81 ? 2 : 3) : unknown(p, op);
  case 'b':
    return build(p);
  case 'Q':
    return frt__pk_persistent(p);
  case 0x94:
    return remember(p, (uint64_t)p->n_memo);
  default:
    return unknown(p, op);
  }
}

frt_status frt__pk_read(frt_pickle *p, frt_pk_value *out)
{
  p->n_stack = p->n_memo = 0;
  FRT_TRY(frt__grow(&p->stack, &p->cap_stack, 1, sizeof *p->stack)); // there even while it is empty
  for (;;) {
    FRT_TRY(need(p, 1));
    unsigned char op = (unsigned char)p->text[p->at++];
    int n = argument_bytes(op);
    if (op == '.') {
      break;
    }
    if (n > 0) {
      uint64_t argument;
      FRT_TRY(number(p, n, &argument));
      FRT_TRY(step_with_number(p, op, argument));
    } else {
      FRT_TRY(step(p, op));
    }
  }
  FRT_TRY(frt__pk_pop(p, out));
  FRT_PK_NEED(p->n_stack == 0 && out->kind != FRT_PK_MARK, "it ends with values left over");
  return FRT_OK;
}

bool frt__pk_is_text(const frt_pickle *p, const frt_pk_value *v, const char *text)
{
  return v->kind == FRT_PK_TEXT && v->text.length == strlen(text) &&
         memcmp(p->text + v->text.start, text, v->text.length) == 0;
}

void frt__pk_free(frt_pickle *p)
{
  for (int32_t i = 0; i < p->n_box; i++) {
    frt__free(p->box[i].item);
  }
  for (int32_t i = 0; i < p->n_foreign; i++) {
    frt__free(p->foreign[i]);
  }
  frt__free(p->foreign);
  frt__free(p->text);
  frt__free(p->stack);
  frt__free(p->memo);
  frt__free(p->box);
  frt__free(p->storage);
  frt__free(p->tensor);
  *p = (frt_pickle){0};
}
