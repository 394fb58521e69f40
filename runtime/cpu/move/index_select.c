// index_select.c -- picks slices of one dimension.
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
  const frt_lanes from = frt__lanes(&s->in[0]->shape, dim);
  const int64_t n = s->in[1]->shape.dim[0], n_row = from.outer * n;
  const size_t bytes = 4 * (size_t)from.step;
  FRT_TRY(frt__check_range("index_select", idx, n, base, from.n));
#pragma omp parallel for schedule(static) if (n_row * from.step >= FRT_SMALL_LANES)
  for (int64_t i = 0; i < n_row; i++) {
    const int64_t row = i / n * from.n + idx[i % n] - base;
    memcpy((char *)out[0] + (size_t)i * bytes, (const char *)in[0] + (size_t)row * bytes, bytes);
  }
  return FRT_OK;
}

FRT_KERNEL(index_select) = {.name = "own", .can = can, .run = run};
