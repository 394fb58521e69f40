// safetensors_write.c -- writing safetensors files: wide types first, then by name, so that the
// same tensors give the same bytes; the old file stays until the new one is complete and on disk.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "io/json.h"
#include "io/safetensors.h"

typedef struct text {
  char *p;
  size_t n, cap;
  bool failed;
} text;

static void put(text *t, const char *s, size_t n)
{
  if (t->n + n > t->cap) {
    size_t cap = FRT_MAX(t->cap * 2, t->n + n + 4096);
    char *p = t->failed ? NULL : frt__realloc(t->p, cap);
    if (!p) {
      t->failed = true;
      return;
    }
    t->p = p;
    t->cap = cap;
  }
  memcpy(t->p + t->n, s, n);
  t->n += n;
}

__attribute__((format(printf, 2, 3))) static void putf(text *t, const char *fmt, ...)
{
  char line[128];
  va_list ap;
  va_start(ap, fmt);
  int n = vsnprintf(line, sizeof line, fmt, ap);
  va_end(ap);
  put(t, line, (size_t)n);
}

static void put_string(text *t, const char *s)
{
  put(t, "\"", 1);
  for (; *s; s++) {
    unsigned char c = (unsigned char)*s;
    if (c == '"' || c == '\\') {
      putf(t, "\\%c", c);
    } else if (c == '\n') {
      put(t, "\\n", 2);
    } else if (c < 0x20) {
      putf(t, "\\u%04x", c);
    } else {
      put(t, s, 1);
    }
  }
  put(t, "\"", 1);
}

static int32_t type_of(int32_t dtype)
{
  static const char *const names[] = {
    [FRT_F32] = "F32", [FRT_F64] = "F64", [FRT_I32] = "I32", [FRT_BF16] = "BF16",
    [FRT_U8] = "U8",   [FRT_I64] = "I64", [FRT_F16] = "F16",
  };
  for (int32_t i = 0; dtype >= 0 && dtype < FRT_COUNT(names) && i < frt__st_type_count; i++) {
    if (strcmp(frt__st_types[i].name, names[dtype]) == 0) {
      return i;
    }
  }
  return -1;
}

typedef struct item {
  const char *name;
  const frt_shape *shape;
  const void *data;
  int32_t type;
  size_t bytes;
  uint64_t dim[FRT_MAX_DIM], begin;
} item;

static int by_name(const void *a, const void *b)
{
  return strcmp(((const item *)a)->name, ((const item *)b)->name);
}

static int by_width(const void *a, const void *b)
{
  int32_t x = frt__st_types[((const item *)a)->type].size,
          y = frt__st_types[((const item *)b)->type].size;
  return x != y ? (x > y ? -1 : 1) : by_name(a, b);
}

static int by_key(const void *a, const void *b)
{
  return strcmp(((const frt_st_pair *)a)->key, ((const frt_st_pair *)b)->key);
}

static frt_status check_text(const char *path, const char *what, const char *s)
{
  // What is written must be readable again: JSON is UTF-8.
  const unsigned char *p = (const unsigned char *)s, *end = p + strlen(s);
  while (p < end) {
    int n = frt__utf8_length(p, end);
    FRT_CHECK(n > 0, FRT_EARG, "'%s': %s is not UTF-8", path, what);
    p += n;
  }
  return FRT_OK;
}

static frt_status prepare(const char *path, item *items, int32_t n, const char *const *names,
                          const frt_shape *shapes, const void *const *data)
{
  for (int32_t i = 0; i < n; i++) {
    item *t = &items[i];
    *t = (item){
      .name = names[i], .shape = &shapes[i], .data = data[i], .type = type_of(shapes[i].dtype)};
    FRT_CHECK(t->type >= 0, FRT_EARG, "'%s': tensor '%s' has no dtype that can be saved", path,
              names[i]);
    FRT_CHECK(t->data, FRT_ESTATE, "'%s': tensor '%s' has no value", path, names[i]);
    FRT_CHECK(strcmp(names[i], "__metadata__") != 0, FRT_EARG,
              "'%s': a tensor can't be called __metadata__", path);
    FRT_TRY(check_text(path, "a tensor's name", names[i]));
    t->bytes = frt__bytes(t->shape);
    for (int32_t d = 0; d < t->shape->ndim; d++) {
      t->dim[d] = (uint64_t)t->shape->dim[d];
    }
  }
  if (n > 0) {
    qsort(items, (size_t)n, sizeof *items, by_name);
  }
  for (int32_t i = 1; i < n; i++) {
    FRT_CHECK(by_name(&items[i - 1], &items[i]) != 0, FRT_EARG, "'%s': two tensors are called '%s'",
              path, items[i].name);
  }
  return FRT_OK;
}

// Hash over the tensors in the order of their names, as frt_file_hash() reads them.
static uint64_t hash_items(const item *items, int32_t n)
{
  uint64_t h = 0;
  for (int32_t i = 0; i < n; i++) {
    const item *t = &items[i];
    h = frt__st_hash_name(h, t->name, t->type, t->shape->ndim, t->dim);
    for (size_t at = 0; at < t->bytes; at += FRT_ST_CHUNK) {
      h = frt__hash(h, (const char *)t->data + at, FRT_MIN(t->bytes - at, (size_t)FRT_ST_CHUNK));
    }
  }
  return h;
}

static frt_status metadata_text(text *out, const char *path, frt_st_pair *meta, int32_t n,
                                uint64_t tensors)
{
  uint64_t h = 0;
  if (n > 0) {
    qsort(meta, (size_t)n, sizeof *meta, by_key);
  }
  put(out, "{\"__metadata__\":{", 17);
  for (int32_t i = 0; i < n; i++) {
    FRT_TRY(check_text(path, "metadata", meta[i].key));
    FRT_TRY(check_text(path, "metadata", meta[i].value));
    FRT_CHECK(i == 0 || by_key(&meta[i - 1], &meta[i]) != 0, FRT_EARG,
              "'%s': two metadata keys '%s'", path, meta[i].key);
    h = frt__st_hash_pair(h, meta[i].key, meta[i].value);
    put_string(out, meta[i].key);
    put(out, ":", 1);
    put_string(out, meta[i].value);
    put(out, ",", 1);
  }
  putf(out, "\"%s\":\"%016llx-%016llx\"}", FRT_ST_HASH_KEY, (unsigned long long)tensors,
       (unsigned long long)h);
  return FRT_OK;
}

static void tensor_text(text *out, const item *t)
{
  put(out, ",", 1);
  put_string(out, t->name);
  putf(out, ":{\"dtype\":\"%s\",\"shape\":[", frt__st_types[t->type].name);
  for (int32_t d = 0; d < t->shape->ndim; d++) {
    putf(out, d ? ",%lld" : "%lld", (long long)t->shape->dim[d]);
  }
  putf(out, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)t->begin,
       (unsigned long long)(t->begin + t->bytes));
}

static frt_status write_all(const char *path, const text *header, const item *items, int32_t n)
{
  frt_replace r;
  uint8_t length[8];
  for (int i = 0; i < 8; i++) {
    length[i] = (uint8_t)((uint64_t)header->n >> 8 * i);
  }
  FRT_TRY(frt__replace_start(&r, path));
  frt_status status = frt__replace_write(&r, length, 8);
  if (status == FRT_OK) {
    status = frt__replace_write(&r, header->p, header->n);
  }
  for (int32_t i = 0; i < n && status == FRT_OK; i++) {
    status = frt__replace_write(&r, items[i].data, items[i].bytes);
  }
  if (status != FRT_OK) {
    frt__replace_abandon(&r);
    return status;
  }
  return frt__replace_finish(&r);
}

static frt_status save(const char *path, item *items, int32_t n, frt_st_pair *meta, int32_t n_meta,
                       text *header)
{
  FRT_TRY(metadata_text(header, path, meta, n_meta, hash_items(items, n)));
  if (n > 0) {
    qsort(items, (size_t)n, sizeof *items, by_width);
  }
  uint64_t at = 0;
  for (int32_t i = 0; i < n; i++) {
    items[i].begin = at;
    at += items[i].bytes;
    tensor_text(header, &items[i]);
  }
  put(header, "}", 1);
  while (header->n % 8 != 0 && !header->failed) {
    put(header, " ", 1);
  }
  FRT_CHECK(!header->failed, FRT_ENOMEM, "'%s': out of memory for the header", path);
  return write_all(path, header, items, n);
}

frt_status frt_file_write(const char *path, int32_t n, const char *const *names,
                          const frt_shape *shapes, const void *const *data, int32_t n_meta,
                          const char *const *keys, const char *const *values)
{
  item *items = frt__alloc(sizeof *items * (size_t)n);
  frt_st_pair *meta = frt__alloc(sizeof *meta * (size_t)(n_meta + 1));
  text header = {0};
  frt_status status = FRT_OK;
  if (!items || !meta) {
    status = frt_error_set(FRT_ENOMEM, "'%s': out of memory", path);
  }
  int32_t kept = 0;
  for (int32_t i = 0; i < n_meta && status == FRT_OK; i++) {
    if (strcmp(keys[i], FRT_ST_HASH_KEY) != 0 && strcmp(keys[i], FRT_ST_FORMAT_KEY) != 0) {
      meta[kept++] = (frt_st_pair){(char *)keys[i], (char *)values[i]};
    }
  }
  if (status == FRT_OK) {
    meta[kept++] = (frt_st_pair){FRT_ST_FORMAT_KEY, "1"};
  }
  if (status == FRT_OK) {
    status = prepare(path, items, n, names, shapes, data);
  }
  if (status == FRT_OK) {
    status = save(path, items, n, meta, kept, &header);
  }
  frt__free(header.p);
  frt__free(meta);
  frt__free(items);
  return status;
}
