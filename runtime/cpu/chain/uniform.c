// uniform.c -- random numbers in [0, 1), many Philox counters at once.
#include "cpu/kernels.h"
#include "ops/random/random.h"

static bool can(const frt_step *s)
{
  return s->out[0]->shape.dtype == FRT_F32;
}
static frt_status whole(const frt_step *s, void *const *in, int32_t k, const char *what,
                        uint64_t *out)
{
  int32_t dtype = s->in[k]->shape.dtype;
  double v = dtype == FRT_F64   ? *(const double *)in[k]
             : dtype == FRT_F32 ? (double)*(const float *)in[k]
                                : (double)*(const int32_t *)in[k];
  FRT_CHECK(v >= 0 && v <= 9007199254740992 && v == floor(v), FRT_EARG,
            "uniform: %s must be a whole number of 0 to 2^53, got %g", what, v);
  *out = (uint64_t)v;
  return FRT_OK;
}
static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  (void)scratch;
  uint64_t seed = 0, step = 0, sample = 0;
  FRT_TRY(whole(s, in, 0, "seed", &seed));
  FRT_TRY(whole(s, in, 1, "step", &step));
  FRT_TRY(whole(s, in, 2, "sample", &sample));
  const frt_shape *y = &s->out[0]->shape;
  int64_t rows = y->ndim > 0 ? y->dim[0] : 1, n = rows > 0 ? frt__numel(y) / rows : 0;
  uint32_t key[2] = {(uint32_t)seed ^ (uint32_t)s->attr[FRT_UNIFORM_KEY_LO],
                     (uint32_t)(seed >> 32) ^ (uint32_t)s->attr[FRT_UNIFORM_KEY_HI]};
  frt__kernels()->uniform(key, step, (uint32_t)sample, rows, n, out[0]);
  return FRT_OK;
}

FRT_KERNEL(uniform) = {
  .name = "own",
  .can = can,
  .run = run,
};
