// uniform.c -- uniform numbers keyed by seed, place, step and sample: what the op `uniform` draws.
#include "base.h"

void frt__uniform(float *out, int64_t n, uint64_t seed, uint32_t key_hi, uint32_t key_lo,
                  uint64_t step, uint32_t sample)
{
  uint32_t key[2] = {(uint32_t)seed ^ key_lo, (uint32_t)(seed >> 32) ^ key_hi};
  uint32_t counter[4] = {0, (uint32_t)(step >> 32), (uint32_t)step, sample}, word[4];
  for (int64_t j = 0; j < n; j += 4, counter[0]++) {
    frt__philox(counter, key, word);
    for (int64_t k = 0; k < 4 && j + k < n; k++) {
      out[j + k] = frt__unit(word[k]);
    }
  }
}
