// random.c -- counter-based draws of the photo room: augment streams, the epoch's order,
// substitutes. Nothing here has state that outlives a call, so any photo of any epoch can be made
// again alone.
#include "image.h"

// Keys of the three uses, so that none repeats another's numbers.
enum { AUGMENT = 0x61756700, ORDER = 0x6f726400, SUBSTITUTE = 0x73756200 };

frt__rng frt__rng_at(const frt__key *key, uint32_t op)
{
  uint64_t seed = (uint64_t)key->seed;
  return (frt__rng){
    .counter = {0,                      op, (uint32_t)key->epoch, (uint32_t)key->sample},
    .key = {(uint32_t)seed ^ AUGMENT, (uint32_t)(seed >> 32)  },
  };
}

double frt__rng_unit(frt__rng *r)
{
  if (r->left == 0) {
    frt__philox(r->counter, r->key, r->word);
    r->counter[0]++;
    r->left = 4;
  }
  return r->word[--r->left] * (1.0 / 4294967296.0);
}

double frt__rng_between(frt__rng *r, double lo, double hi)
{
  return lo + (hi - lo) * frt__rng_unit(r);
}

int32_t frt__rng_below(frt__rng *r, int32_t n)
{
  return (int32_t)(frt__rng_unit(r) * n);
}

// A Feistel network over 2 * half bits is a permutation of 0 .. 4^half - 1; walking its cycle until
// the value is below n makes it one of 0 .. n-1 (at most four steps on average).
int32_t frt__order_at(int64_t seed, int64_t epoch, int32_t n, int32_t i)
{
  uint32_t half = 1;
  while ((uint64_t)1 << (2 * half) < (uint64_t)n) {
    half++;
  }
  uint32_t mask = (1u << half) - 1;
  uint32_t key[2] = {(uint32_t)seed ^ ORDER, (uint32_t)((uint64_t)seed >> 32)};
  uint32_t v = (uint32_t)i;
  do {
    uint32_t left = v >> half, right = v & mask;
    for (uint32_t round = 0; round < 8; round++) {
      uint32_t counter[4] = {right, round, (uint32_t)epoch, (uint32_t)n}, word[4];
      frt__philox(counter, key, word);
      uint32_t swap = left ^ (word[0] & mask);
      left = right;
      right = swap;
    }
    v = left << half | right;
  } while (v >= (uint32_t)n);
  return (int32_t)v;
}

int32_t frt__substitute(const frt__key *key, int32_t n, int32_t attempt)
{
  uint64_t seed = (uint64_t)key->seed;
  uint32_t counter[4] = {(uint32_t)attempt, 0, (uint32_t)key->epoch, (uint32_t)key->sample},
           word[4];
  uint32_t k[2] = {(uint32_t)seed ^ SUBSTITUTE, (uint32_t)(seed >> 32)};
  frt__philox(counter, k, word);
  return (int32_t)(((uint64_t)word[0] * (uint64_t)n) >> 32);
}
