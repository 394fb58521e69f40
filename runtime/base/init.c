// init.c -- initial values of parameters: uniform, normal and truncated normal, element j from
// Philox with counter (j/4, attempt, "init") and key (seed ^ hash(name)): the same whatever is
// built before, on any number of threads.
#include <math.h>

#include "base.h"

enum { TAG = 0x696e6974 }; // "init": keeps these streams apart from dropout's

typedef struct key {
  uint32_t word[2];
} key;

static key key_of(uint64_t seed, const char *name)
{
  uint64_t k = frt__hash(seed, name, strlen(name));
  key out = {
    {(uint32_t)k, (uint32_t)(k >> 32)}
  };
  return out;
}

static void draw(const key *k, int64_t block, uint32_t attempt, uint32_t out[4])
{
  uint32_t counter[4] = {(uint32_t)block, (uint32_t)(block >> 32), attempt, TAG};
  frt__philox(counter, k->word, out);
}

// Two independent standard normals (Box and Muller) from two words.
static void normal_pair(const uint32_t bits[2], float out[2])
{
  float u = ((float)(bits[0] >> 8) + 0.5f) * (1.0f / 16777216.0f); // never 0
  float angle = (float)(bits[1] >> 8) * (6.28318530717958647692f / 16777216.0f);
  float radius = sqrtf(-2.0f * logf(u));
  out[0] = radius * cosf(angle);
  out[1] = radius * sinf(angle);
}

static void normal_four(const key *k, int64_t block, uint32_t attempt, float out[4])
{
  uint32_t bits[4];
  draw(k, block, attempt, bits);
  normal_pair(bits, out);
  normal_pair(bits + 2, out + 2);
}

void frt_fill_uniform(float *dst, int64_t n, uint64_t seed, const char *name, double lo, double hi)
{
  key k = key_of(seed, name);
  int64_t blocks = (n + 3) / 4;
#pragma omp parallel for schedule(static) num_threads(frt_threads()) if (n > 65536)
  for (int64_t b = 0; b < blocks; b++) {
    uint32_t bits[4];
    draw(&k, b, 0, bits);
    for (int64_t i = 0; i < FRT_MIN((int64_t)4, n - 4 * b); i++) {
      dst[4 * b + i] = (float)(lo + (hi - lo) * frt__unit(bits[i]));
    }
  }
}

void frt_fill_normal(float *dst, int64_t n, uint64_t seed, const char *name, double mean,
                     double std)
{
  key k = key_of(seed, name);
  int64_t blocks = (n + 3) / 4;
#pragma omp parallel for schedule(static) num_threads(frt_threads()) if (n > 65536)
  for (int64_t b = 0; b < blocks; b++) {
    float z[4];
    normal_four(&k, b, 0, z);
    for (int64_t i = 0; i < FRT_MIN((int64_t)4, n - 4 * b); i++) {
      dst[4 * b + i] = (float)(mean + std * z[i]);
    }
  }
}

void frt_fill_trunc_normal(float *dst, int64_t n, uint64_t seed, const char *name, double mean,
                           double std, double lo, double hi)
{
  enum { ATTEMPTS = 64 }; // then the bound itself: only where the interval is absurdly narrow
  key k = key_of(seed, name);
  int64_t blocks = (n + 3) / 4;
#pragma omp parallel for schedule(static) num_threads(frt_threads()) if (n > 65536)
  for (int64_t b = 0; b < blocks; b++) {
    int64_t left = FRT_MIN((int64_t)4, n - 4 * b);
    bool done[4] = {false, false, false, false};
    int64_t open = left;
    for (uint32_t attempt = 0; attempt < ATTEMPTS && open > 0; attempt++) {
      float z[4];
      normal_four(&k, b, attempt, z);
      for (int64_t i = 0; i < left; i++) {
        double v = mean + std * z[i];
        if (!done[i] && v >= lo && v <= hi) {
          dst[4 * b + i] = (float)v;
          done[i] = true;
          open--;
        }
      }
    }
    for (int64_t i = 0; i < left; i++) {
      if (!done[i]) {
        dst[4 * b + i] = (float)(mean < lo ? lo : mean > hi ? hi : mean);
      }
    }
  }
}
