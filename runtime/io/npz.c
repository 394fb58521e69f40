// npz.c -- numpy's .npz: a zip file with one array (.npy) per entry. Each array's header is read
// and checked; the numbers stay in the file.
#include "io/pth.h"

#include <stdio.h>
#include <stdlib.h>

#include "io/json.h"
#include "io/zip.h"

enum { MAX_HEADER = 1 << 16 };

static const struct {
  const char *descr, *type;
} types[] = {
  {"<f4", "F32" },
  {"<f8", "F64" },
  {"<f2", "F16" },
  {"<i8", "I64" },
  {"<i4", "I32" },
  {"<i2", "I16" },
  {"|i1", "I8"  },
  {"|u1", "U8"  },
  {"<u2", "U16" },
  {"<u4", "U32" },
  {"<u8", "U64" },
  {"|b1", "BOOL"},
};

typedef struct text {
  const char *at, *end;
} text;

static void space(text *t)
{
  while (t->at < t->end && (*t->at == ' ' || *t->at == '\n')) {
    t->at++;
  }
}

static bool take(text *t, const char *word)
{
  size_t n = strlen(word);
  space(t);
  if ((size_t)(t->end - t->at) < n || memcmp(t->at, word, n) != 0) {
    return false;
  }
  t->at += n;
  return true;
}

// 'text', without escapes
static bool quoted(text *t, char *out, size_t room)
{
  size_t n = 0;
  if (!take(t, "'")) {
    return false;
  }
  while (t->at < t->end && *t->at != '\'' && n + 1 < room) {
    unsigned char c = (unsigned char)*t->at++;
    if (c < 0x20 || c > 0x7e || c == '\\') {
      return false;
    }
    out[n++] = (char)c;
  }
  out[n] = 0;
  return t->at < t->end && *t->at++ == '\'';
}

static bool whole(text *t, uint64_t *out)
{
  space(t);
  const char *start = t->at;
  *out = 0;
  while (t->at < t->end && *t->at >= '0' && *t->at <= '9') {
    if (*out > (UINT64_MAX - 9) / 10) {
      return false;
    }
    *out = *out * 10 + (uint64_t)(*t->at++ - '0');
  }
  return t->at > start;
}

// (768, 12, 64), (5,) or ()
static bool sizes(text *t, frt_st_tensor *out)
{
  if (!take(t, "(")) {
    return false;
  }
  while (!take(t, ")")) {
    if (out->ndim == FRT_COUNT(out->dim) || !whole(t, &out->dim[out->ndim])) {
      return false;
    }
    out->ndim++;
    if (!take(t, ",")) {
      return take(t, ")");
    }
  }
  return true;
}

// {'descr': '<f4', 'fortran_order': False, 'shape': (5,), }
static bool header(text t, frt_st_tensor *out, char descr[32], bool *fortran)
{
  int have = 0;
  char key[32];
  bool ok = take(&t, "{");
  while (ok && !take(&t, "}")) {
    ok = quoted(&t, key, sizeof key) && take(&t, ":");
    if (ok && strcmp(key, "descr") == 0 && !(have & 1)) {
      have |= 1;
      ok = quoted(&t, descr, 32);
    } else if (ok && strcmp(key, "fortran_order") == 0 && !(have & 2)) {
      have |= 2;
      *fortran = take(&t, "True");
      ok = *fortran || take(&t, "False");
    } else if (ok && strcmp(key, "shape") == 0 && !(have & 4)) {
      have |= 4;
      ok = sizes(&t, out);
    } else {
      ok = false;
    }
    ok = ok && (take(&t, ",") || (t.at < t.end && *t.at == '}'));
  }
  space(&t);
  return ok && have == 7 && t.at == t.end;
}

static int32_t type_named(const char *descr)
{
  for (int32_t i = 0; i < FRT_COUNT(types); i++) {
    for (int32_t k = 0; strcmp(types[i].descr, descr) == 0 && k < frt__st_type_count; k++) {
      if (strcmp(types[i].type, frt__st_types[k].name) == 0) {
        return k;
      }
    }
  }
  return -1;
}

// Where the numbers lie, and in which order.
static frt_status place(const frt_file *f, const frt_zip_entry *e, uint64_t begin, bool fortran,
                        frt_st_tensor *t)
{
  uint64_t n = 1, bytes;
  bool bad = false;
  for (int32_t d = 0; d < t->ndim; d++) {
    t->stride[d] = n;
    bad |= __builtin_mul_overflow(n, t->dim[d], &n);
  }
  uint64_t packed = 1;
  for (int32_t d = t->ndim - 1; d >= 0 && !bad; d--) {
    t->stride[d] = fortran ? t->stride[d] : packed;
    t->strided |= t->dim[d] > 1 && t->stride[d] != packed;
    packed *= t->dim[d];
  }
  bad |= __builtin_mul_overflow(n, (uint64_t)frt__st_types[t->type].size, &bytes);
  FRT_CHECK(!bad && bytes == e->size - begin, FRT_EDATA,
            "'%s': array '%s' has %llu bytes, which its shape does not match", f->path, e->name,
            (unsigned long long)(e->size - begin));
  t->begin = e->begin + begin;
  t->end = t->begin + bytes;
  t->span = bytes;
  return FRT_OK;
}

static frt_status read_array(frt_file *f, const frt_zip_entry *e, char *work)
{
  unsigned char head[12] = {0};
  FRT_CHECK(e->size >= 12, FRT_EDATA, "'%s': array '%s' is cut short", f->path, e->name);
  FRT_TRY(frt__file_pread(f->fd, f->path, head, 12, e->begin));
  uint64_t wide = head[6] >= 2 ? 4 : 2, n = head[8] | (uint64_t)head[9] << 8;
  n |= wide == 4 ? (uint64_t)head[10] << 16 | (uint64_t)head[11] << 24 : 0;
  FRT_CHECK(memcmp(head, "\x93NUMPY", 6) == 0 && head[6] >= 1 && head[6] <= 3, FRT_EDATA,
            "'%s': entry '%s' is no array of numpy", f->path, e->name);
  FRT_CHECK(n <= MAX_HEADER && n <= e->size - 8 - wide, FRT_EDATA,
            "'%s': array '%s' has a header of %llu bytes", f->path, e->name, (unsigned long long)n);
  FRT_TRY(frt__file_pread(f->fd, f->path, work, (size_t)n, e->begin + 8 + wide));
  frt_st_tensor t = {.name = e->name};
  char descr[32] = "";
  bool fortran = false;
  FRT_CHECK(header((text){work, work + n}, &t, descr, &fortran), FRT_EDATA,
            "'%s': the header of array '%s' is damaged, or of a kind that is not read", f->path,
            e->name);
  t.type = type_named(descr);
  FRT_CHECK(t.type >= 0, FRT_EDATA, "'%s': array '%s' is of type '%s', which is not read", f->path,
            e->name, descr);
  FRT_TRY(place(f, e, 8 + wide + n, fortran, &t));
  FRT_TRY(frt__grow(&f->tensor, &f->cap_tensor, f->n_tensor + 1, sizeof *f->tensor));
  f->tensor[f->n_tensor++] = t;
  return FRT_OK;
}

bool frt__npz_is(const frt_zip *z)
{
  for (int32_t i = 0; i < z->n; i++) {
    size_t n = strlen(z->entry[i].name);
    if (n > 4 && strcmp(z->entry[i].name + n - 4, ".npy") == 0) {
      return true;
    }
  }
  return false;
}

static bool is_text(const char *s)
{
  const unsigned char *at = (const unsigned char *)s, *end = at + strlen(s);
  while (at < end) {
    int n = frt__utf8_length(at, end);
    if (n == 0) {
      return false;
    }
    at += n;
  }
  return true;
}

frt_status frt__npz_take(frt_file *f)
{
  for (int32_t i = 0; i < f->zip->n; i++) {
    if (f->zip->entry[i].packed) {
      FRT_TRY(frt__zip_inflate(f->zip, &f->fd, f->path, &f->bytes));
    }
  }
  char *work = frt__alloc(MAX_HEADER);
  FRT_CHECK(work, FRT_ENOMEM, "'%s': out of memory", f->path);
  frt_status status = FRT_OK;
  for (int32_t i = 0; i < f->zip->n && status == FRT_OK; i++) {
    const frt_zip_entry *e = &f->zip->entry[i];
    status = is_text(e->name) ? read_array(f, e, work)
                              : frt_error_set(FRT_EDATA, "'%s': a name is not text", f->path);
  }
  frt__free(work);
  FRT_TRY(status);
  uint64_t total = 0;
  for (int32_t i = 0; i < f->n_tensor; i++) {
    char *name = f->tensor[i].name;
    size_t n = strlen(name);
    if (n > 4 && strcmp(name + n - 4, ".npy") == 0) {
      name[n - 4] = 0;
    }
    total += f->tensor[i].end - f->tensor[i].begin;
    FRT_CHECK(total <= 4 * f->bytes, FRT_EDATA,
              "'%s': its arrays share bytes and take more than four times the file", f->path);
  }
  return frt__st_check_names(f);
}
