// pickle_names.c -- what the names in a pickle stand for: some, looked up in a list. A "call" makes
// a container, a tensor or a storage of this reader. Other names (a trainer's arguments, numpy's
// numbers) are objects of which nothing is known: they are passed over with all that belongs to
// them. Nothing runs; a name that would run something ends the reading.
#include <stdio.h>

#include "io/pickle.h"
#include "io/safetensors.h"

enum { MAX_FOREIGN = 4096 };

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
  {"torch.ComplexFloatStorage",       STORAGE,           "C64" },
  {"torch.ComplexDoubleStorage",      STORAGE,           "C128"},
};

// Modules (and some of their names) of which weights need nothing and attackers all.
static const char refused[] =
  " os posix nt sys subprocess pickle cPickle _pickle dill cloudpickle marshal runpy importlib imp"
  " operator _operator ctypes socket shutil code codeop pty commands asyncio threading signal pdb"
  " bdb timeit trace profile cProfile doctest site pip zipimport pkgutil inspect gc atexit tempfile"
  " webbrowser urllib http requests smtplib ftplib telnetlib xmlrpc torch.hub torch.jit torch.load"
  " torch.serialization torch.storage._load_from_bytes types.CodeType types.FunctionType ";
// Builtins that harm nobody; enums are pickled by getattr.
static const char harmless[] = " set frozenset slice complex range xrange bytearray bytes list "
                               "dict tuple int float str bool long"
                               " unicode object type getattr Ellipsis NotImplemented ";

static bool listed(const char *list, const char *word, size_t n)
{
  for (const char *at = strstr(list, " "); at; at = strstr(at + 1, " ")) {
    if (strncmp(at + 1, word, n) == 0 && at[1 + n] == ' ') {
      return true;
    }
  }
  return false;
}

static bool runs_something(const char *full)
{
  static const char *const builtins[] = {"builtins.", "__builtin__."};
  for (int32_t i = 0; i < FRT_COUNT(builtins); i++) {
    size_t n = strlen(builtins[i]);
    if (strncmp(full, builtins[i], n) == 0) {
      return !listed(harmless, full + n, strlen(full + n));
    }
  }
  bool main = strncmp(full, "__main__.", 9) == 0 || strncmp(full, "__mp_main__.", 12) == 0;
  if ((strncmp(full, "__", 2) == 0 && !main) || strstr(full, ".__")) {
    return true; // attributes of the language itself
  }
  for (size_t n = 1; full[n - 1]; n++) {
    if ((full[n] == '.' || full[n] == 0) && listed(refused, full, n)) {
      return true;
    }
  }
  return false;
}

static frt_status push_foreign(frt_pickle *p, const char *full)
{
  int32_t at = 0;
  while (at < p->n_foreign && strcmp(p->foreign[at], full) != 0) {
    at++;
  }
  if (at == p->n_foreign) {
    FRT_CHECK(at < MAX_FOREIGN, FRT_EDATA, "'%s': the pickle holds too much to be weights",
              p->path);
    FRT_TRY(frt__grow(&p->foreign, &p->cap_foreign, at + 1, sizeof *p->foreign));
    p->foreign[at] = frt__strdup(full);
    FRT_CHECK(p->foreign[at], FRT_ENOMEM, "'%s': out of memory", p->path);
    p->n_foreign++;
  }
  return frt__pk_push(p, (frt_pk_value){.kind = FRT_PK_FOREIGN, .at = at});
}

frt_status frt__pk_push_global(frt_pickle *p, const char *module, int module_n, const char *name,
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
      return frt__pk_push(p, (frt_pk_value){.kind = FRT_PK_GLOBAL, .at = what});
    }
  }
  if (runs_something(full)) {
    return frt_error_set(FRT_EDATA,
                         "'%s': holds '%s', which is neither a tensor nor a plain container; "
                         "nothing of the file was used (save the state_dict alone)",
                         p->path, full);
  }
  return push_foreign(p, full);
}

// A tuple of whole numbers from 0.
static frt_status sizes(frt_pickle *p, const frt_pk_value *v, uint64_t *out, int32_t *n)
{
  FRT_PK_NEED(v->kind == FRT_PK_TUPLE || v->kind == FRT_PK_LIST, "a shape must be a tuple");
  const frt_pk_box *b = &p->box[v->at];
  FRT_PK_NEED(b->n <= 8, "more than 8 dimensions");
  for (int32_t i = 0; i < b->n; i++) {
    FRT_PK_NEED(b->item[i].kind == FRT_PK_INT && b->item[i].i >= 0,
                "a size must be a number from 0");
    out[i] = (uint64_t)b->item[i].i;
  }
  *n = b->n;
  return FRT_OK;
}

// (storage, offset, size, stride, ...)
static frt_status rebuild_tensor(frt_pickle *p, const frt_pk_box *args, frt_pk_value *out)
{
  FRT_PK_NEED(args->n >= 4 && args->item[0].kind == FRT_PK_STORAGE &&
                args->item[1].kind == FRT_PK_INT && args->item[1].i >= 0,
              "a tensor needs a storage, an offset, a size and strides");
  frt_pk_tensor t = {.storage = args->item[0].at, .first = (uint64_t)args->item[1].i};
  int32_t n_stride;
  FRT_TRY(sizes(p, &args->item[2], t.dim, &t.ndim));
  FRT_TRY(sizes(p, &args->item[3], t.stride, &n_stride));
  FRT_PK_NEED(n_stride == t.ndim, "a tensor needs as many strides as sizes");
  FRT_TRY(frt__grow(&p->tensor, &p->cap_tensor, p->n_tensor + 1, sizeof *p->tensor));
  p->tensor[p->n_tensor] = t;
  *out = (frt_pk_value){.kind = FRT_PK_TENSOR, .at = p->n_tensor++};
  return FRT_OK;
}

// OrderedDict() or OrderedDict([(key, value), ...])
static frt_status make_dict(frt_pickle *p, const frt_pk_box *args, frt_pk_value *out)
{
  FRT_PK_NEED(args->n <= 1, "an OrderedDict of more than one argument");
  frt_pk_value list = args->n == 1 ? args->item[0] : (frt_pk_value){.kind = FRT_PK_NONE};
  FRT_TRY(frt__pk_collect(p, FRT_PK_DICT, 0, 0));
  FRT_TRY(frt__pk_pop(p, out));
  if (list.kind == FRT_PK_NONE) {
    return FRT_OK;
  }
  FRT_PK_NEED(list.kind == FRT_PK_LIST || list.kind == FRT_PK_TUPLE, "an OrderedDict of no list");
  for (int32_t i = 0; i < p->box[list.at].n; i++) {
    frt_pk_value pair = p->box[list.at].item[i];
    FRT_PK_NEED((pair.kind == FRT_PK_LIST || pair.kind == FRT_PK_TUPLE) && p->box[pair.at].n == 2,
                "an OrderedDict of no pairs");
    FRT_TRY(frt__pk_extend(p, out->at, p->box[pair.at].item, 2));
  }
  return FRT_OK;
}

frt_status frt__pk_reduce(frt_pickle *p)
{
  frt_pk_value arguments, what, made;
  FRT_TRY(frt__pk_pop(p, &arguments));
  FRT_TRY(frt__pk_pop(p, &what));
  if (what.kind == FRT_PK_FOREIGN) {
    return frt__pk_push(p, what);
  }
  FRT_PK_NEED(arguments.kind == FRT_PK_TUPLE && what.kind == FRT_PK_GLOBAL,
              "a call of no known name");
  frt_pk_box args = p->box[arguments.at]; // its items stay where they are
  for (int32_t i = 0; i < FRT_MIN(args.n, 4) && what.at != ORDERED_DICT; i++) {
    if (args.item[i].kind == FRT_PK_FOREIGN) { // made of what was passed over: so is this
      return frt__pk_push(p, args.item[i]);
    }
  }
  switch (what.at) {
  case ORDERED_DICT:
    FRT_TRY(make_dict(p, &args, &made));
    break;
  case REBUILD_TENSOR:
    FRT_TRY(rebuild_tensor(p, &args, &made));
    break;
  case REBUILD_PARAMETER:
    FRT_PK_NEED(args.n >= 1 && args.item[0].kind == FRT_PK_TENSOR, "a parameter must be a tensor");
    made = args.item[0];
    break;
  case SIZE:
    FRT_PK_NEED(args.n == 1 && args.item[0].kind == FRT_PK_TUPLE, "a torch.Size of no tuple");
    made = args.item[0];
    break;
  default:
    return frt__pk_damaged(p, "a storage can't be made by a call");
  }
  return frt__pk_push(p, made);
}

frt_status frt__pk_object(frt_pickle *p, int32_t n)
{
  frt_pk_value what = {.kind = FRT_PK_NONE};
  for (int32_t i = 0; i < n; i++) {
    FRT_TRY(frt__pk_pop(p, &what));
    FRT_PK_NEED(what.kind != FRT_PK_MARK, "a mark where a value should be");
  }
  return frt__pk_push(p, what);
}

// ("storage", type, key, device, elements [, view: (key, first, elements)])
frt_status frt__pk_persistent(frt_pickle *p)
{
  frt_pk_value v;
  FRT_TRY(frt__pk_pop(p, &v));
  FRT_PK_NEED(v.kind == FRT_PK_TUPLE, "a persistent id must be a tuple");
  const frt_pk_box *b = &p->box[v.at];
  if (b->n > 1 &&
      b->item[1].kind == FRT_PK_FOREIGN) { // a module, or numbers of a type that is not read
    return frt__pk_push(p, b->item[1]);
  }
  FRT_PK_NEED(b->n >= 5 && frt__pk_is_text(p, &b->item[0], "storage"),
              "a persistent id of no storage");
  FRT_PK_NEED(b->item[1].kind == FRT_PK_GLOBAL && b->item[1].at >= STORAGE,
              "a storage of unknown type");
  FRT_PK_NEED(b->item[2].kind == FRT_PK_TEXT, "a storage's key must be text");
  FRT_PK_NEED(b->item[4].kind == FRT_PK_INT && b->item[4].i >= 0,
              "a storage's size must be a number");
  frt_pk_storage s = {.key = b->item[2].text.start,
                      .key_length = b->item[2].text.length,
                      .type = b->item[1].at - STORAGE,
                      .n = (uint64_t)b->item[4].i};
  if (b->n > 5 && b->item[5].kind == FRT_PK_TUPLE) {
    const frt_pk_box *view = &p->box[b->item[5].at];
    FRT_PK_NEED(view->n == 3 && view->item[1].kind == FRT_PK_INT && view->item[1].i >= 0 &&
                  view->item[2].kind == FRT_PK_INT && view->item[2].i >= 0 &&
                  (uint64_t)view->item[1].i + (uint64_t)view->item[2].i <= s.n,
                "a view outside its storage");
    s.first = (uint64_t)view->item[1].i;
  }
  FRT_TRY(frt__grow(&p->storage, &p->cap_storage, p->n_storage + 1, sizeof *p->storage));
  p->storage[p->n_storage] = s;
  return frt__pk_push(p, (frt_pk_value){.kind = FRT_PK_STORAGE, .at = p->n_storage++});
}
