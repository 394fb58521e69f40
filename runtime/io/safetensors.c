// safetensors.c -- reading safetensors files: open and check, tensors by name, conversion to what
// the runtime computes in, hashes. Read with pread, not mapped: a file cut short while open is an
// error, not a SIGBUS.
#include "io/safetensors.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "io/guess.h"
#include "io/json.h"
#include "io/pth.h"

enum { MAX_HEADER = 100 * 1000 * 1000 };

void frt_file_close(frt_file *f)
{
  if (!f) {
    return;
  }
  if (f->fd >= 0) {
    close(f->fd);
  }
  frt__pth_close(f);
  frt__free(f->tensor);
  frt__free(f->meta);
  frt__free(f->notes);
  frt__free(f->header);
  frt__free(f->path);
  frt__free(f);
}

frt_status frt__file_note(frt_file *f, const char *fmt, ...)
{
  char line[512];
  va_list ap;
  va_start(ap, fmt);
  int n = vsnprintf(line, sizeof line - 1, fmt, ap);
  va_end(ap);
  n = FRT_MIN(n, (int)sizeof line - 2);
  line[n++] = '\n';
  FRT_TRY(frt__grow(&f->notes, &f->cap_notes, f->n_notes + n + 1, 1));
  memcpy(f->notes + f->n_notes, line, (size_t)n);
  f->n_notes += n;
  f->notes[f->n_notes] = 0;
  return FRT_OK;
}

const char *frt_file_notes(const frt_file *f)
{
  return f->notes ? f->notes : "";
}

static frt_status open_into(frt_file *f, const char *place)
{
  uint64_t size;
  uint8_t head[FRT_GUESS] = {0};
  FRT_TRY(frt__file_open(f->path, &f->fd, &size));
  size_t n = (size_t)FRT_MIN(size, (uint64_t)sizeof head);
  FRT_TRY(frt__file_pread(f->fd, f->path, head, n, 0));
  if (frt__pth_is(head)) {
    return frt__pth_open(f, size, head[0] == 'P', place);
  }
  uint64_t length = 0;
  for (int i = 7; i >= 0; i--) {
    length = length << 8 | head[i];
  }
  char what[FRT_GUESS_TEXT];
  bool other = size >= 8 && (length > MAX_HEADER || (length > size - 8 && head[8] != '{'));
  if ((size == 0 || other) && frt__guess(head, n, f->path, what)) {
    return frt_error_set(FRT_EDATA, "'%s': not a file of weights: %s", f->path, what);
  }
  FRT_CHECK(size >= 8, FRT_EDATA, "'%s': not a safetensors file: %llu bytes long", f->path,
            (unsigned long long)size);
  FRT_CHECK(length <= MAX_HEADER, FRT_EDATA, "'%s': not a safetensors file: a header of %llu bytes",
            f->path, (unsigned long long)length);
  FRT_CHECK(!place, FRT_EARG, "'%s': a safetensors file has no '%s' in it", f->path, place);
  FRT_CHECK(length <= size - 8, FRT_EDATA,
            "'%s': the file is cut short: the header needs %llu bytes, %llu are left", f->path,
            (unsigned long long)length, (unsigned long long)(size - 8));
  f->data = 8 + length;
  f->bytes = size - f->data;
  f->header = frt__alloc((size_t)length + 1);
  FRT_CHECK(f->header, FRT_ENOMEM, "'%s': out of memory for a header of %llu bytes", f->path,
            (unsigned long long)length);
  f->header[length] = 0;
  FRT_TRY(frt__file_pread(f->fd, f->path, f->header, (size_t)length, 8));
  return frt__st_parse(f, f->header, (size_t)length);
}

frt_status frt_file_open(const char *path, frt_file **out)
{
  return frt_file_open_at(path, NULL, out);
}

frt_status frt_file_open_at(const char *path, const char *place, frt_file **out)
{
  frt_file *f = frt__zalloc(sizeof *f);
  FRT_CHECK(f, FRT_ENOMEM, "'%s': out of memory", path);
  f->fd = -1;
  f->path = frt__strdup(path);
  frt_status status =
    f->path ? open_into(f, place) : frt_error_set(FRT_ENOMEM, "'%s': out of memory", path);
  if (status != FRT_OK) {
    frt_file_close(f);
    return status;
  }
  *out = f;
  return FRT_OK;
}

int32_t frt_file_count(const frt_file *f)
{
  return f->n_tensor;
}

int32_t frt_file_meta_count(const frt_file *f)
{
  return f->n_meta;
}

frt_status frt_file_meta(const frt_file *f, int32_t i, const char **key, const char **value)
{
  FRT_CHECK(i >= 0 && i < f->n_meta, FRT_EARG, "'%s': no metadata number %d", f->path, i);
  *key = f->meta[i].key;
  *value = f->meta[i].value;
  return FRT_OK;
}

int32_t frt_file_find(const frt_file *f, const char *name)
{
  int32_t low = 0, high = f->n_tensor;
  while (low < high) {
    int32_t middle = low + (high - low) / 2;
    int order = strcmp(f->tensor[middle].name, name);
    if (order == 0) {
      return middle;
    }
    if (order < 0) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return -1;
}

frt_status frt_file_tensor_at(const frt_file *f, int32_t i, frt_file_tensor *out)
{
  FRT_CHECK(i >= 0 && i < f->n_tensor, FRT_EARG, "'%s': no tensor number %d", f->path, i);
  const frt_st_tensor *t = &f->tensor[i];
  const frt_st_type *type = &frt__st_types[t->type];
  *out = (frt_file_tensor){.name = t->name,
                           .dtype = type->name,
                           .offset = t->begin,
                           .bytes = t->end - t->begin,
                           .ndim = t->ndim,
                           .dim = t->dim};
  out->shape.ndim = FRT_MIN(t->ndim, FRT_MAX_DIM);
  out->shape.dtype = type->dtype;
  for (int32_t d = 0; d < out->shape.ndim; d++) {
    out->shape.dim[d] = (int64_t)t->dim[d];
  }
  return FRT_OK;
}

frt_status frt_file_read(const frt_file *f, int32_t i, void *dst, size_t bytes)
{
  frt_file_tensor info;
  FRT_TRY(frt_file_tensor_at(f, i, &info));
  FRT_CHECK(info.ndim <= FRT_MAX_DIM, FRT_EDATA,
            "'%s': tensor '%s' has %d dimensions; at most %d are supported", f->path, info.name,
            info.ndim, FRT_MAX_DIM);
  FRT_CHECK(info.shape.dtype >= 0, FRT_EDATA, "'%s': tensor '%s' is %s, which is not supported",
            f->path, info.name, info.dtype);
  FRT_CHECK(info.bytes > 0, FRT_EDATA, "'%s': tensor '%s' is empty", f->path, info.name);
  FRT_CHECK(bytes == frt__bytes(&info.shape), FRT_EARG,
            "'%s': tensor '%s' needs %zu bytes, got room for %zu", f->path, info.name,
            frt__bytes(&info.shape), bytes);
  const frt_st_type *type = &frt__st_types[f->tensor[i].type];
  size_t wide = frt__dtype_size(type->dtype), narrow = (size_t)type->size;
  uint64_t at = f->data + info.offset;
  if (f->tensor[i].strided) {
    char *values;
    FRT_TRY(frt__pth_gather(f, &f->tensor[i], &values));
    if (wide == narrow) {
      memcpy(dst, values, bytes);
    } else {
      frt__st_widen(f->tensor[i].type, values, dst, bytes / wide);
    }
    frt__free(values);
    return FRT_OK;
  }
  if (wide == narrow) {
    return frt__file_pread(f->fd, f->path, dst, bytes, at);
  }
  uint64_t chunk[1024]; // aligned for every type
  size_t left = bytes / wide;
  for (char *to = dst; left > 0;) {
    size_t n = FRT_MIN(left, sizeof chunk / narrow);
    FRT_TRY(frt__file_pread(f->fd, f->path, chunk, n * narrow, at));
    frt__st_widen(f->tensor[i].type, chunk, to, n);
    at += n * narrow;
    to += n * wide;
    left -= n;
  }
  return FRT_OK;
}

// --- hashes
// ---------------------------------------------------------------------------------------
uint64_t frt__st_hash_name(uint64_t h, const char *name, int32_t type, int32_t ndim,
                           const uint64_t *dim)
{
  h = frt__hash(h, name, strlen(name) + 1);
  h = frt__hash(h, frt__st_types[type].name, strlen(frt__st_types[type].name) + 1);
  return frt__hash(h, dim, sizeof *dim * (size_t)FRT_MIN(ndim, 8));
}

uint64_t frt__st_hash_pair(uint64_t h, const char *key, const char *value)
{
  if (strcmp(key, FRT_ST_HASH_KEY) == 0) {
    return h;
  }
  return frt__hash(frt__hash(h, key, strlen(key) + 1), value, strlen(value) + 1);
}

frt_status frt_file_hash(const frt_file *f, uint64_t *tensors, uint64_t *metadata)
{
  *metadata = 0;
  for (int32_t i = 0; i < f->n_meta; i++) {
    *metadata = frt__st_hash_pair(*metadata, f->meta[i].key, f->meta[i].value);
  }
  uint64_t h = 0;
  char *chunk = frt__alloc(FRT_ST_CHUNK);
  FRT_CHECK(chunk, FRT_ENOMEM, "'%s': out of memory", f->path);
  frt_status status = FRT_OK;
  for (int32_t i = 0; i < f->n_tensor && status == FRT_OK; i++) {
    const frt_st_tensor *t = &f->tensor[i];
    h = frt__st_hash_name(h, t->name, t->type, t->ndim, t->dim);
    char *values = NULL;
    status = t->strided ? frt__pth_gather(f, t, &values) : FRT_OK;
    for (uint64_t at = t->begin; at < t->end && status == FRT_OK;) {
      size_t n = (size_t)FRT_MIN(t->end - at, (uint64_t)FRT_ST_CHUNK);
      if (values) {
        memcpy(chunk, values + (at - t->begin), n);
      } else {
        status = frt__file_pread(f->fd, f->path, chunk, n, f->data + at);
      }
      h = status == FRT_OK ? frt__hash(h, chunk, n) : h;
      at += n;
    }
    frt__free(values);
  }
  frt__free(chunk);
  *tensors = h;
  return status;
}

static bool hex16(const char *text, uint64_t *out)
{
  *out = 0;
  for (int i = 0; i < 16; i++) {
    char c = text[i];
    if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) {
      return false;
    }
    *out = *out << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
  }
  return true;
}

frt_status frt_file_verify(const frt_file *f)
{
  FRT_TRY(frt__pth_verify(f));
  const char *text = NULL;
  bool ours = false;
  for (int32_t i = 0; i < f->n_meta; i++) {
    if (strcmp(f->meta[i].key, FRT_ST_HASH_KEY) == 0) {
      text = f->meta[i].value;
    }
    ours |= strcmp(f->meta[i].key, FRT_ST_FORMAT_KEY) == 0;
  }
  FRT_CHECK(text || !ours, FRT_EDATA, "'%s': metadata damaged (no hash)", f->path);
  if (!text) {
    return FRT_OK;
  }
  uint64_t want, want_meta, have, have_meta;
  FRT_CHECK(strlen(text) == 33 && text[16] == '-' && hex16(text, &want) &&
              hex16(text + 17, &want_meta),
            FRT_EDATA, "'%s': the stored hash is damaged", f->path);
  FRT_TRY(frt_file_hash(f, &have, &have_meta));
  FRT_CHECK(have == want, FRT_EDATA, "'%s': tensor data damaged (hash differs)", f->path);
  FRT_CHECK(have_meta == want_meta, FRT_EDATA, "'%s': metadata damaged (hash differs)", f->path);
  return FRT_OK;
}
