// base.h -- status and message, memory, Philox, clock: what every other room stands on.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "foodrt.h"

// --- status ---------------------------------------------------------------------------------
// Every function that can fail returns frt_status; the text is thread-local. Form of a message:
// "<op>: <what> must be <expected>, got <actual>".
frt_status frt_error_set(frt_status code, const char *fmt, ...)
  __attribute__((format(printf, 2, 3), cold));

#define FRT_CHECK(cond, code, ...)                                                                 \
  do {                                                                                             \
    if (__builtin_expect(!(cond), 0)) {                                                            \
      frt_error_set((code), __VA_ARGS__);                                                          \
      return (code); /* a constant: the compiler sees that this is not FRT_OK */                   \
    }                                                                                              \
  } while (0)
#define FRT_TRY(expr)                                                                              \
  do {                                                                                             \
    frt_status s_ = (expr);                                                                        \
    if (__builtin_expect(s_ != FRT_OK, 0)) {                                                       \
      return s_;                                                                                   \
    }                                                                                              \
  } while (0)
#define FRT_COUNT(a) ((int32_t)(sizeof(a) / sizeof((a)[0])))
#define FRT_MIN(a, b) ((a) < (b) ? (a) : (b))
#define FRT_MAX(a, b) ((a) > (b) ? (a) : (b))

// --- libraries that are opened on first use ----------------------------------------------------
typedef struct frt__symbol {
  const char *name;
  void *to; // the function pointer that becomes its address
} frt__symbol;
// Opens a library and finds all symbols; it stays open. NULL: it is not there (*missing NULL,
// dlerror says why) or lacks *missing.
void *frt__library(const char *name, int32_t n, const frt__symbol *symbols, const char **missing);

// --- memory ---------------------------------------------------------------------------------
// Small blocks. NULL on failure (no message). frt_alloc_fail(n) makes the n-th allocation from now
// fail, which is how the specs test every path of "out of memory".
void *frt__alloc(size_t bytes);  // uninitialised
void *frt__zalloc(size_t bytes); // zeroed
void *frt__realloc(void *p, size_t bytes);
char *frt__strdup(const char *s);
void frt__free(void *p);
// Grows *p (capacity *cap elements of `size` bytes) to hold at least n; FRT_ENOMEM with a message.
frt_status frt__grow(void *p, int32_t *cap, int32_t n, size_t size);

// Big blocks: 64-byte aligned, page backed above 64 KiB, kept in a pool and never returned while
// the process lives (first-touch page faults are dear on virtual machines). Counted in
// frt_memory().
frt_status frt__block_new(void **out, size_t bytes, const char *what);
// A larger block in place of *p; nobody may count on what it holds. On failure *p is freed and
// NULL.
frt_status frt__block_grow(void **p, size_t from, size_t to, const char *what);
void frt__block_free(void *p, size_t bytes);
// Counts bytes of another device's memory as these blocks are counted and limited (buffer.c).
frt_status frt__account_take(size_t bytes, const char *what);
void frt__account_give(size_t bytes);

// Whether the limits that were set for this process (ulimit -v, -d) leave that much: asked before
// libraries that don't survive a refusal. Without limits it is true and costs nothing.
bool frt__room(size_t bytes);

// --- randomness -----------------------------------------------------------------------------
// Philox4x32-10 (Salmon et al. 2011): 128 random bits from a 128-bit counter and a 64-bit key.
void frt__philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);
// 24-bit uniform in [0, 1).
static inline float frt__unit(uint32_t bits)
{
  return (float)(bits >> 8) * (1.0f / 16777216.0f);
}
// Numbers in [0, 1) that depend on the arguments alone, 4 per Philox call; n < 2^34. Number j is
// word j mod 4 of counter {j / 4, step high, step low, sample} under key {seed low ^ key_lo, seed
// high ^ key_hi}.
void frt__uniform(float *out, int64_t n, uint64_t seed, uint32_t key_hi, uint32_t key_lo,
                  uint64_t step, uint32_t sample);
uint64_t frt__hash(uint64_t seed, const void *data, size_t bytes); // FNV-1a, then mixed

double frt__clock(void); // seconds, monotonic

// --- threads --------------------------------------------------------------------------------
int32_t frt__threads_startable(int32_t n); // of n threads besides this one, those the system starts
// Looks, at most every 50 ms, whether others want the processors, and decides how compute threads
// wait. Called before a plan runs.
void frt__threads_wait(void);

// --- shapes ---------------------------------------------------------------------------------
static inline int64_t frt__numel(const frt_shape *s)
{
  int64_t n = 1;
  for (int32_t i = 0; i < s->ndim; i++) {
    if (__builtin_mul_overflow(n, s->dim[i], &n)) {
      return INT64_MAX; // more than there can be: no memory is that large
    }
  }
  return n;
}
static inline size_t frt__dtype_size(int32_t dtype)
{
  static const uint8_t size[] = {4, 8, 4, 2, 1, 8, 2}; // in the order of frt_dtype
  return size[dtype];
}
const char *frt__dtype_name(int32_t dtype);
static inline size_t frt__bytes(const frt_shape *s)
{
  return (size_t)frt__numel(s) * frt__dtype_size(s->dtype);
}
static inline bool frt__shape_equal(const frt_shape *a, const frt_shape *b)
{
  return a->ndim == b->ndim && memcmp(a->dim, b->dim, sizeof(int64_t) * (size_t)a->ndim) == 0;
}
// "[2, 3, 8, 8]", in a ring of 8 static thread-local buffers: for messages only.
const char *frt__shape_text(const frt_shape *s);
