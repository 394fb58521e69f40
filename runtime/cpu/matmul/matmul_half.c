// matmul_half.c -- matrix products whose maps are stored as bf16, by the products of half.h.
#include "cpu/matmul/matmul.h"

// Rows of a tile, at least and at most, and its bytes.
enum { LEAST = 48, MOST = 256, BYTES = 384 << 10 };

// --- one product after another ------------------------------------------------------------------
// Rows of a are read where they lie.
static bool in_place(const frt__matmul *v)
{
  return v->a_half && !v->c.ta && v->c.k % 2 == 0;
}

// Matrices between neighbours of each leading dimension; 0 where it broadcasts.
static void steps(int32_t n, const int64_t *dim, int64_t *step)
{
  int64_t at = 1;
  for (int32_t i = n - 1; i >= 0; i--) {
    step[i] = dim[i] == 1 ? 0 : at;
    at *= dim[i];
  }
}

static size_t batch_plan(frt__matmul *v)
{
  const frt_dn_matmul *c = &v->c;
  const int64_t k = frt__half_even(c->k);
  v->items = 1;
  for (int32_t i = 0; i < c->n_batch; i++) {
    v->items *= FRT_MAX(c->a_batch[i], c->b_batch[i]);
  }
  steps(c->n_batch, c->a_batch, v->a_step);
  steps(c->n_batch, c->b_batch, v->b_step);
  const int64_t tile = FRT_MAX((int64_t)LEAST, FRT_MIN((int64_t)MOST, BYTES / (4 * c->n)));
  const int64_t cuts = (c->m + tile - 1) / tile, threads = frt_threads();
  const int64_t few = v->items * cuts < threads ? (threads + v->items - 1) / v->items : cuts;
  v->tile = frt__half_up((c->m + few - 1) / few, FRT_HALF_ROWS);
  const int64_t up = frt__half_up(v->tile, 16);
  v->left =
    frt__half_bytes(up * (int64_t)sizeof(void *)) + (in_place(v) ? 0 : frt__half_bytes(up * k * 2));
  v->right = frt__half_bytes(k * frt__half_up(c->n, 16) * 2);
  v->sums = frt__half_bytes(up * c->n * 4);
  return (size_t)threads * (v->left + v->right + v->sums);
}

// Matrix `item`'s place in the operand with those steps.
static int64_t matrix(const frt__matmul *v, const int64_t *step, int64_t item)
{
  int64_t at = 0;
  for (int32_t i = v->c.n_batch - 1; i >= 0; i--) {
    const int64_t dim = FRT_MAX(v->c.a_batch[i], v->c.b_batch[i]);
    at += item % dim * step[i];
    item /= dim;
  }
  return at;
}

static const void *at(const void *p, int64_t numbers, bool half)
{
  return (const char *)p + numbers * (half ? 2 : 4);
}

// Rows [row, row + rows) of a matrix of a, as row pointers or, where it lies transposed, as pairs.
static void fetch(const frt__matmul *v, const void *a, int64_t row, int64_t rows, char *scratch)
{
  const frt_dn_matmul *c = &v->c;
  const uint16_t **pointer = (const uint16_t **)scratch;
  const int64_t up = frt__half_up(rows, FRT_HALF_ROWS);
  uint16_t *own =
    (uint16_t *)(scratch + frt__half_bytes(frt__half_up(v->tile, 16) * (int64_t)sizeof(void *)));
  if (c->ta) {
    frt__kernels()->half_pack(
      &(frt_half_pack){
        .x = a, .first = row, .ld = c->m, .k = c->k, .n = rows, .half = v->a_half, .left = true},
      own);
    return;
  }
  int64_t ld = c->k;
  const uint16_t *from = (const uint16_t *)a + row * c->k;
  if (!in_place(v)) {
    ld = frt__half_even(c->k);
    from = own;
    frt__kernels()->half_rows(&(frt_half_rows){.x = at(a, row * c->k, v->a_half),
                                               .half = v->a_half,
                                               .rows = rows,
                                               .c = c->k,
                                               .n = c->k,
                                               .ldy = ld},
                              own);
  }
  for (int64_t r = 0; r < up; r++) {
    pointer[r] = from + FRT_MIN(r, rows - 1) * ld;
  }
}

static void batch_rows(const frt__matmul *v, int64_t item, int64_t row, const void *a, void *out,
                       char *scratch)
{
  const frt_kernels *kernels = frt__kernels();
  const frt_dn_matmul *c = &v->c;
  const int64_t rows = FRT_MIN(v->tile, c->m - row);
  const size_t pointers = frt__half_bytes(frt__half_up(v->tile, 16) * (int64_t)sizeof(void *));
  float *sums = (float *)(scratch + v->left + v->right);
  fetch(v, at(a, matrix(v, v->a_step, item) * c->m * c->k, v->a_half), row, rows, scratch);
  kernels->half_product(&(frt_half_product){
    .rows = rows,
    .n = c->n,
    .k = frt__half_even(c->k),
    .segments = 1,
    .a = (const uint16_t *const *)scratch,
    .a_pairs = c->ta ? (const uint16_t *)(scratch + pointers) : NULL,
    .b = (const uint16_t *)(scratch + v->left),
    .c = sums,
    .ldc = c->n,
  });
  const int64_t to = (item * c->m + row) * c->n;
  if (v->out_half) {
    kernels->to_half(sums, rows * c->n, (uint16_t *)out + to);
  } else {
    memcpy((float *)out + to, sums, (size_t)(rows * c->n) * sizeof *sums);
  }
}

static void batch(const frt__matmul *v, void *const *in, void *out, char *scratch)
{
  const frt_dn_matmul *c = &v->c;
  const int32_t threads = frt_threads();
  const int64_t cuts = (c->m + v->tile - 1) / v->tile, n_job = v->items * cuts;
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int32_t t = 0; t < threads; t++) {
    char *own = scratch + (size_t)t * (v->left + v->right + v->sums);
    int64_t packed = -1;
    for (int64_t i = n_job * t / threads; i < n_job * (t + 1) / threads; i++) {
      const int64_t b = matrix(v, v->b_step, i / cuts);
      if (b != packed) {
        frt__kernels()->half_pack(&(frt_half_pack){.x = at(in[1], b * c->k * c->n, v->b_half),
                                                   .ld = c->tb ? c->k : c->n,
                                                   .k = c->k,
                                                   .n = c->n,
                                                   .half = v->b_half,
                                                   .turned = c->tb},
                                  (uint16_t *)(own + v->left));
        packed = b;
      }
      batch_rows(v, i / cuts, i % cuts * v->tile, in[0], out, own);
    }
  }
}

// --- the step -----------------------------------------------------------------------------------
frt_status frt__matmul_half_plan(frt_step *s)
{
  frt__matmul *v = s->state;
  const frt_dn_matmul *c = &v->c;
  int64_t n_a = 1, n_b = 1;
  for (int32_t i = 0; i < c->n_batch; i++) {
    n_a *= c->a_batch[i];
    n_b *= c->b_batch[i];
  }
  v->a_half = frt__bf16(s->in[0]);
  v->b_half = frt__bf16(s->in[1]);
  v->out_half = frt__bf16(s->out[0]);
  s->label = "own bf16";
  if (n_b == 1 && !c->ta) {
    v->way = FRT__MATMUL_ROWS;
    FRT_TRY(frt__half_rows(&v->half, n_a * c->m, c->n, c->k, c->tb));
    v->half.source_half = v->a_half;
    v->half.w_half = v->b_half;
    v->half.out_half = v->out_half;
    s->scratch = frt__half_plan(&v->half);
    s->packed = v->half.packed_bytes;
  } else if (n_a == 1 && n_b == 1 && !c->tb && !v->out_half) {
    v->way = FRT__MATMUL_WEIGHT;
    FRT_TRY(frt__half_rows(&v->half, c->k, c->m, c->n, false));
    v->half.source_half = v->b_half;
    s->scratch = frt__half_weight_plan(&v->half);
  } else {
    v->way = FRT__MATMUL_BATCH;
    s->scratch = batch_plan(v);
  }
  return FRT_OK;
}

void frt__matmul_half(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  frt__matmul *v = s->state;
  frt__half_args a = {.source = in[0], .w = in[1], .out = out[0], .scratch = scratch};
  if (v->way == FRT__MATMUL_ROWS) {
    frt__half_pack(&v->half, in[1], s->in_version && s->in[1]->is_var ? s->in_version[1] : 0);
    frt__half_run(&v->half, &a);
  } else if (v->way == FRT__MATMUL_WEIGHT) {
    a.source = in[1];
    a.w = in[0];
    frt__half_weight(&v->half, v->a_half, &a);
  } else {
    batch(v, in, out[0], scratch);
  }
}
