// pack.c -- where in the arena every piece lies, so that it stays small: several orders are tried,
// each piece going to the lowest gap it fits, and the lowest top is kept.
#include <stdlib.h>

#include "plan/plan.h"

enum { REPAIRS = 8, CLOSE = 200 }; // tries to lower the top; 1/CLOSE above the bound is enough

static int compare_size(size_t a, size_t b)
{
  return (a < b) - (a > b);
}

static int larger(const void *a, const void *b)
{
  const frt_piece *x = a, *y = b;
  int order = compare_size(x->bytes, y->bytes);
  order = order ? order : (x->first > y->first) - (x->first < y->first);
  return order ? order : (x->id > y->id) - (x->id < y->id);
}

static int longer(const void *a, const void *b)
{
  const frt_piece *x = a, *y = b;
  int dx = x->last - x->first, dy = y->last - y->first;
  int order = (dx < dy) - (dx > dy);
  return order ? order : larger(a, b);
}

static int wider(const void *a, const void *b)
{
  const frt_piece *x = a, *y = b;
  int order = compare_size(x->bytes * (size_t)(x->last - x->first + 1),
                           y->bytes * (size_t)(y->last - y->first + 1));
  return order ? order : larger(a, b);
}

static int earlier(const void *a, const void *b)
{
  const frt_piece *x = a, *y = b;
  int order = (x->first > y->first) - (x->first < y->first);
  return order ? order : longer(a, b);
}

// What lives at the peak first: it then lies without gaps.
static int at_peak(const void *a, const void *b)
{
  const frt_piece *x = a, *y = b;
  return x->peak != y->peak ? y->peak - x->peak : larger(a, b);
}

static int (*const orders[])(const void *, const void *) = {at_peak, larger, longer, wider,
                                                            earlier};

// Where a placed piece lies and when it lives.
typedef struct spot {
  size_t at, end;
  int32_t first, last;
} spot;

// Each piece in turn goes to the lowest gap that holds it among the placed ones alive with it.
// `placed` is kept in the order of offsets.
static size_t pack(frt_piece *pieces, int32_t n, spot *placed)
{
  size_t top = 0;
  for (int32_t i = 0; i < n; i++) {
    frt_piece *x = &pieces[i];
    const int32_t first = x->first, last = x->last;
    size_t at = 0;
    int32_t j = 0;
    for (; j < i; j++) {
      const spot *y = &placed[j];
      if (y->first > last || first > y->last) {
        continue;
      }
      if (y->at >= at + x->bytes) {
        break;
      }
      at = FRT_MAX(at, y->end);
    }
    while (j > 0 && placed[j - 1].at > at) {
      j--;
    }
    memmove(&placed[j + 1], &placed[j], sizeof *placed * (size_t)(i - j));
    placed[j] = (spot){.at = at, .end = at + x->bytes, .first = first, .last = last};
    x->at = at;
    top = FRT_MAX(top, at + x->bytes);
  }
  return top;
}

// The most bytes alive at once, and which pieces are there then.
static size_t find_bound(frt_piece *pieces, int32_t n, int32_t n_step, int64_t *change)
{
  memset(change, 0, sizeof *change * (size_t)(n_step + 1));
  for (int32_t i = 0; i < n; i++) {
    change[pieces[i].first] += (int64_t)pieces[i].bytes;
    change[pieces[i].last + 1] -= (int64_t)pieces[i].bytes;
  }
  int64_t live = 0, most = 0;
  int32_t peak = 0;
  for (int32_t s = 0; s < n_step; s++) {
    live += change[s];
    if (live > most) {
      most = live;
      peak = s;
    }
  }
  for (int32_t i = 0; i < n; i++) {
    pieces[i].peak = pieces[i].first <= peak && peak <= pieces[i].last;
  }
  return (size_t)most;
}

// Moves a piece that reaches the top to the front; false when it is there already.
static bool lift(frt_piece *pieces, int32_t n, size_t top)
{
  int32_t i = n - 1;
  while (i > 0 && pieces[i].at + pieces[i].bytes < top) {
    i--;
  }
  frt_piece x = pieces[i];
  memmove(pieces + 1, pieces, sizeof *pieces * (size_t)i);
  pieces[0] = x;
  return i > 0;
}

frt_status frt__pack_pieces(frt_piece *pieces, int32_t n, int32_t n_step, size_t *top,
                            size_t *bound)
{
  *top = *bound = 0;
  if (n == 0) {
    return FRT_OK;
  }
  size_t room = sizeof(int64_t) * (size_t)(n_step + 1) + sizeof *pieces * (size_t)n;
  int64_t *change = frt__alloc(room + sizeof(spot) * (size_t)(n + 1));
  FRT_CHECK(change, FRT_ENOMEM, "out of memory: a plan");
  frt_piece *trial = (frt_piece *)(change + n_step + 1);
  spot *placed = (spot *)(trial + n);
  *bound = find_bound(pieces, n, n_step, change);
  const size_t close = *bound + *bound / CLOSE;
  memcpy(trial, pieces, sizeof *pieces * (size_t)n);
  *top = SIZE_MAX;
  for (int32_t o = 0; o < FRT_COUNT(orders) && *top > close; o++) {
    qsort(trial, (size_t)n, sizeof *trial, orders[o]);
    for (int32_t k = 0; k <= REPAIRS && *top > close; k++) {
      size_t t = pack(trial, n, placed);
      if (t < *top) {
        *top = t;
        memcpy(pieces, trial, sizeof *pieces * (size_t)n);
      }
      if (!lift(trial, n, t)) {
        break;
      }
    }
  }
  frt__free(change);
  return FRT_OK;
}
