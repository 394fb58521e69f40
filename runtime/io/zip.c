// zip.c -- reading a zip file's directory (with its 64-bit fields) and checking every place in it
// against the file. Encrypted entries are refused.
#include "io/zip.h"

#include <stdlib.h>

enum { MAX_DIRECTORY = 64 << 20, CHUNK = 1 << 16, DEFLATED = 8 };

static uint32_t le16(const char *p)
{
  const unsigned char *u = (const unsigned char *)p;
  return u[0] | (uint32_t)u[1] << 8;
}

static uint32_t le32(const char *p)
{
  return le16(p) | le16(p + 2) << 16;
}

static uint64_t le64(const char *p)
{
  return le32(p) | (uint64_t)le32(p + 4) << 32;
}

typedef struct place {
  uint64_t offset, size, entries;
} place;

// Finds the record at the end that says where the directory lies.
static frt_status find_directory(int fd, const char *path, uint64_t size, place *out)
{
  enum { END = 22, LOCATOR = 20, END64 = 56, MAX_TAIL = END + 65535 + LOCATOR };
  size_t n = (size_t)FRT_MIN(size, (uint64_t)MAX_TAIL);
  char *tail = frt__alloc(n + 1);
  FRT_CHECK(tail, FRT_ENOMEM, "'%s': out of memory", path);
  frt_status status = frt__file_pread(fd, path, tail, n, size - n);
  const char *end = NULL;
  for (size_t i = n >= END ? n - END + 1 : 0; i > 0 && !end && status == FRT_OK; i--) {
    end = le32(tail + i - 1) == 0x06054b50u ? tail + i - 1 : NULL;
  }
  uint64_t at64 = 0;
  if (end) {
    *out = (place){le32(end + 16), le32(end + 12), le16(end + 10)};
    bool wide = end - tail >= LOCATOR && le32(end - LOCATOR) == 0x07064b50u;
    at64 = wide ? le64(end - LOCATOR + 8) : 0;
  }
  frt__free(tail);
  FRT_TRY(status);
  FRT_CHECK(end, FRT_EDATA, "'%s': the file is cut short: a zip file without its directory", path);
  if (at64 > 0) {
    char record[END64];
    FRT_CHECK(at64 <= size - FRT_MIN(size, (uint64_t)END64), FRT_EDATA,
              "'%s': the zip directory is damaged: its end lies outside the file", path);
    FRT_TRY(frt__file_pread(fd, path, record, END64, at64));
    FRT_CHECK(le32(record) == 0x06064b50u, FRT_EDATA, "'%s': the zip directory is damaged", path);
    *out = (place){le64(record + 48), le64(record + 40), le64(record + 32)};
  }
  FRT_CHECK(out->size <= size && out->offset <= size - out->size, FRT_EDATA,
            "'%s': the zip directory is damaged: it lies outside the file", path);
  FRT_CHECK(out->size <= MAX_DIRECTORY, FRT_EDATA, "'%s': a zip directory of %llu bytes", path,
            (unsigned long long)out->size);
  return FRT_OK;
}

// The 64-bit values of an entry stand in its extra field where the narrow ones are all ones.
static bool widen(const char *extra, uint32_t length, uint64_t *full, uint64_t *packed,
                  uint64_t *offset)
{
  uint64_t *wanted[3] = {full, packed, offset};
  if (*full != UINT32_MAX && *packed != UINT32_MAX && *offset != UINT32_MAX) {
    return true;
  }
  for (uint32_t at = 0; at + 4 <= length;) {
    uint32_t id = le16(extra + at), n = le16(extra + at + 2), used = 0;
    at += 4;
    if (n > length - at) {
      return false;
    }
    for (int i = 0; id == 1 && i < 3; i++) {
      if (*wanted[i] == UINT32_MAX) {
        if (used + 8 > n) {
          return false;
        }
        *wanted[i] = le64(extra + at + used);
        used += 8;
      }
    }
    if (id == 1) {
      return true;
    }
    at += n;
  }
  return false;
}

// Entries are found by their local header: name and extra field there may be longer.
static frt_status locate(int fd, const char *path, uint64_t size, uint64_t offset, frt_zip_entry *e)
{
  char local[30];
  FRT_CHECK(size >= 30 && offset <= size - 30, FRT_EDATA,
            "'%s': entry '%s' of the zip file lies outside it", path, e->name);
  FRT_TRY(frt__file_pread(fd, path, local, 30, offset));
  FRT_CHECK(le32(local) == 0x04034b50u && le16(local + 8) == (e->packed ? DEFLATED : 0), FRT_EDATA,
            "'%s': entry '%s' of the zip file is damaged", path, e->name);
  e->begin = offset + 30 + le16(local + 26) + le16(local + 28);
  uint64_t bytes = e->packed ? e->packed : e->size;
  FRT_CHECK(e->begin <= size && bytes <= size - e->begin, FRT_EDATA,
            "'%s': entry '%s' of the zip file lies outside it", path, e->name);
  return FRT_OK;
}

static frt_status read_entry(frt_zip *z, int fd, const char *path, uint64_t size, char **at,
                             const char *end)
{
  char *p = *at;
  FRT_CHECK(end - p >= 46 && le32(p) == 0x02014b50u, FRT_EDATA,
            "'%s': the zip directory is damaged", path);
  uint32_t flags = le16(p + 8), method = le16(p + 10), name = le16(p + 28), extra = le16(p + 30);
  uint64_t packed = le32(p + 20), full = le32(p + 24), offset = le32(p + 42), more = le16(p + 32);
  frt_zip_entry e = {.crc = le32(p + 16)};
  FRT_CHECK((uint64_t)(end - p - 46) >= (uint64_t)name + extra + more, FRT_EDATA,
            "'%s': the zip directory is damaged", path);
  bool ok = widen(p + 46 + name, extra, &full, &packed, &offset);
  *at = p + 46 + name + extra + more;
  e.name = p + 45; // one byte to the front: makes room for the closing zero
  memmove(e.name, p + 46, name);
  e.name[name] = 0;
  FRT_CHECK(ok && strlen(e.name) == name, FRT_EDATA, "'%s': the zip directory is damaged", path);
  FRT_CHECK(!(flags & 1), FRT_EDATA, "'%s': entry '%s' is encrypted", path, e.name);
  FRT_CHECK((method == 0 && packed == full) || (method == DEFLATED && packed > 0), FRT_EDATA,
            "'%s': entry '%s' is compressed in a way that is not read", path, e.name);
  e.packed = method == DEFLATED ? packed : 0;
  e.size = full;
  FRT_TRY(locate(fd, path, size, offset, &e));
  FRT_TRY(frt__grow(&z->entry, &z->cap, z->n + 1, sizeof *z->entry));
  z->entry[z->n++] = e;
  return FRT_OK;
}

static int by_name(const void *a, const void *b)
{
  return strcmp(((const frt_zip_entry *)a)->name, ((const frt_zip_entry *)b)->name);
}

frt_status frt__zip_open(frt_zip *z, int fd, const char *path, uint64_t size)
{
  place where;
  FRT_TRY(find_directory(fd, path, size, &where));
  z->directory = frt__alloc((size_t)where.size + 1);
  FRT_CHECK(z->directory, FRT_ENOMEM, "'%s': out of memory", path);
  FRT_TRY(frt__file_pread(fd, path, z->directory, (size_t)where.size, where.offset));
  char *at = z->directory, *end = at + where.size;
  uint64_t total = 0;
  for (uint64_t i = 0; i < where.entries; i++) {
    FRT_TRY(read_entry(z, fd, path, size, &at, end));
    const frt_zip_entry *e = &z->entry[z->n - 1];
    total +=
      e->packed ? e->packed : e->size; // each is within the file: no overflow before the check
    FRT_CHECK(total <= size, FRT_EDATA, "'%s': entries of the zip file overlap", path);
  }
  if (z->n > 0) {
    qsort(z->entry, (size_t)z->n, sizeof *z->entry, by_name);
  }
  return FRT_OK;
}

void frt__zip_free(frt_zip *z)
{
  frt__free(z->directory);
  frt__free(z->entry);
  *z = (frt_zip){0};
}

const frt_zip_entry *frt__zip_find(const frt_zip *z, const char *name)
{
  frt_zip_entry key = {.name = (char *)name};
  return z->n > 0 ? bsearch(&key, z->entry, (size_t)z->n, sizeof key, by_name) : NULL;
}

// CRC-32 as zip files use it, eight bytes per step.
typedef struct crc_tables {
  uint32_t t[8][256];
} crc_tables;

static void make_tables(crc_tables *c)
{
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t v = i;
    for (int k = 0; k < 8; k++) {
      v = v >> 1 ^ (v & 1 ? 0xedb88320u : 0);
    }
    c->t[0][i] = v;
  }
  for (int k = 1; k < 8; k++) {
    for (int i = 0; i < 256; i++) {
      c->t[k][i] = c->t[k - 1][i] >> 8 ^ c->t[0][c->t[k - 1][i] & 255];
    }
  }
}

static uint32_t crc(const crc_tables *c, uint32_t v, const char *p, size_t n)
{
  for (; n >= 8; n -= 8, p += 8) {
    uint32_t a = le32(p) ^ v, b = le32(p + 4);
    v = c->t[7][a & 255] ^ c->t[6][a >> 8 & 255] ^ c->t[5][a >> 16 & 255] ^ c->t[4][a >> 24] ^
        c->t[3][b & 255] ^ c->t[2][b >> 8 & 255] ^ c->t[1][b >> 16 & 255] ^ c->t[0][b >> 24];
  }
  for (; n > 0; n--, p++) {
    v = v >> 8 ^ c->t[0][(v ^ (unsigned char)*p) & 255];
  }
  return v;
}

frt_status frt__zip_check(const frt_zip_entry *e, int fd, const char *path)
{
  struct {
    crc_tables c;
    char chunk[CHUNK];
  } *work = frt__alloc(sizeof *work);
  FRT_CHECK(work, FRT_ENOMEM, "'%s': out of memory", path);
  make_tables(&work->c);
  uint32_t v = UINT32_MAX;
  frt_status status = FRT_OK;
  for (uint64_t at = 0; at < e->size && status == FRT_OK;) {
    size_t n = (size_t)FRT_MIN(e->size - at, (uint64_t)CHUNK);
    status = frt__file_pread(fd, path, work->chunk, n, e->begin + at);
    v = status == FRT_OK ? crc(&work->c, v, work->chunk, n) : v;
    at += n;
  }
  frt__free(work);
  FRT_TRY(status);
  FRT_CHECK(~v == e->crc, FRT_EDATA, "'%s': entry '%s' is damaged (checksum differs)", path,
            e->name);
  return FRT_OK;
}
