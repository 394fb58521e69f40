// pickle.c -- the pickle machine: a stack, a memo, boxes for containers. Names are looked up in a
// short list and nothing is ever called. Memory is bounded by what the file holds, and by a limit.
#include "io/pickle.h"

#include <stdio.h>

#include "io/safetensors.h"

enum { MAX_PICKLE = 64 << 20, MAX_ITEMS = 1 << 21, MAX_LONG = 255, READ = 1 << 16 };

typedef enum callee {
  ORDERED_DICT,
  REBUILD_TENSOR,
  REBUILD_PARAMETER,
  SIZE,
  STORAGE, // + index into frt__st_types
} callee;

static const struct {
  const char *name;
  callee what;
  const char *type;
} known[] = {
  {"collections.OrderedDict",         ORDERED_DICT,      NULL  },
  {"torch._utils._rebuild_tensor_v2", REBUILD_TENSOR,    NULL  },
  {"torch._utils._rebuild_tensor",    REBUILD_TENSOR,    NULL  },
  {"torch._utils._rebuild_parameter", REBUILD_PARAMETER, NULL  },
  {"torch.Size",                      SIZE,              NULL  },
  {"torch.FloatStorage",              STORAGE,           "F32" },
  {"torch.DoubleStorage",             STORAGE,           "F64" },
  {"torch.HalfStorage",               STORAGE,           "F16" },
  {"torch.BFloat16Storage",           STORAGE,           "BF16"},
  {"torch.LongStorage",               STORAGE,           "I64" },
  {"torch.IntStorage",                STORAGE,           "I32" },
  {"torch.ShortStorage",              STORAGE,           "I16" },
  {"torch.CharStorage",               STORAGE,           "I8"  },
  {"torch.ByteStorage",               STORAGE,           "U8"  },
  {"torch.BoolStorage",               STORAGE,           "BOOL"},
};

static frt_status damaged(const frt_pickle *p, const char *what)
{
  return frt_error_set(FRT_EDATA, "'%s': the pickle is damaged at byte %llu: %s", p->path,
                       (unsigned long long)(p->begin + p->at), what);
}

#define NEED(cond, what)                                                                           \
  do {                                                                                             \
    if (!(cond)) {                                                                                 \
      damaged(p, what);                                                                            \
      return FRT_EDATA; /* a constant: the compiler sees that this is not FRT_OK */                \
    }                                                                                              \
  } while (0)

// --- bytes
// Makes sure that `n` more bytes have been read.
static frt_status need(frt_pickle *p, uint64_t n)
{
  if (p->have - p->at >= n) {
    return FRT_OK;
  }
  uint64_t size = p->end - p->begin;
  NEED(n <= size - p->at, "the file is cut short");
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
static frt_status push(frt_pickle *p, frt_pk_value v)
{
  FRT_CHECK(++p->n_items <= MAX_ITEMS, FRT_EDATA, "'%s': the pickle holds too much to be weights",
            p->path);
  FRT_TRY(frt__grow(&p->stack, &p->cap_stack, p->n_stack + 1, sizeof *p->stack));
  p->stack[p->n_stack++] = v;
  return FRT_OK;
}

static frt_status push_int(frt_pickle *p, int32_t kind, int64_t i)
{
  return push(p, (frt_pk_value){.kind = kind, .i = i});
}

static frt_status push_text(frt_pickle *p, int32_t kind, uint64_t n)
{
  FRT_TRY(need(p, n));
  frt_pk_value v = {
    .kind = kind, .text = {(uint32_t)p->at, (uint32_t)n}
  };
  p->at += n;
  return push(p, v);
}

static frt_status pop(frt_pickle *p, frt_pk_value *out)
{
  NEED(p->n_stack > 0, "nothing on the stack");
  *out = p->stack[--p->n_stack];
  return FRT_OK;
}

static frt_status top(frt_pickle *p, int32_t below, frt_pk_value **out)
{
  NEED(p->n_stack > below, "nothing on the stack");
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
  NEED(i > 0, "no mark");
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

static frt_status extend(frt_pickle *p, int32_t box, const frt_pk_value *from, int32_t n)
{
  frt_pk_box *b = &p->box[box];
  p->n_items += n;
  FRT_CHECK(p->n_items <= MAX_ITEMS, FRT_EDATA, "'%s': the pickle holds too much to be weights",
            p->path);
  for (int32_t i = 0; i < n; i++) {
    NEED(from[i].kind != FRT_PK_MARK, "a mark where a value should be");
  }
  FRT_TRY(make_room(p, b, b->n + n));
  if (n > 0) {
    memcpy(b->item + b->n, from, sizeof *from * (size_t)n);
  }
  b->n += n;
  return FRT_OK;
}

// Takes the `n` uppermost values into a new container and pushes it; `drop` more go with them.
static frt_status collect(frt_pickle *p, int32_t kind, int32_t n, int32_t drop)
{
  NEED(n + drop <= p->n_stack, "nothing on the stack");
  NEED(kind != FRT_PK_DICT || n % 2 == 0, "a key without a value");
  FRT_TRY(frt__grow(&p->box, &p->cap_box, p->n_box + 1, sizeof *p->box));
  int32_t at = p->n_box++;
  p->box[at] = (frt_pk_box){0};
  FRT_TRY(extend(p, at, p->stack + p->n_stack - n, n));
  p->n_stack -= n + drop;
  return push(p, (frt_pk_value){.kind = kind, .at = at});
}

static frt_status collect_marked(frt_pickle *p, int32_t kind)
{
  int32_t first;
  FRT_TRY(above_mark(p, &first));
  return collect(p, kind, p->n_stack - first, 1);
}

// Adds values [first, top) to the container that lies `below` them.
static frt_status add(frt_pickle *p, int32_t kind, int32_t first, int32_t mark)
{
  int32_t n = p->n_stack - first;
  NEED(first - mark >= 1, "nothing to add to");
  frt_pk_value *to = &p->stack[first - mark - 1];
  NEED(to->kind == kind, kind == FRT_PK_DICT ? "not a dict" : "not a list");
  NEED(kind != FRT_PK_DICT || n % 2 == 0, "a key without a value");
  FRT_TRY(extend(p, to->at, p->stack + first, n));
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
  NEED(v->kind != FRT_PK_MARK, "a mark where a value should be");
  frt_pk_value copy = *v;
  // Memos are numbered as they come; a number far beyond them would only cost memory.
  NEED(at <= (uint64_t)p->n_memo + 4096, "a memo number out of order");
  FRT_TRY(frt__grow(&p->memo, &p->cap_memo, (int32_t)at + 1, sizeof *p->memo));
  while (p->n_memo <= (int32_t)at) {
    p->memo[p->n_memo++] = (frt_pk_value){.kind = FRT_PK_MARK};
  }
  p->memo[at] = copy;
  return FRT_OK;
}

static frt_status recall(frt_pickle *p, uint64_t at)
{
  NEED(at < (uint64_t)p->n_memo && p->memo[at].kind != FRT_PK_MARK, "a memo that was never set");
  return push(p, p->memo[at]);
}

// --- what names mean
static frt_status push_global(frt_pickle *p, const char *module, int module_n, const char *name,
                              int name_n)
{
  char full[256];
  snprintf(full, sizeof full, "%.*s.%.*s", FRT_MIN(module_n, 120), module, FRT_MIN(name_n, 120),
           name);
  for (char *c = full; *c; c++) {
    *c = *c < 0x20 || *c == 0x7f ? '?' : *c;
  }
  for (int32_t i = 0; i < FRT_COUNT(known); i++) {
    if (strcmp(full, known[i].name) == 0) {
      int32_t what = (int32_t)known[i].what;
      for (int32_t t = 0; known[i].type && t < frt__st_type_count; t++) {
        what += strcmp(frt__st_types[t].name, known[i].type) == 0 ? t : 0;
      }
      return push(p, (frt_pk_value){.kind = FRT_PK_GLOBAL, .at = what});
    }
  }
  return frt_error_set(FRT_EDATA,
                       "'%s': holds '%s', which is neither a tensor nor a plain container; nothing "
                       "of the file was used (save the state_dict alone)",
                       p->path, full);
}

static frt_status read_line(frt_pickle *p, uint64_t *start, int *n)
{
  *start = p->at;
  for (;;) {
    FRT_TRY(need(p, 1));
    if (p->text[p->at++] == '\n') {
      break;
    }
    NEED(p->at - *start < 1000, "a name without an end");
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
  return push_global(p, p->text + module, module_n, p->text + name, name_n);
}

static frt_status stack_global(frt_pickle *p)
{
  frt_pk_value name, module;
  FRT_TRY(pop(p, &name));
  FRT_TRY(pop(p, &module));
  NEED(name.kind == FRT_PK_TEXT && module.kind == FRT_PK_TEXT, "a name must be text");
  return push_global(p, p->text + module.text.start,
                     (int)FRT_MIN(module.text.length, (uint32_t)1000), p->text + name.text.start,
                     (int)FRT_MIN(name.text.length, (uint32_t)1000));
}

// A tuple of whole numbers from 0.
static frt_status sizes(frt_pickle *p, const frt_pk_value *v, uint64_t *out, int32_t *n)
{
  NEED(v->kind == FRT_PK_TUPLE || v->kind == FRT_PK_LIST, "a shape must be a tuple");
  const frt_pk_box *b = &p->box[v->at];
  NEED(b->n <= 8, "more than 8 dimensions");
  for (int32_t i = 0; i < b->n; i++) {
    NEED(b->item[i].kind == FRT_PK_INT && b->item[i].i >= 0, "a size must be a number from 0");
    out[i] = (uint64_t)b->item[i].i;
  }
  *n = b->n;
  return FRT_OK;
}

// (storage, offset, size, stride, ...)
static frt_status rebuild_tensor(frt_pickle *p, const frt_pk_box *args, frt_pk_value *out)
{
  NEED(args->n >= 4 && args->item[0].kind == FRT_PK_STORAGE && args->item[1].kind == FRT_PK_INT &&
         args->item[1].i >= 0,
       "a tensor needs a storage, an offset, a size and strides");
  frt_pk_tensor t = {.storage = args->item[0].at, .first = (uint64_t)args->item[1].i};
  int32_t n_stride;
  FRT_TRY(sizes(p, &args->item[2], t.dim, &t.ndim));
  FRT_TRY(sizes(p, &args->item[3], t.stride, &n_stride));
  NEED(n_stride == t.ndim, "a tensor needs as many strides as sizes");
  FRT_TRY(frt__grow(&p->tensor, &p->cap_tensor, p->n_tensor + 1, sizeof *p->tensor));
  p->tensor[p->n_tensor] = t;
  *out = (frt_pk_value){.kind = FRT_PK_TENSOR, .at = p->n_tensor++};
  return FRT_OK;
}

// OrderedDict() or OrderedDict([(key, value), ...])
static frt_status make_dict(frt_pickle *p, const frt_pk_box *args, frt_pk_value *out)
{
  NEED(args->n <= 1, "an OrderedDict of more than one argument");
  frt_pk_value list = args->n == 1 ? args->item[0] : (frt_pk_value){.kind = FRT_PK_NONE};
  FRT_TRY(collect(p, FRT_PK_DICT, 0, 0));
  FRT_TRY(pop(p, out));
  if (list.kind == FRT_PK_NONE) {
    return FRT_OK;
  }
  NEED(list.kind == FRT_PK_LIST || list.kind == FRT_PK_TUPLE, "an OrderedDict of no list");
  for (int32_t i = 0; i < p->box[list.at].n; i++) {
    frt_pk_value pair = p->box[list.at].item[i];
    NEED((pair.kind == FRT_PK_LIST || pair.kind == FRT_PK_TUPLE) && p->box[pair.at].n == 2,
         "an OrderedDict of no pairs");
    FRT_TRY(extend(p, out->at, p->box[pair.at].item, 2));
  }
  return FRT_OK;
}

static frt_status reduce(frt_pickle *p)
{
  frt_pk_value arguments, what, made;
  FRT_TRY(pop(p, &arguments));
  FRT_TRY(pop(p, &what));
  NEED(arguments.kind == FRT_PK_TUPLE && what.kind == FRT_PK_GLOBAL, "a call of no known name");
  frt_pk_box args = p->box[arguments.at]; // its items stay where they are
  switch (what.at) {
  case ORDERED_DICT:
    FRT_TRY(make_dict(p, &args, &made));
    break;
  case REBUILD_TENSOR:
    FRT_TRY(rebuild_tensor(p, &args, &made));
    break;
  case REBUILD_PARAMETER:
    NEED(args.n >= 1 && args.item[0].kind == FRT_PK_TENSOR, "a parameter must be a tensor");
    made = args.item[0];
    break;
  case SIZE:
    NEED(args.n == 1 && args.item[0].kind == FRT_PK_TUPLE, "a torch.Size of no tuple");
    made = args.item[0];
    break;
  default:
    return damaged(p, "a storage can't be made by a call");
  }
  return push(p, made);
}

// ("storage", type, key, device, elements [, view: (key, first, elements)])
static frt_status persistent(frt_pickle *p)
{
  frt_pk_value v;
  FRT_TRY(pop(p, &v));
  NEED(v.kind == FRT_PK_TUPLE, "a persistent id must be a tuple");
  const frt_pk_box *b = &p->box[v.at];
  NEED(b->n >= 5 && frt__pk_is_text(p, &b->item[0], "storage"), "a persistent id of no storage");
  NEED(b->item[1].kind == FRT_PK_GLOBAL && b->item[1].at >= STORAGE, "a storage of unknown type");
  NEED(b->item[2].kind == FRT_PK_TEXT, "a storage's key must be text");
  NEED(b->item[4].kind == FRT_PK_INT && b->item[4].i >= 0, "a storage's size must be a number");
  frt_pk_storage s = {.key = b->item[2].text.start,
                      .key_length = b->item[2].text.length,
                      .type = b->item[1].at - STORAGE,
                      .n = (uint64_t)b->item[4].i};
  if (b->n > 5 && b->item[5].kind == FRT_PK_TUPLE) {
    const frt_pk_box *view = &p->box[b->item[5].at];
    NEED(view->n == 3 && view->item[1].kind == FRT_PK_INT && view->item[1].i >= 0 &&
           view->item[2].kind == FRT_PK_INT && view->item[2].i >= 0 &&
           (uint64_t)view->item[1].i + (uint64_t)view->item[2].i <= s.n,
         "a view outside its storage");
    s.first = (uint64_t)view->item[1].i;
  }
  FRT_TRY(frt__grow(&p->storage, &p->cap_storage, p->n_storage + 1, sizeof *p->storage));
  p->storage[p->n_storage] = s;
  return push(p, (frt_pk_value){.kind = FRT_PK_STORAGE, .at = p->n_storage++});
}

// What OrderedDicts carry besides their items (the versions of modules) is not needed.
static frt_status build(frt_pickle *p)
{
  frt_pk_value state, *object;
  FRT_TRY(pop(p, &state));
  FRT_TRY(top(p, 0, &object));
  NEED(object->kind == FRT_PK_DICT, "attributes of what has none");
  return FRT_OK;
}

static frt_status push_long(frt_pickle *p, uint64_t n)
{
  NEED(n <= MAX_LONG, "a number of too many digits");
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
  return push(p, value);
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
    NEED(n >= 2 && n <= 5, "a pickle of another protocol than 2 to 5");
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
    return pop(p, &v);
  case '1':
    FRT_TRY(above_mark(p, &first));
    p->n_stack = first - 1;
    return FRT_OK;
  case '2':
    FRT_TRY(top(p, 0, &at));
    return push(p, *at);
  case ')':
    return collect(p, FRT_PK_TUPLE, 0, 0);
  case ']':
  case 0x8f: // a set reads as a list
    return collect(p, FRT_PK_LIST, 0, 0);
  case '}':
    return collect(p, FRT_PK_DICT, 0, 0);
  case 't':
    return collect_marked(p, FRT_PK_TUPLE);
  case 'l':
    return collect_marked(p, FRT_PK_LIST);
  case 'd':
    return collect_marked(p, FRT_PK_DICT);
  case 0x85:
  case 0x86:
  case 0x87:
    return collect(p, FRT_PK_TUPLE, op - 0x84, 0);
  case 'a':
    return add(p, FRT_PK_LIST, p->n_stack - 1, 0);
  case 's':
    return add(p, FRT_PK_DICT, p->n_stack - 2, 0);
  case 'e':
  case 0x90:
    return add_marked(p, FRT_PK_LIST);
  case 'u':
    return add_marked(p, FRT_PK_DICT);
  case 'c':
    return global(p);
  case 0x93:
    return stack_global(p);
  case 'R':
    return reduce(p);
  case 'b':
    return build(p);
  case 'Q':
    return persistent(p);
  case 0x94:
    return remember(p, (uint64_t)p->n_memo);
  default:
    return frt_error_set(FRT_EDATA,
                         "'%s': the pickle uses operation 0x%02x at byte %llu, which "
                         "weights don't need",
                         p->path, op, (unsigned long long)(p->begin + p->at - 1));
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
  FRT_TRY(pop(p, out));
  NEED(p->n_stack == 0 && out->kind != FRT_PK_MARK, "it ends with values left over");
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
  frt__free(p->text);
  frt__free(p->stack);
  frt__free(p->memo);
  frt__free(p->box);
  frt__free(p->storage);
  frt__free(p->tensor);
  *p = (frt_pickle){0};
}
