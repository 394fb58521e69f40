// fuzz.c -- see fuzz.h.
#define _GNU_SOURCE
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

// What no file of the size of an input may cost.
enum { MAX_VALUES = 64 << 20 };

static void use(const frt_file *f)
{
  uint64_t a, b;
  const char *key, *value;
  for (int32_t i = 0; i < frt_file_meta_count(f); i++) {
    frt_file_meta(f, i, &key, &value);
  }
  for (int32_t i = 0; i < frt_file_count(f); i++) {
    frt_file_tensor info;
    if (frt_file_tensor_at(f, i, &info) != FRT_OK || info.shape.dtype < 0) {
      continue;
    }
    if (frt_file_find(f, info.name) < 0) {
      abort();
    }
    size_t bytes = frt__bytes(&info.shape);
    if (bytes > MAX_VALUES) {
      abort();
    }
    void *values = malloc(bytes + 1);
    (void)!frt_file_read(f, i, values, bytes);
    free(values);
  }
  (void)!frt_file_verify(f);
  (void)!frt_file_hash(f, &a, &b);
}

void fuzz_file(const void *data, size_t n)
{
  static int fd = -1;
  static char path[64], to[64];
  if (fd < 0) {
    fd = memfd_create("input", 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    snprintf(to, sizeof to, "/tmp/foodrt-fuzz-%d", (int)getpid());
  }
  if (ftruncate(fd, 0) != 0 || pwrite(fd, data, n, 0) != (ssize_t)n) {
    abort();
  }
  frt_file *f;
  if (frt_file_open(path, &f) != FRT_OK) {
    if (!strstr(frt_error_last(), path)) {
      abort(); // every message names the file
    }
    return;
  }
  use(f);
  if (n % 16 == 0) { // files are slow: of some inputs only
    static const int32_t dtypes[] = {-1, FRT_F32, FRT_F16, FRT_BF16};
    enum { MOST = 1024 };
    static const frt_file *files[MOST];
    static const char *names[MOST];
    static int32_t index[MOST];
    int32_t count = frt_file_count(f) < MOST ? frt_file_count(f) : MOST;
    for (int32_t i = 0; i < count; i++) {
      frt_file_tensor t;
      (void)!frt_file_tensor_at(f, i, &t);
      files[i] = f;
      index[i] = i;
      names[i] = t.name;
    }
    (void)!frt_file_convert(to, count, files, index, names, dtypes[n / 16 % 4], 0, NULL, NULL);
    unlink(to);
  }
  frt_file_close(f);
}

static unsigned char *put(unsigned char *p, uint64_t v, int n)
{
  for (int i = 0; i < n; i++) {
    *p++ = i < 8 ? (unsigned char)(v >> 8 * i) : 0;
  }
  return p;
}

static uint32_t crc(const unsigned char *p, size_t n)
{
  uint32_t v = UINT32_MAX;
  for (size_t i = 0; i < n; i++) {
    v ^= p[i];
    for (int k = 0; k < 8; k++) {
      v = v >> 1 ^ (v & 1 ? 0xedb88320u : 0);
    }
  }
  return ~v;
}

// What the two headers of an entry have in common.
static unsigned char *about(unsigned char *p, const fuzz_entry *e)
{
  p = put(p, 0, 8);
  p = put(p, crc(e->data, e->n), 4);
  p = put(p, e->n, 4);
  p = put(p, e->n, 4);
  return put(p, strlen(e->name), 4); // of the name, and of no extra field
}

size_t fuzz_zip(const fuzz_entry *entries, int n, unsigned char **out)
{
  size_t room = 22, places[16], start;
  for (int i = 0; i < n; i++) {
    room += 76 + 2 * strlen(entries[i].name) + entries[i].n;
  }
  unsigned char *p = *out = malloc(room);
  for (int i = 0; i < n; i++) {
    const fuzz_entry *e = &entries[i];
    places[i] = (size_t)(p - *out);
    p = about(put(put(p, 0x04034b50, 4), 20, 2), e);
    p = (unsigned char *)memcpy(p, e->name, strlen(e->name)) + strlen(e->name);
    p = (unsigned char *)memcpy(p, e->data, e->n) + e->n;
  }
  start = (size_t)(p - *out);
  for (int i = 0; i < n; i++) {
    const fuzz_entry *e = &entries[i];
    p = about(put(put(p, 0x02014b50, 4), 20 | 20 << 16, 4), e);
    p = put(put(p, 0, 10), places[i], 4);
    p = (unsigned char *)memcpy(p, e->name, strlen(e->name)) + strlen(e->name);
  }
  size_t directory = (size_t)(p - *out) - start;
  p = put(put(put(p, 0x06054b50, 4), 0, 4), (uint64_t)n | (uint64_t)n << 16, 4);
  p = put(put(put(p, directory, 4), start, 4), 0, 2);
  return (size_t)(p - *out);
}
