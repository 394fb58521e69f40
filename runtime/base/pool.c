// pool.c -- big blocks. Freed blocks stay mapped for a while and are handed out again (best fit):
// on virtual machines the first touch of a page costs more than the work done on it. What nobody
// took for KEEP_S goes back to the system, and more than MORE over the most that was ever in use is
// never mapped.
#define _GNU_SOURCE // mremap
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "base.h"

enum { ALIGN = 64, PAGED = 64 << 10, HUGE_PAGE = 2 << 20, KEEP_S = 10, MORE = 8 };
bool frt__alloc_refused(void);

typedef struct spare {
  void *p;
  size_t bytes;
  double since; // when it was freed
} spare;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static spare *spares;
static int32_t n_spares, cap_spares;
static int64_t live, peak, mapped, since_gc, limit;

static size_t rounded(size_t bytes)
{
  size_t unit = bytes < PAGED ? ALIGN : bytes < HUGE_PAGE ? 4096 : (size_t)256 << 10;
  return (FRT_MAX(bytes, (size_t)1) + unit - 1) / unit * unit;
}

void frt_memory(frt_memory_info *out)
{
  pthread_mutex_lock(&lock);
  *out = (frt_memory_info){.live = live, .peak = peak, .mapped = mapped, .since_gc = since_gc};
  pthread_mutex_unlock(&lock);
}

void frt_memory_collected(void)
{
  since_gc = 0;
}

void frt_memory_limit(int64_t bytes)
{
  limit = bytes;
}

static void unmap(const spare *s)
{
  munmap(s->p, s->bytes);
  mapped -= (int64_t)s->bytes;
}

// Spares lie in the order in which they were freed. Gives back the oldest: those of long ago, and
// as many as it takes until what is mapped is 1/MORE over the peak at most.
static void give_back(double now)
{
  int32_t n = 0;
  while (n < n_spares && (now - spares[n].since > KEEP_S || mapped > peak + peak / MORE)) {
    unmap(&spares[n++]);
  }
  n_spares -= n;
  if (n > 0) {
    memmove(spares, spares + n, sizeof *spares * (size_t)n_spares);
  }
}

static void *take_spare(size_t bytes)
{
  int32_t best = -1;
  for (int32_t i = 0; i < n_spares; i++) {
    if (spares[i].bytes >= bytes && spares[i].bytes <= bytes + bytes / 8 &&
        (best < 0 || spares[i].bytes < spares[best].bytes)) {
      best = i;
    }
  }
  if (best < 0) {
    return NULL;
  }
  void *p = spares[best].p;
  // A spare keeps its own size: what it is larger by stays with the block until it is unmapped.
  size_t whole = spares[best].bytes;
  n_spares--;
  memmove(spares + best, spares + best + 1, sizeof *spares * (size_t)(n_spares - best));
  if (whole > bytes) {
    munmap((char *)p + bytes, whole - bytes);
    mapped -= (int64_t)(whole - bytes);
  }
  return p;
}

// What lies in the pool may be in the way of a block that doesn't fit any spare.
static void drop_spares(void)
{
  for (int32_t i = 0; i < n_spares; i++) {
    unmap(&spares[i]);
  }
  n_spares = 0;
}

static bool limited;

__attribute__((constructor)) static void look_for_limits(void)
{
  struct rlimit space, data;
  limited = (getrlimit(RLIMIT_AS, &space) == 0 && space.rlim_cur != RLIM_INFINITY) ||
            (getrlimit(RLIMIT_DATA, &data) == 0 && data.rlim_cur != RLIM_INFINITY);
}

static bool probe(size_t bytes)
{
  void *p =
    mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return p != MAP_FAILED && munmap(p, bytes) == 0;
}

bool frt__room(size_t bytes)
{
  if (!limited || probe(bytes)) {
    return true;
  }
  pthread_mutex_lock(&lock);
  drop_spares();
  pthread_mutex_unlock(&lock);
  return probe(bytes);
}

frt_status frt__block_new(void **out, size_t bytes, const char *what)
{
  size_t n = rounded(bytes);
  void *p = NULL;
  *out = NULL;
  if (frt__alloc_refused()) {
    return frt_error_set(FRT_ENOMEM, "out of memory: %.1f MB for %s", (double)bytes / 1e6, what);
  }
  pthread_mutex_lock(&lock);
  if (limit > 0 && live + (int64_t)n > limit) {
    pthread_mutex_unlock(&lock);
    return frt_error_set(FRT_ENOMEM,
                         "out of memory: %.1f MB for %s (%.1f MB in use, limit %.1f MB)",
                         (double)bytes / 1e6, what, (double)live / 1e6, (double)limit / 1e6);
  }
  if (n < PAGED) {
    p = aligned_alloc(ALIGN, n);
  } else if (!(p = take_spare(n))) {
    p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED && n_spares > 0) {
      drop_spares();
      p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    }
    if (p == MAP_FAILED) {
      p = NULL;
    } else {
      mapped += (int64_t)n;
      peak = FRT_MAX(peak, live + (int64_t)n);
      give_back(frt__clock());
      if (n >= HUGE_PAGE) {
        madvise(p, n, MADV_HUGEPAGE);
      }
    }
  }
  if (p) {
    live += (int64_t)n;
    since_gc += (int64_t)n;
    peak = FRT_MAX(peak, live);
  }
  pthread_mutex_unlock(&lock);
  FRT_CHECK(p, FRT_ENOMEM, "out of memory: %.1f MB for %s", (double)bytes / 1e6, what);
  *out = p;
  return FRT_OK;
}

// Paged blocks move with the pages they have; what they hold is kept or not.
frt_status frt__block_grow(void **p, size_t from, size_t to, const char *what)
{
  size_t old = rounded(from), fresh = rounded(to);
  if (!*p || old < PAGED || frt__alloc_refused()) {
    frt__block_free(*p, from);
    return frt__block_new(p, to, what);
  }
  pthread_mutex_lock(&lock);
  bool fits = limit <= 0 || live - (int64_t)old + (int64_t)fresh <= limit;
  void *moved = fits ? mremap(*p, old, fresh, MREMAP_MAYMOVE) : MAP_FAILED;
  if (moved != MAP_FAILED) {
    live += (int64_t)(fresh - old);
    mapped += (int64_t)(fresh - old);
    since_gc += (int64_t)(fresh - old);
    peak = FRT_MAX(peak, live);
    give_back(frt__clock());
  }
  pthread_mutex_unlock(&lock);
  if (moved == MAP_FAILED) {
    frt__block_free(*p, from);
    return frt__block_new(p, to, what);
  }
  *p = moved;
  return FRT_OK;
}

void frt__block_free(void *p, size_t bytes)
{
  if (!p) {
    return;
  }
  size_t n = rounded(bytes);
  pthread_mutex_lock(&lock);
  live -= (int64_t)n;
  if (n < PAGED) {
    free(p);
  } else if (frt__grow(&spares, &cap_spares, n_spares + 1, sizeof *spares) == FRT_OK) {
    spares[n_spares++] = (spare){p, n, frt__clock()};
    give_back(spares[n_spares - 1].since);
  } else {
    munmap(p, n);
    mapped -= (int64_t)n;
  }
  pthread_mutex_unlock(&lock);
}

frt_status frt__account_take(size_t bytes, const char *what)
{
  const int64_t n = (int64_t)rounded(bytes);
  pthread_mutex_lock(&lock);
  const bool fits = !frt__alloc_refused() && (limit <= 0 || live + n <= limit);
  if (fits) {
    live += n;
    since_gc += n;
    peak = FRT_MAX(peak, live);
  }
  pthread_mutex_unlock(&lock);
  FRT_CHECK(fits, FRT_ENOMEM, "out of memory: %.1f MB for %s", (double)bytes / 1e6, what);
  return FRT_OK;
}

void frt__account_give(size_t bytes)
{
  pthread_mutex_lock(&lock);
  live -= (int64_t)rounded(bytes);
  pthread_mutex_unlock(&lock);
}
