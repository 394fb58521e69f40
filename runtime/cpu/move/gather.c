// gather.c -- picks along one dimension, by an index per number of the result.
#include "cpu/move/index.h"
#include "ops/index/index.h"

static bool can(const frt_step *s)
{
  return frt__can_index(s, 0, 1);
}

static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  (void)scratch;
  const int32_t dim = (int32_t)s->attr[FRT_INDEX_DIM], base = (int32_t)s->attr[FRT_INDEX_BASE],
                *idx = in[1];
  const frt_lanes from = frt__lanes(&s->in[0]->shape, dim), to = frt__lanes(&s->out[0]->shape, dim);
  const int64_t n = to.outer * to.step;
  const uint32_t *x = in[0];
  uint32_t *y = out[0];
  FRT_TRY(frt__check_range("gather", idx, n * to.n, base, from.n));
#pragma omp parallel for schedule(static) if (n * to.n >= FRT_SMALL_LANES)
  for (int64_t i = 0; i < n; i++) {
    const uint32_t *lane = x + i / to.step * from.n * from.step + i % to.step;
    for (int64_t k = 0, at = frt__lane_start(&to, i); k < to.n; k++, at += to.step) {
      y[at] = lane[(idx[at] - base) * from.step];
    }
  }
  return FRT_OK;
}

FRT_KERNEL(gather) = {.name = "own", .can = can, .run = run};
