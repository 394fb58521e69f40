// safetensors_parse.c -- the header of a safetensors file: strict JSON, every tensor's bytes inside
// the data section, no overlap, no holes, sizes that match their shapes, no name twice.
#include <stdlib.h>

#include "io/json.h"
#include "io/pth.h"

const frt_st_type frt__st_types[] = {
  {"F32",         4,  FRT_F32, 32 },
  {"F64",         8,  FRT_F64, 64 },
  {"F16",         2,  FRT_F32, 16 },
  {"BF16",        2,  FRT_F32, 16 },
  {"I64",         8,  FRT_I64, 64 },
  {"I32",         4,  FRT_I32, 32 },
  {"I16",         2,  FRT_I32, 16 },
  {"I8",          1,  FRT_I32, 8  },
  {"U8",          1,  FRT_U8,  8  },
  {"U16",         2,  FRT_I32, 16 },
  {"U32",         4,  FRT_I64, 32 },
  {"BOOL",        1,  FRT_U8,  8  },
  {"U64",         8,  -1,      64 },
  {"C64",         8,  -1,      64 },
  {"C128",        16, -1,      128},
  {"F8_E4M3",     1,  -1,      8  },
  {"F8_E5M2",     1,  -1,      8  },
  {"F8_E8M0",     1,  -1,      8  },
  {"F8_E4M3FNUZ", 1,  -1,      8  },
  {"F8_E5M2FNUZ", 1,  -1,      8  },
  {"F6_E2M3",     1,  -1,      6  },
  {"F6_E3M2",     1,  -1,      6  },
  {"F4",          1,  -1,      4  },
};
const int32_t frt__st_type_count = FRT_COUNT(frt__st_types);

#define BAD(...) FRT_CHECK(0, FRT_EDATA, __VA_ARGS__)

static frt_status damaged(const frt_file *f, const frt_json *j, const char *what)
{
  return frt_error_set(FRT_EDATA, "'%s': the header is damaged at byte %lld: %s", f->path,
                       (long long)(8 + (j->at - j->start)), what);
}

static frt_status room(const frt_file *f, void *list, int32_t *cap, int32_t n, size_t size)
{
  return frt__grow(list, cap, n, size) == FRT_OK
           ? FRT_OK
           : frt_error_set(FRT_ENOMEM, "'%s': out of memory for the header", f->path);
}

static frt_status parse_metadata(frt_file *f, frt_json *j)
{
  if (frt__json_word(j, "null")) {
    return FRT_OK;
  }
  if (!frt__json_take(j, '{')) {
    return damaged(f, j, "expected { after __metadata__");
  }
  if (frt__json_take(j, '}')) {
    return FRT_OK;
  }
  do {
    char *key = frt__json_string(j);
    if (!key || !frt__json_take(j, ':')) {
      return damaged(f, j, "expected a key in __metadata__");
    }
    char *value = frt__json_string(j);
    if (!value) {
      return damaged(f, j, "values in __metadata__ must be strings");
    }
    FRT_TRY(room(f, &f->meta, &f->cap_meta, f->n_meta + 1, sizeof *f->meta));
    f->meta[f->n_meta++] = (frt_st_pair){key, value};
  } while (frt__json_take(j, ','));
  return frt__json_take(j, '}') ? FRT_OK : damaged(f, j, "expected , or } in __metadata__");
}

static frt_status parse_type(const frt_file *f, frt_json *j, frt_st_tensor *t)
{
  const char *name = frt__json_string(j);
  if (!name) {
    return damaged(f, j, "expected a dtype");
  }
  for (int32_t i = 0; i < frt__st_type_count; i++) {
    if (strcmp(name, frt__st_types[i].name) == 0) {
      t->type = i;
      return FRT_OK;
    }
  }
  BAD("'%s': tensor '%s' has the unknown dtype '%s'", f->path, t->name, name);
}

static frt_status parse_shape(const frt_file *f, frt_json *j, frt_st_tensor *t)
{
  if (!frt__json_take(j, '[')) {
    return damaged(f, j, "expected [ after shape");
  }
  bool many, rest_ok = true;
  t->ndim = 0;
  t->rest = 1;
  if (frt__json_take(j, ']')) {
    return FRT_OK;
  }
  do {
    uint64_t size;
    if (!frt__json_whole(j, &size)) {
      return damaged(f, j, "a size must be a whole number");
    }
    if (t->ndim < FRT_COUNT(t->dim)) {
      t->dim[t->ndim] = size;
    }
    many = t->ndim >= FRT_COUNT(t->dim);
    rest_ok &= !many || !__builtin_mul_overflow(t->rest, size, &t->rest);
    t->ndim++;
  } while (frt__json_take(j, ','));
  FRT_CHECK(rest_ok, FRT_EDATA, "'%s': the shape of tensor '%s' is impossibly large", f->path,
            t->name);
  return frt__json_take(j, ']') ? FRT_OK : damaged(f, j, "expected , or ] in a shape");
}

static frt_status parse_offsets(const frt_file *f, frt_json *j, frt_st_tensor *t)
{
  bool ok = frt__json_take(j, '[') && frt__json_whole(j, &t->begin) && frt__json_take(j, ',') &&
            frt__json_whole(j, &t->end) && frt__json_take(j, ']');
  return ok ? FRT_OK : damaged(f, j, "data_offsets must be two whole numbers");
}

static frt_status parse_tensor(frt_file *f, frt_json *j, char *name)
{
  enum { TYPE = 1, SHAPE = 2, OFFSETS = 4 };
  frt_st_tensor t = {.name = name};
  int have = 0;
  if (!frt__json_take(j, '{')) {
    return damaged(f, j, "expected { after a tensor's name");
  }
  do {
    const char *key = frt__json_string(j);
    if (!key || !frt__json_take(j, ':')) {
      return damaged(f, j, "expected dtype, shape and data_offsets");
    }
    int which = strcmp(key, "dtype") == 0          ? TYPE
                : strcmp(key, "shape") == 0        ? SHAPE
                : strcmp(key, "data_offsets") == 0 ? OFFSETS
                                                   : 0;
    FRT_CHECK(which, FRT_EDATA, "'%s': tensor '%s' has an unknown field '%s'", f->path, name, key);
    FRT_CHECK(!(have & which), FRT_EDATA, "'%s': tensor '%s' has two fields '%s'", f->path, name,
              key);
    have |= which;
    FRT_TRY(which == TYPE    ? parse_type(f, j, &t)
            : which == SHAPE ? parse_shape(f, j, &t)
                             : parse_offsets(f, j, &t));
  } while (frt__json_take(j, ','));
  if (!frt__json_take(j, '}')) {
    return damaged(f, j, "expected , or } after a field");
  }
  FRT_CHECK(have == (TYPE | SHAPE | OFFSETS), FRT_EDATA, "'%s': tensor '%s' lacks its %s", f->path,
            name, have & TYPE ? have & SHAPE ? "data_offsets" : "shape" : "dtype");
  FRT_TRY(room(f, &f->tensor, &f->cap_tensor, f->n_tensor + 1, sizeof *f->tensor));
  f->tensor[f->n_tensor++] = t;
  return FRT_OK;
}

static frt_status check_size(const frt_file *f, const frt_st_tensor *t)
{
  uint64_t n = t->rest, bits, stored = (uint64_t)frt__st_types[t->type].bits;
  bool bad = false, none = n == 0;
  for (int32_t d = 0; d < FRT_MIN(t->ndim, (int32_t)FRT_COUNT(t->dim)); d++) {
    none |= t->dim[d] == 0;
    bad |= __builtin_mul_overflow(n, t->dim[d], &n);
  }
  bad = !none && (bad || __builtin_mul_overflow(n, stored, &bits) || bits / 8 > INT64_MAX);
  FRT_CHECK(!bad, FRT_EDATA, "'%s': the shape of tensor '%s' is impossibly large", f->path,
            t->name);
  uint64_t bytes = none ? 0 : (bits + 7) / 8;
  FRT_CHECK(t->begin <= t->end && t->end <= f->bytes, FRT_EDATA,
            "'%s': tensor '%s' lies at bytes %llu to %llu, but the file holds %llu", f->path,
            t->name, (unsigned long long)t->begin, (unsigned long long)t->end,
            (unsigned long long)f->bytes);
  FRT_CHECK(t->end - t->begin == bytes, FRT_EDATA,
            "'%s': tensor '%s' needs %llu bytes for its shape, but has %llu", f->path, t->name,
            (unsigned long long)bytes, (unsigned long long)(t->end - t->begin));
  return FRT_OK;
}

static int by_place(const void *a, const void *b)
{
  const frt_st_tensor *x = a, *y = b;
  if (x->begin != y->begin) {
    return x->begin < y->begin ? -1 : 1;
  }
  return x->end < y->end ? -1 : x->end > y->end;
}

static int by_name(const void *a, const void *b)
{
  return strcmp(((const frt_st_tensor *)a)->name, ((const frt_st_tensor *)b)->name);
}

static int by_key(const void *a, const void *b)
{
  return strcmp(((const frt_st_pair *)a)->key, ((const frt_st_pair *)b)->key);
}

static frt_status check_places(frt_file *f)
{
  if (f->n_tensor > 0) {
    qsort(f->tensor, (size_t)f->n_tensor, sizeof *f->tensor, by_place);
  }
  uint64_t at = 0;
  for (int32_t i = 0; i < f->n_tensor; i++) {
    const frt_st_tensor *t = &f->tensor[i];
    FRT_TRY(check_size(f, t));
    if (t->begin == t->end && t->begin < at) {
      continue; // no bytes: it lies nowhere
    }
    FRT_CHECK(t->begin >= at, FRT_EDATA, "'%s': tensor '%s' overlaps another", f->path, t->name);
    FRT_CHECK(t->begin == at, FRT_EDATA, "'%s': %llu bytes before tensor '%s' belong to none",
              f->path, (unsigned long long)(t->begin - at), t->name);
    at = t->end;
  }
  FRT_CHECK(at == f->bytes, FRT_EDATA, "'%s': %llu bytes at the end belong to no tensor", f->path,
            (unsigned long long)(f->bytes - at));
  return FRT_OK;
}

frt_status frt__st_check_names(frt_file *f)
{
  if (f->n_tensor > 0) {
    qsort(f->tensor, (size_t)f->n_tensor, sizeof *f->tensor, by_name);
  }
  for (int32_t i = 1; i < f->n_tensor; i++) {
    FRT_CHECK(by_name(&f->tensor[i - 1], &f->tensor[i]) != 0, FRT_EDATA,
              "'%s': there are two tensors '%s'", f->path, f->tensor[i].name);
  }
  if (f->n_meta > 0) {
    qsort(f->meta, (size_t)f->n_meta, sizeof *f->meta, by_key);
  }
  for (int32_t i = 1; i < f->n_meta; i++) {
    FRT_CHECK(by_key(&f->meta[i - 1], &f->meta[i]) != 0, FRT_EDATA,
              "'%s': there are two metadata keys '%s'", f->path, f->meta[i].key);
  }
  return FRT_OK;
}

// Whether foodrt wrote it: its names are what they are.
static bool is_ours(const frt_file *f)
{
  for (int32_t i = 0; i < f->n_meta; i++) {
    if (strcmp(f->meta[i].key, FRT_ST_FORMAT_KEY) == 0) {
      return true;
    }
  }
  return false;
}

frt_status frt__st_parse(frt_file *f, char *text, size_t length)
{
  frt_json j = {text, text, text + length};
  if (!frt__json_take(&j, '{')) {
    return damaged(f, &j, "expected {");
  }
  bool seen_metadata = false;
  if (!frt__json_take(&j, '}')) {
    do {
      char *name = frt__json_string(&j);
      if (!name || !frt__json_take(&j, ':')) {
        return damaged(f, &j, "expected a tensor's name");
      }
      if (strcmp(name, "__metadata__") == 0) {
        FRT_CHECK(!seen_metadata, FRT_EDATA, "'%s': there are two __metadata__", f->path);
        seen_metadata = true;
        FRT_TRY(parse_metadata(f, &j));
      } else {
        FRT_TRY(parse_tensor(f, &j, name));
      }
    } while (frt__json_take(&j, ','));
    if (!frt__json_take(&j, '}')) {
      return damaged(f, &j, "expected , or }");
    }
  }
  frt__json_space(&j);
  if (j.at != j.end) {
    return damaged(f, &j, "expected the end of the header");
  }
  FRT_TRY(check_places(f));
  if (!is_ours(f)) {
    frt__strip_names(f);
  }
  return frt__st_check_names(f);
}
