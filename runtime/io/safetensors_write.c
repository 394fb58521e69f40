// safetensors_write.c -- writing safetensors files: wide types first, then by name, so that the
// same tensors give the same bytes; the old file stays until the new one is complete and on disk.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "io/json.h"
#include "io/pth.h"

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

static int by_name(const void *a, const void *b)
{
  return strcmp(((const frt_st_item *)a)->name, ((const frt_st_item *)b)->name);
}

static int by_width(const void *a, const void *b)
{
  int32_t x = frt__st_types[((const frt_st_item *)a)->type].size,
          y = frt__st_types[((const frt_st_item *)b)->type].size;
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

static frt_status check_names(const char *path, frt_st_item *items, int32_t n)
{
  for (int32_t i = 0; i < n; i++) {
    FRT_CHECK(strcmp(items[i].name, "__metadata__") != 0, FRT_EARG,
              "'%s': a tensor can't be called __metadata__", path);
    FRT_TRY(check_text(path, "a tensor's name", items[i].name));
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

// Gives an item floats of another width.
static frt_status recast(const char *path, frt_st_item *t, int32_t type)
{
  double bad;
  const char *is = frt__st_types[t->type].name, *becomes = frt__st_types[type].name;
  if (t->type == type || !frt__st_is_float(t->type)) {
    FRT_CHECK(t->type == type || frt__st_types[t->type].dtype >= 0 || is[0] != 'F', FRT_EARG,
              "'%s': tensor '%s' is %s, which can't become %s", path, t->name, is, becomes);
    return FRT_OK;
  }
  size_t n = t->bytes / (size_t)frt__st_types[t->type].size;
  size_t bytes = n * (size_t)frt__st_types[type].size;
  void *to = frt__alloc(bytes + 1);
  FRT_CHECK(to, FRT_ENOMEM, "'%s': out of memory for tensor '%s'", path, t->name);
  bool fits = frt__st_recast(t->type, t->data, type, to, n, &bad);
  frt__free(t->own);
  t->data = t->own = to;
  FRT_CHECK(fits, FRT_EDATA, "'%s': tensor '%s' has the value %g, too large for %s", path, t->name,
            bad, becomes);
  t->type = type;
  t->bytes = bytes;
  return FRT_OK;
}

// Hash over the tensors in the order of their names, as frt_file_hash() reads them.
static uint64_t hash_items(const frt_st_item *items, int32_t n)
{
  uint64_t h = 0;
  for (int32_t i = 0; i < n; i++) {
    const frt_st_item *t = &items[i];
    h = frt__st_hash_name(h, t->name, t->type, t->ndim, t->dim);
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

static void tensor_text(text *out, const frt_st_item *t)
{
  put(out, ",", 1);
  put_string(out, t->name);
  putf(out, ":{\"dtype\":\"%s\",\"shape\":[", frt__st_types[t->type].name);
  for (int32_t d = 0; d < t->ndim; d++) {
    putf(out, d ? ",%lld" : "%lld", (long long)t->dim[d]);
  }
  putf(out, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)t->begin,
       (unsigned long long)(t->begin + t->bytes));
}

static frt_status write_all(const char *path, const text *header, const frt_st_item *items,
                            int32_t n)
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

static frt_status save(const char *path, frt_st_item *items, int32_t n, frt_st_pair *meta,
                       int32_t n_meta, text *header)
{
  FRT_TRY(check_names(path, items, n));
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

// All items and metadata (but what the format adds itself) as a whole file.
static frt_status write_items(const char *path, frt_st_item *items, int32_t n,
                              const frt_st_pair *given, int32_t n_given)
{
  frt_st_pair *meta = frt__alloc(sizeof *meta * (size_t)(n_given + 1));
  FRT_CHECK(meta, FRT_ENOMEM, "'%s': out of memory", path);
  int32_t n_meta = 0;
  for (int32_t i = 0; i < n_given; i++) {
    if (strcmp(given[i].key, FRT_ST_HASH_KEY) != 0 &&
        strcmp(given[i].key, FRT_ST_FORMAT_KEY) != 0) {
      meta[n_meta++] = given[i];
    }
  }
  meta[n_meta++] = (frt_st_pair){FRT_ST_FORMAT_KEY, "1"};
  text header = {0};
  frt_status status = save(path, items, n, meta, n_meta, &header);
  frt__free(header.p);
  frt__free(meta);
  return status;
}

static void drop(frt_st_item *items, int32_t n)
{
  for (int32_t i = 0; items && i < n; i++) {
    frt__free(items[i].own);
  }
  frt__free(items);
}

static frt_status check_float(const char *path, int32_t dtype)
{
  FRT_CHECK(dtype == -1 || dtype == FRT_F32 || dtype == FRT_F16 || dtype == FRT_BF16, FRT_EARG,
            "'%s': floats can be saved as f32, bf16 and f16 only", path);
  return FRT_OK;
}

static frt_status take(const char *path, frt_st_item *t, const char *name, const frt_shape *shape,
                       const void *data)
{
  *t = (frt_st_item){.name = name,
                     .data = data,
                     .type = frt__st_type_of(shape->dtype),
                     .ndim = shape->ndim,
                     .bytes = frt__bytes(shape)};
  FRT_CHECK(t->type >= 0, FRT_EARG, "'%s': tensor '%s' has no dtype that can be saved", path, name);
  FRT_CHECK(data, FRT_ESTATE, "'%s': tensor '%s' has no value", path, name);
  for (int32_t d = 0; d < shape->ndim; d++) {
    t->dim[d] = (uint64_t)shape->dim[d];
  }
  return FRT_OK;
}

frt_status frt_file_write(const char *path, int32_t n, const char *const *names,
                          const frt_shape *shapes, const void *const *data, int32_t float_dtype,
                          int32_t n_meta, const char *const *keys, const char *const *values)
{
  FRT_TRY(check_float(path, float_dtype));
  frt_st_item *items = frt__zalloc(sizeof *items * (size_t)(n + 1));
  frt_st_pair *meta = frt__alloc(sizeof *meta * (size_t)(n_meta + 1));
  frt_status status =
    items && meta ? FRT_OK : frt_error_set(FRT_ENOMEM, "'%s': out of memory", path);
  for (int32_t i = 0; i < n_meta && status == FRT_OK; i++) {
    meta[i] = (frt_st_pair){(char *)keys[i], (char *)values[i]};
  }
  for (int32_t i = 0; i < n && status == FRT_OK; i++) {
    status = take(path, &items[i], names[i], &shapes[i], data[i]);
    if (status == FRT_OK && float_dtype >= 0) {
      status = recast(path, &items[i], frt__st_type_of(float_dtype));
    }
  }
  if (status == FRT_OK) {
    status = write_items(path, items, n, meta, n_meta);
  }
  frt__free(meta);
  drop(items, n);
  return status;
}

static frt_status take_raw(const frt_file *f, frt_st_item *t, const frt_st_tensor *from)
{
  *t = (frt_st_item){
    .name = from->name, .type = from->type, .ndim = from->ndim, .bytes = from->end - from->begin};
  FRT_CHECK(from->ndim <= FRT_COUNT(from->dim), FRT_EDATA,
            "'%s': tensor '%s' has %d dimensions, more than can be written", f->path, from->name,
            from->ndim);
  memcpy(t->dim, from->dim, sizeof t->dim);
  if (from->strided) {
    char *values;
    FRT_TRY(frt__pth_gather(f, from, &values));
    t->data = t->own = values;
    return FRT_OK;
  }
  t->data = t->own = frt__alloc(t->bytes + 1);
  FRT_CHECK(t->own, FRT_ENOMEM, "'%s': out of memory for tensor '%s'", f->path, t->name);
  return frt__file_pread(f->fd, f->path, t->own, t->bytes, f->data + from->begin);
}

frt_status frt_file_convert(const char *path, int32_t n, const frt_file *const *files,
                            const int32_t *index, const char *const *names, int32_t float_dtype,
                            int32_t n_meta, const char *const *keys, const char *const *values)
{
  FRT_TRY(check_float(path, float_dtype));
  frt_st_item *items = frt__zalloc(sizeof *items * (size_t)(n + 1));
  frt_st_pair *meta = frt__alloc(sizeof *meta * (size_t)(n_meta + 1));
  frt_status status =
    items && meta ? FRT_OK : frt_error_set(FRT_ENOMEM, "'%s': out of memory", path);
  for (int32_t i = 0; i < n_meta && status == FRT_OK; i++) {
    meta[i] = (frt_st_pair){(char *)keys[i], (char *)values[i]};
  }
  for (int32_t i = 0; i < n && status == FRT_OK; i++) {
    const frt_file *f = files[i];
    status = index[i] >= 0 && index[i] < f->n_tensor
               ? take_raw(f, &items[i], &f->tensor[index[i]])
               : frt_error_set(FRT_EARG, "'%s': no tensor number %d", f->path, index[i]);
    items[i].name = names[i];
    if (status == FRT_OK && float_dtype >= 0) {
      status = recast(f->path, &items[i], frt__st_type_of(float_dtype));
    }
  }
  if (status == FRT_OK) {
    status = write_items(path, items, n, meta, n_meta);
  }
  frt__free(meta);
  drop(items, n);
  return status;
}
