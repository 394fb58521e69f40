// index.c -- numbers picked and added by i32 indices; messages are those of the references.
#include "ops/index/index.h"
#include "cpu/reduce/lanes.h"

// Index checks of the kernels that read i32 indices, with the messages of the references.
// x of 4-byte numbers and i32 indices.
static bool can_index(const frt_step *s, int32_t x, int32_t idx)
{
  return frt__dtype_size(s->in[x]->shape.dtype) == 4 && s->in[idx]->shape.dtype == FRT_I32;
}

// Picks along one dimension, by an index per number of the result.
static bool can_gather(const frt_step *s)
{
  return can_index(s, 0, 1);
}

static frt_status run_gather(const frt_step *s, void *const *in, void *const *out, void *scratch)
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

FRT_KERNEL(gather) = {.name = "own", .can = can_gather, .run = run_gather};

// Adds numbers into zeros along one dimension, each where its index says.
static bool can_scatter_add(const frt_step *s)
{
  return can_index(s, 1, 0) && s->in[1]->shape.dtype == FRT_F32;
}

static frt_status run_scatter_add(const frt_step *s, void *const *in, void *const *out,
                                  void *scratch)
{
  (void)scratch;
  const int32_t dim = (int32_t)s->attr[FRT_INDEX_DIM], base = (int32_t)s->attr[FRT_INDEX_BASE],
                *idx = in[0];
  const frt_lanes from = frt__lanes(&s->in[1]->shape, dim), to = frt__lanes(&s->out[0]->shape, dim);
  const int64_t n = from.outer * from.step, n_y = frt__numel(&s->out[0]->shape);
  const float *src = in[1];
  float *y = out[0];
  FRT_TRY(frt__check_range("scatter_add", idx, n * from.n, base, to.n));
  // By outer blocks: each is a contiguous part of y.
#pragma omp parallel for schedule(static) if (n_y >= FRT_SMALL_LANES)
  for (int64_t o = 0; o < from.outer; o++) {
    float *block = y + o * to.n * to.step;
    memset(block, 0, sizeof *block * (size_t)(to.n * to.step));
    for (int64_t k = 0; k < from.n; k++) {
      for (int64_t j = 0; j < from.step; j++) {
        const int64_t at = (o * from.n + k) * from.step + j;
        block[(idx[at] - base) * to.step + j] += src[at];
      }
    }
  }
  return FRT_OK;
}

FRT_KERNEL(scatter_add) = {.name = "own", .can = can_scatter_add, .run = run_scatter_add};

// Picks slices of one dimension.
static bool can_index_select(const frt_step *s)
{
  return can_index(s, 0, 1);
}

static frt_status run_index_select(const frt_step *s, void *const *in, void *const *out,
                                   void *scratch)
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

FRT_KERNEL(index_select) = {.name = "own", .can = can_index_select, .run = run_index_select};

// Adds slices into zeros along one dimension, each where its index says.
static bool can_index_add(const frt_step *s)
{
  return can_index(s, 1, 0) && s->in[1]->shape.dtype == FRT_F32;
}

static frt_status run_index_add(const frt_step *s, void *const *in, void *const *out, void *scratch)
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

FRT_KERNEL(index_add) = {.name = "own", .can = can_index_add, .run = run_index_add};

// Class numbers as rows of zeros with a single 1.
static bool can_one_hot(const frt_step *s)
{
  return s->in[0]->shape.dtype == FRT_I32;
}

static frt_status run_one_hot(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  (void)scratch;
  const int64_t classes = (int64_t)s->attr[FRT_ONE_HOT_CLASSES], n = frt__numel(&s->in[0]->shape);
  const int32_t base = (int32_t)s->attr[FRT_ONE_HOT_BASE], *idx = in[0];
  float *y = out[0];
  FRT_TRY(frt__check_range("one_hot", idx, n, base, classes));
  memset(y, 0, sizeof *y * (size_t)(n * classes));
  for (int64_t i = 0; i < n; i++) {
    y[i * classes + idx[i] - base] = 1;
  }
  return FRT_OK;
}

FRT_KERNEL(one_hot) = {.name = "own", .can = can_one_hot, .run = run_one_hot};
