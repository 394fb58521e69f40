// index_add.c -- adds slices into zeros along one dimension, each where its index says.
#include "cpu/move/index.h"
#include "ops/index/index.h"

static bool can(const frt_step *s)
{
  return frt__can_index(s, 1, 0) && s->in[1]->shape.dtype == FRT_F32;
}

static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  (void)scratch;
  const int32_t dim = (int32_t)s->attr[FRT_INDEX_DIM], base = (int32_t)s->attr[FRT_INDEX_BASE],
                *idx = in[0];
  const frt_lanes from = frt__lanes(&s->in[1]->shape, dim), to = frt__lanes(&s->out[0]->shape, dim);
  const float *src = in[1];
  float *y = out[0];
  FRT_TRY(frt__check_range("index_add", idx, from.n, base, to.n));
#pragma omp parallel for schedule(static) if (from.outer * to.n * to.step >= FRT_SMALL_LANES)
  for (int64_t o = 0; o < from.outer; o++) {
    float *block = y + o * to.n * to.step;
    memset(block, 0, sizeof *block * (size_t)(to.n * to.step));
    for (int64_t i = 0; i < from.n; i++) {
      const float *row = src + (o * from.n + i) * from.step;
      float *sum = block + (idx[i] - base) * to.step;
      for (int64_t k = 0; k < from.step; k++) {
        sum[k] += row[k];
      }
    }
  }
  return FRT_OK;
}

FRT_KERNEL(index_add) = {.name = "own", .can = can, .run = run};
