// pth.c -- PyTorch's two containers: a zip file with one entry per storage, and the older stream of
// pickles followed by the storages. Tensors get their place in the file; nothing is copied.
#include "io/pth.h"

#include <stdio.h>
#include <stdlib.h>

#include "io/json.h"
#include "io/pickle.h"
#include "io/zip.h"

enum {
  MAX_SPANS = 64,
  MAX_NAME = 512,
  MAX_NAMES = 1 << 20,
  MAX_NAME_BYTES = 64 << 20,
  MAX_DEPTH = 32
};
static const unsigned char magic[] = {0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c,
                                      0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};

typedef struct reading {
  frt_file *f;
  uint64_t size; // of the file
  frt_pickle p;
  uint64_t total;    // bytes of all tensors
  uint64_t spans;    // bytes from the first to the last value, of all tensors
  char *names;       // of all tensors, each closed by a zero
  int32_t n, cap;    // bytes of names
  int32_t visited;   // values looked at
  const char *place; // where the weights lie, NULL: the usual places
} reading;

bool frt__pth_is(const unsigned char *head)
{
  bool pickle = head[0] == 0x80 && head[1] >= 2 && head[1] <= 5 && head[8] != '{';
  return pickle || memcmp(head, "PK\3\4", 4) == 0 || memcmp(head, "PK\5\6", 4) == 0;
}

// --- storages
static int32_t type_size(const frt_pk_storage *s)
{
  return frt__st_types[s->type].size;
}

static frt_status storage_bytes(const reading *r, const frt_pk_storage *s, uint64_t *out)
{
  FRT_CHECK(s->n <= r->size / (uint64_t)type_size(s), FRT_EDATA,
            "'%s': a storage of %llu elements is larger than the file", r->f->path,
            (unsigned long long)s->n);
  *out = s->n * (uint64_t)type_size(s);
  return FRT_OK;
}

static frt_status place_in_zip(reading *r, const char *folder)
{
  for (int32_t i = 0; i < r->p.n_storage; i++) {
    frt_pk_storage *s = &r->p.storage[i];
    char name[1024];
    uint64_t bytes;
    snprintf(name, sizeof name, "%.500sdata/%.*s", folder, (int)FRT_MIN(s->key_length, 256u),
             r->p.text + s->key);
    const frt_zip_entry *e = frt__zip_find(r->f->zip, name);
    FRT_CHECK(e, FRT_EDATA, "'%s': has no storage '%s'", r->f->path, name);
    FRT_TRY(storage_bytes(r, s, &bytes));
    FRT_CHECK(bytes == e->size, FRT_EDATA,
              "'%s': storage '%s' has %llu bytes, its tensors need "
              "%llu",
              r->f->path, name, (unsigned long long)e->size, (unsigned long long)bytes);
    s->place = e->begin;
  }
  return FRT_OK;
}

typedef struct keyed {
  const char *text;
  uint32_t length;
  int32_t storage;
} keyed;

static int by_text(const void *a, const void *b)
{
  const keyed *x = a, *y = b;
  int order = memcmp(x->text, y->text, FRT_MIN(x->length, y->length));
  return order ? order : x->length < y->length ? -1 : x->length > y->length;
}

// The storages lie one after the other as `list` names them: 8 bytes with the number of elements,
// then the elements. Every storage gets the place of the first one of its key.
static frt_status place_in_stream(reading *r, const frt_pk_box *list, const keyed *sorted)
{
  uint64_t at = r->p.begin + r->p.at;
  for (int32_t i = 0; i < list->n; i++) {
    const frt_pk_value *v = &list->item[i];
    FRT_CHECK(v->kind == FRT_PK_TEXT, FRT_EDATA, "'%s': a storage's key must be text", r->f->path);
    keyed key = {r->p.text + v->text.start, v->text.length, 0};
    const keyed *found = r->p.n_storage > 0
                           ? bsearch(&key, sorted, (size_t)r->p.n_storage, sizeof key, by_text)
                           : NULL;
    FRT_CHECK(found, FRT_EDATA, "'%s': a storage that no tensor uses", r->f->path);
    while (found > sorted && by_text(found - 1, &key) == 0) {
      found--;
    }
    unsigned char head[8];
    uint64_t n = 0, bytes;
    FRT_CHECK(r->size - at >= 8, FRT_EDATA, "'%s': the file is cut short", r->f->path);
    FRT_TRY(frt__file_pread(r->f->fd, r->f->path, head, 8, at));
    for (int k = 7; k >= 0; k--) {
      n = n << 8 | head[k];
    }
    at += 8;
    int32_t type = r->p.storage[found->storage].type;
    FRT_TRY(storage_bytes(r, &r->p.storage[found->storage], &bytes));
    FRT_CHECK(n == r->p.storage[found->storage].n, FRT_EDATA,
              "'%s': a storage has %llu elements, its tensors need %llu", r->f->path,
              (unsigned long long)n, (unsigned long long)r->p.storage[found->storage].n);
    FRT_CHECK(bytes <= r->size - at, FRT_EDATA,
              "'%s': the file is cut short: a storage needs %llu bytes, %llu are left", r->f->path,
              (unsigned long long)bytes, (unsigned long long)(r->size - at));
    for (; found < sorted + r->p.n_storage && by_text(found, &key) == 0; found++) {
      frt_pk_storage *s = &r->p.storage[found->storage];
      FRT_CHECK(s->n == n && s->type == type, FRT_EDATA, "'%s': one storage with two sizes",
                r->f->path);
      s->place = at;
    }
    at += bytes;
  }
  return FRT_OK;
}

static frt_status place_all(reading *r, const frt_pk_box *list)
{
  int32_t n = r->p.n_storage;
  keyed *sorted = frt__alloc(sizeof *sorted * (size_t)(n + 1));
  FRT_CHECK(sorted, FRT_ENOMEM, "'%s': out of memory", r->f->path);
  for (int32_t i = 0; i < n; i++) {
    const frt_pk_storage *s = &r->p.storage[i];
    sorted[i] = (keyed){r->p.text + s->key, s->key_length, i};
  }
  qsort(sorted, (size_t)n, sizeof *sorted, by_text);
  frt_status status = place_in_stream(r, list, sorted);
  frt__free(sorted);
  return status;
}

// --- names
static frt_status keep_name(reading *r, const char *text, size_t n)
{
  const unsigned char *at = (const unsigned char *)text, *end = at + n;
  while (at < end) {
    int step = *at ? frt__utf8_length(at, end) : 0;
    FRT_CHECK(step > 0, FRT_EDATA, "'%s': a tensor's name is not text", r->f->path);
    at += step;
  }
  FRT_CHECK(r->n + (int64_t)n < MAX_NAME_BYTES, FRT_EDATA, "'%s': too many names", r->f->path);
  FRT_TRY(frt__grow(&r->names, &r->cap, r->n + (int32_t)n + 1, 1));
  memcpy(r->names + r->n, text, n);
  r->names[r->n + (int32_t)n] = 0;
  r->n += (int32_t)n + 1;
  return FRT_OK;
}

static frt_status add_tensor(reading *r, const char *name, size_t length, const frt_pk_tensor *t)
{
  const frt_pk_storage *s = &r->p.storage[t->storage];
  uint64_t size = (uint64_t)type_size(s), n = 1, last = t->first, packed = 1;
  frt_st_tensor out = {.type = s->type, .ndim = t->ndim};
  bool bad = __builtin_add_overflow(last, s->first, &last);
  for (int32_t d = t->ndim - 1; d >= 0; d--) {
    uint64_t far;
    out.dim[d] = t->dim[d];
    out.stride[d] = t->stride[d];
    out.strided |= t->dim[d] > 1 && t->stride[d] != packed;
    bad |= __builtin_mul_overflow(n, t->dim[d], &n);
    bad |= t->dim[d] > 0 && (__builtin_mul_overflow(t->dim[d] - 1, t->stride[d], &far) ||
                             __builtin_add_overflow(last, far, &last));
    packed = n;
  }
  FRT_CHECK(!bad && s->place > 0 && (n == 0 || last < s->n) && n <= s->n, FRT_EDATA,
            "'%s': tensor '%.*s' lies outside its storage of %llu elements", r->f->path,
            (int)length, name, (unsigned long long)s->n);
  r->total += n * size;
  FRT_CHECK(r->total <= 4 * r->size, FRT_EDATA,
            "'%s': its tensors share storages and take more than four times the file", r->f->path);
  out.span = n == 0 ? 0 : (last - t->first - s->first + 1) * size;
  r->spans += out.span; // what reading all of them reads
  FRT_CHECK(r->spans <= MAX_SPANS * r->size, FRT_EDATA,
            "'%s': its tensors lie across each other more than %d times", r->f->path, MAX_SPANS);
  out.begin = s->place + (t->first + s->first) * size;
  out.end = out.begin + n * size;
  out.name = (char *)(uintptr_t)(uint32_t)r->n; // an offset until all names are there
  FRT_TRY(keep_name(r, name, length));
  frt_file *f = r->f;
  FRT_TRY(frt__grow(&f->tensor, &f->cap_tensor, f->n_tensor + 1, sizeof *f->tensor));
  f->tensor[f->n_tensor++] = out;
  return FRT_OK;
}

// The text of a dict's key or a list's place; < 0: not a name.
static int key_text(const reading *r, const frt_pk_value *v, char *out, size_t room)
{
  if (v->kind == FRT_PK_TEXT) {
    return v->text.length < room
             ? snprintf(out, room, "%.*s", (int)v->text.length, r->p.text + v->text.start)
             : (int)room;
  }
  return v->kind == FRT_PK_INT ? snprintf(out, room, "%lld", (long long)v->i) : -1;
}

static frt_status flatten(reading *r, const frt_pk_value *v, char *name, size_t length, int depth)
{
  FRT_CHECK(++r->visited <= MAX_NAMES && depth <= MAX_DEPTH, FRT_EDATA,
            "'%s': its containers hold too much to be weights", r->f->path);
  if (v->kind == FRT_PK_TENSOR) {
    return add_tensor(r, name, length, &r->p.tensor[v->at]);
  }
  if (v->kind != FRT_PK_DICT && v->kind != FRT_PK_LIST && v->kind != FRT_PK_TUPLE) {
    return FRT_OK;
  }
  const frt_pk_box *b = &r->p.box[v->at];
  int32_t per = v->kind == FRT_PK_DICT ? 2 : 1;
  for (int32_t i = 0; i < b->n; i += per) {
    frt_pk_value index = {.kind = FRT_PK_INT, .i = i};
    size_t dot = length > 0;
    name[length] = '.';
    int n =
      key_text(r, per == 2 ? &b->item[i] : &index, name + length + dot, MAX_NAME - length - dot);
    if (n >= 0) {
      FRT_CHECK(length + dot + (size_t)n < MAX_NAME, FRT_EDATA,
                "'%s': a name of more than %d bytes", r->f->path, MAX_NAME - 1);
      FRT_TRY(flatten(r, &b->item[i + per - 1], name, length + dot + (size_t)n, depth + 1));
    }
  }
  return FRT_OK;
}

// --- what the weights are among all that the file holds
static const char *const places[] = {"state_dict", "model", "model_state_dict", "module",
                                     "weights",    "net",   "network",          "params"};
static const char *const averages[] = {"state_dict_ema", "model_ema",  "model_ema_state_dict",
                                       "ema_state_dict", "params_ema", "ema"};

// Whether there is a tensor in it; deep: at any depth.
static bool has_tensor(reading *r, const frt_pk_value *v, int depth)
{
  const frt_pk_box *b = v->kind == FRT_PK_DICT ? &r->p.box[v->at] : NULL;
  for (int32_t i = 0; b && i < b->n && r->visited < MAX_NAMES; i += 2) {
    r->visited++;
    if (b->item[i + 1].kind == FRT_PK_TENSOR ||
        (depth > 0 && has_tensor(r, &b->item[i + 1], depth - 1))) {
      return true;
    }
  }
  return false;
}

// The dict of tensors under a key of `b`.
static const frt_pk_value *find(reading *r, const frt_pk_box *b, const char *key)
{
  for (int32_t i = 0; i < b->n; i += 2) {
    if (frt__pk_is_text(&r->p, &b->item[i], key) && has_tensor(r, &b->item[i + 1], 2)) {
      return &b->item[i + 1];
    }
  }
  return NULL;
}

static const frt_pk_value *find_one(reading *r, const frt_pk_box *b, const char *const *keys, int n,
                                    const char **key)
{
  for (int k = 0; k < n; k++) {
    const frt_pk_value *found = find(r, b, keys[k]);
    if (found) {
      *key = keys[k];
      return found;
    }
  }
  return NULL;
}

// What stands beside the weights and might have been meant, or be missed.
static frt_status note_others(reading *r, const frt_pk_box *b, const char *key, bool is_average)
{
  const char *other = NULL;
  if (is_average) {
    FRT_TRY(
      frt__file_note(r->f, "averages of the weights ('%s') were taken: it holds no others", key));
  } else if (find_one(r, b, averages, FRT_COUNT(averages), &other)) {
    FRT_TRY(frt__file_note(r->f,
                           "the weights under '%s' were taken; averages of them lie beside, "
                           "under '%s'",
                           key, other));
  }
  for (int32_t i = 0; i < b->n; i += 2) {
    const frt_pk_value *name = &b->item[i];
    if (b->item[i + 1].kind == FRT_PK_TENSOR && name->kind == FRT_PK_TEXT) {
      FRT_TRY(frt__file_note(r->f, "the tensor '%.*s' beside '%s' was passed over",
                             (int)FRT_MIN(name->text.length, 100u), r->p.text + name->text.start,
                             key));
    }
  }
  return FRT_OK;
}

static frt_status weights_of(reading *r, const char *place, frt_pk_value *root)
{
  if (place) {
    const frt_pk_value *found =
      root->kind == FRT_PK_DICT ? find(r, &r->p.box[root->at], place) : NULL;
    FRT_CHECK(found, FRT_EDATA, "'%s': holds no weights under '%s'", r->f->path, place);
    *root = *found;
    return FRT_OK;
  }
  for (int depth = 0; depth < 3 && root->kind == FRT_PK_DICT; depth++) {
    const frt_pk_box *b = &r->p.box[root->at];
    const char *key;
    const frt_pk_value *found = find_one(r, b, places, FRT_COUNT(places), &key);
    bool is_average = !found;
    if (!found) {
      found = find_one(r, b, averages, FRT_COUNT(averages), &key);
    }
    if (!found || found->at == root->at) {
      return FRT_OK;
    }
    FRT_TRY(note_others(r, b, key, is_average));
    *root = *found;
  }
  return FRT_OK;
}

static frt_status note_foreign(const frt_pickle *p, frt_file *f)
{
  enum { MOST = 6 };
  char list[400] = "";
  size_t n = 0;
  for (int32_t i = 0; i < FRT_MIN(p->n_foreign, (int32_t)MOST) && n < sizeof list; i++) {
    n += (size_t)snprintf(list + n, sizeof list - n, i ? ", %.60s" : "%.60s", p->foreign[i]);
  }
  if (p->n_foreign == 0) {
    return FRT_OK;
  }
  const char *more = p->n_foreign > MOST ? ", …" : "";
  return frt__file_note(f, "passed over what is no tensor, unexecuted: %s%s", list, more);
}

// --- names that wrappers made longer
// ---------------------------------------------------------------- Of torch.compile and the like:
// they mean nothing wherever they stand.
static void drop_inner(char *name)
{
  static const char *const parts[] = {"_orig_mod.", "_fsdp_wrapped_module.",
                                      "_checkpoint_wrapped_module."};
  for (int k = 0; k < FRT_COUNT(parts); k++) {
    size_t n = strlen(parts[k]);
    for (char *at = strstr(name, parts[k]); at; at = strstr(at, parts[k])) {
      if (at > name && at[-1] != '.') {
        at++;
      } else {
        memmove(at, at + n, strlen(at + n) + 1);
      }
    }
  }
}

// "module." in front of most names comes from DistributedDataParallel (or an AveragedModel, whose
// counter has no such name) and means nothing.
void frt__strip_names(frt_file *f)
{
  static const char prefix[] = "module.";
  int32_t n = 0;
  for (int32_t i = 0; i < f->n_tensor; i++) {
    drop_inner(f->tensor[i].name);
  }
  do {
    n = 0;
    for (int32_t i = 0; i < f->n_tensor; i++) {
      n += strncmp(f->tensor[i].name, prefix, sizeof prefix - 1) == 0;
    }
    for (int32_t i = 0; i < f->n_tensor && 2 * n > f->n_tensor; i++) {
      bool here = strncmp(f->tensor[i].name, prefix, sizeof prefix - 1) == 0;
      f->tensor[i].name += here ? sizeof prefix - 1 : 0;
    }
  } while (2 * n > f->n_tensor);
}

static frt_status take(reading *r, frt_pk_value root)
{
  char name[MAX_NAME + 1] = "tensor"; // of a file that holds one and no dict
  frt_file *f = r->f;
  FRT_TRY(weights_of(r, r->place, &root));
  FRT_TRY(flatten(r, &root, name, root.kind == FRT_PK_TENSOR ? strlen(name) : 0, 0));
  FRT_CHECK(
    f->n_tensor > 0 || r->p.n_foreign == 0, FRT_EDATA,
    "'%s': holds '%s', which is neither a tensor nor a plain container; nothing of the file "
    "was used (save the state_dict alone)",
    f->path, r->p.foreign[0]);
  FRT_CHECK(f->n_tensor > 0, FRT_EDATA, "'%s': holds no named tensors", f->path);
  FRT_TRY(note_foreign(&r->p, f));
  for (int32_t i = 0; i < f->n_tensor; i++) {
    f->tensor[i].name = r->names + (uint32_t)(uintptr_t)f->tensor[i].name;
  }
  f->header = r->names;
  r->names = NULL;
  frt__strip_names(f);
  return frt__st_check_names(f);
}

// --- the two containers
static frt_status read_zip(reading *r)
{
  frt_file *f = r->f;
  f->zip = frt__zalloc(sizeof *f->zip);
  FRT_CHECK(f->zip, FRT_ENOMEM, "'%s': out of memory", f->path);
  FRT_TRY(frt__zip_open(f->zip, f->fd, f->path, r->size));
  const frt_zip_entry *main = NULL;
  for (int32_t i = 0; i < f->zip->n && !main; i++) {
    const char *name = f->zip->entry[i].name, *slash = strchr(name, '/');
    bool here = strcmp(slash ? slash + 1 : name, "data.pkl") == 0;
    main = here ? &f->zip->entry[i] : NULL;
  }
  if (!main && frt__npz_is(f->zip)) {
    return frt__npz_take(f);
  }
  for (int32_t i = 0; i < f->zip->n; i++) {
    FRT_CHECK(!f->zip->entry[i].packed, FRT_EDATA,
              "'%s': entry '%s' is compressed; PyTorch stores them as they are", f->path,
              f->zip->entry[i].name);
  }
  FRT_CHECK(main, FRT_EDATA, "'%s': a zip file without weights (no data.pkl and no .npy in it)",
            f->path);
  char folder[512], order[600];
  snprintf(folder, sizeof folder, "%.*s", (int)FRT_MIN(strlen(main->name) - 8, (size_t)500),
           main->name);
  snprintf(order, sizeof order, "%sbyteorder", folder);
  const frt_zip_entry *e = frt__zip_find(f->zip, order);
  FRT_CHECK(!e || e->size == 6, FRT_EDATA, "'%s': of a big-endian machine", f->path);
  FRT_TRY(frt__zip_check(main, f->fd, f->path));
  r->p.begin = main->begin;
  r->p.end = main->begin + main->size;
  frt_pk_value root;
  FRT_TRY(frt__pk_read(&r->p, &root));
  FRT_TRY(place_in_zip(r, folder));
  return take(r, root);
}

static frt_status read_stream(reading *r)
{
  frt_pk_value v, system, root, keys;
  unsigned char head[sizeof magic];
  FRT_CHECK(r->size > sizeof magic, FRT_EDATA, "'%s': the file is cut short", r->f->path);
  FRT_TRY(frt__file_pread(r->f->fd, r->f->path, head, sizeof head, 0));
  FRT_CHECK(memcmp(head, magic, sizeof magic) == 0, FRT_EDATA,
            "'%s': a pickle, but not PyTorch's: only tensors saved by torch.save are read",
            r->f->path);
  r->p.end = r->size;
  FRT_TRY(frt__pk_read(&r->p, &v)); // the magic number
  FRT_TRY(frt__pk_read(&r->p, &v));
  FRT_CHECK(v.kind == FRT_PK_INT && v.i == 1001, FRT_EDATA, "'%s': of an unknown version",
            r->f->path);
  FRT_TRY(frt__pk_read(&r->p, &system));
  const frt_pk_box *b = system.kind == FRT_PK_DICT ? &r->p.box[system.at] : NULL;
  for (int32_t i = 0; b && i < b->n; i += 2) {
    FRT_CHECK(!frt__pk_is_text(&r->p, &b->item[i], "little_endian") || b->item[i + 1].i == 1,
              FRT_EDATA, "'%s': of a big-endian machine", r->f->path);
  }
  FRT_TRY(frt__pk_read(&r->p, &root));
  FRT_TRY(frt__pk_read(&r->p, &keys));
  FRT_CHECK(keys.kind == FRT_PK_LIST, FRT_EDATA, "'%s': has no list of storages", r->f->path);
  FRT_TRY(place_all(r, &r->p.box[keys.at]));
  return take(r, root);
}

frt_status frt__pth_open(frt_file *f, uint64_t size, bool zip, const char *place)
{
  reading r = {
    .f = f, .size = size, .place = place, .p = {.path = f->path, .fd = f->fd}
  };
  f->bytes = size;
  frt_status status = zip ? read_zip(&r) : read_stream(&r);
  frt__pk_free(&r.p);
  frt__free(r.names);
  return status;
}

void frt__pth_close(frt_file *f)
{
  if (f->zip) {
    frt__zip_free(f->zip);
    frt__free(f->zip);
    f->zip = NULL;
  }
}

// --- values
frt_status frt__pth_gather(const frt_file *f, const frt_st_tensor *t, char **out)
{
  size_t size = (size_t)frt__st_types[t->type].size, n = (size_t)(t->end - t->begin);
  char *from = frt__alloc((size_t)t->span + 1), *to = frt__alloc(n + 1);
  frt_status status =
    from && to ? frt__file_pread(f->fd, f->path, from, (size_t)t->span, t->begin)
               : frt_error_set(FRT_ENOMEM, "'%s': out of memory for tensor '%s'", f->path, t->name);
  uint64_t at[8] = {0}, source = 0;
  for (size_t i = 0; i < n && status == FRT_OK; i += size) {
    memcpy(to + i, from + source * size, size);
    for (int32_t d = t->ndim - 1; d >= 0; d--) {
      source += t->stride[d];
      if (++at[d] < t->dim[d]) {
        break;
      }
      source -= at[d] * t->stride[d];
      at[d] = 0;
    }
  }
  frt__free(from);
  if (status != FRT_OK) {
    frt__free(to);
    return status;
  }
  *out = to;
  return FRT_OK;
}

frt_status frt__pth_verify(const frt_file *f)
{
  for (int32_t i = 0; f->zip && i < f->zip->n; i++) {
    FRT_TRY(frt__zip_check(&f->zip->entry[i], f->fd, f->path));
  }
  return FRT_OK;
}
