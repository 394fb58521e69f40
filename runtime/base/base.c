// base.c -- status text, small allocations, shapes as text, clock, hash.
#include "base.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static _Thread_local char last[1024];

const char *frt_error_last(void)
{
  return last;
}

frt_status frt_error_set(frt_status code, const char *fmt, ...)
{
  char text[sizeof last]; // the arguments may point into `last`
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  memcpy(last, text, sizeof last);
  return code;
}

const char *frt_version(void)
{
  return "0.1.0";
}

static _Atomic int64_t fail_after = -1;

void frt_alloc_fail(int64_t n)
{
  fail_after = n;
}

int64_t frt_alloc_left(void)
{
  return fail_after;
}

bool frt__alloc_refused(void);
bool frt__alloc_refused(void)
{
  return fail_after >= 0 && fail_after-- == 0;
}

void *frt__alloc(size_t bytes)
{
  return frt__alloc_refused() ? NULL : malloc(bytes ? bytes : 1);
}

void *frt__zalloc(size_t bytes)
{
  return frt__alloc_refused() ? NULL : calloc(1, bytes ? bytes : 1);
}

void *frt__realloc(void *p, size_t bytes)
{
  return frt__alloc_refused() ? NULL : realloc(p, bytes ? bytes : 1);
}

char *frt__strdup(const char *s)
{
  size_t n = strlen(s) + 1;
  char *copy = frt__alloc(n);
  return copy ? memcpy(copy, s, n) : NULL;
}

void frt__free(void *p)
{
  free(p);
}

frt_status frt__grow(void *p, int32_t *cap, int32_t n, size_t size)
{
  if (n <= *cap) {
    return FRT_OK;
  }
  int32_t want = FRT_MAX(n, *cap < 16 ? 16 : *cap * 2);
  void *old, *fresh;
  memcpy(&old, p, sizeof old);
  fresh = frt__realloc(old, size * (size_t)want);
  FRT_CHECK(fresh, FRT_ENOMEM, "out of memory: %zu bytes for a table", size * (size_t)want);
  memcpy(p, &fresh, sizeof fresh);
  *cap = want;
  return FRT_OK;
}

uint64_t frt__hash(uint64_t seed, const void *data, size_t bytes)
{
  const uint8_t *p = data;
  uint64_t h = seed ^ 0xcbf29ce484222325u;
  for (; bytes >= 8; p += 8, bytes -= 8) {
    uint64_t word;
    memcpy(&word, p, 8);
    h = (h ^ word) * 0x9e3779b97f4a7c15u;
    h ^= h >> 29;
  }
  for (; bytes > 0; p++, bytes--) {
    h = (h ^ *p) * 0x100000001b3u;
  }
  h = (h ^ (h >> 32)) * 0xd6e8feb86659fd93u;
  return h ^ (h >> 32);
}

double frt__clock(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static const char *const dtype_names[] = {"f32", "f64", "i32", "bf16", "u8", "i64", "f16"};

const char *frt__dtype_name(int32_t dtype)
{
  return dtype_names[dtype];
}

const char *frt__shape_text(const frt_shape *s)
{
  static _Thread_local char ring[8][160];
  static _Thread_local int next;
  char *text = ring[next++ & 7];
  int n = snprintf(text, 160, "[");
  for (int32_t i = 0; i < s->ndim; i++) {
    n += snprintf(text + n, (size_t)(160 - n), i ? ", %lld" : "%lld", (long long)s->dim[i]);
  }
  snprintf(text + n, (size_t)(160 - n), "]");
  return text;
}
