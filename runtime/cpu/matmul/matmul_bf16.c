// matmul_bf16.c -- matrix products whose maps are stored as bf16, by the products of bf16.h.
#include "cpu/matmul/matmul.h"

// Rows of a tile, at least and at most, and its bytes.
enum { LEAST = 48, MOST = 256, BYTES = 384 << 10 };

// --- one product after another ------------------------------------------------------------------
// Rows of a are read where they lie.
static bool in_place(const frt__matmul *v)
{
  return v->a_bf16 && !v->c.ta && v->c.k % 2 == 0;
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
  const int64_t k = frt__bf16_even(c->k);
  v->items = 1;
  for (int32_t i = 0; i < c->n_batch; i++) {
    v->items *= FRT_MAX(c->a_batch[i], c->b_batch[i]);
  }
  steps(c->n_batch, c->a_batch, v->a_step);
  steps(c->n_batch, c->b_batch, v->b_step);
  const int64_t tile = FRT_MAX((int64_t)LEAST, FRT_MIN((int64_t)MOST, BYTES / (4 * c->n)));
  const int64_t cuts = (c->m + tile - 1) / tile, threads = frt_threads();
  const int64_t few = v->items * cuts < threads ? (threads + v->items - 1) / v->items : cuts;
  v->tile = frt__bf16_up((c->m + few - 1) / few, FRT_BF16_ROWS);
  const int64_t up = frt__bf16_up(v->tile, 16);
  v->left =
    frt__bf16_bytes(up * (int64_t)sizeof(void *)) + (in_place(v) ? 0 : frt__bf16_bytes(up * k * 2));
  v->right = frt__bf16_bytes(k * frt__bf16_up(c->n, 16) * 2);
  v->sums = frt__bf16_bytes(up * c->n * 4);
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

static const void *at(const void *p, int64_t numbers, bool bf16)
{
  return (const char *)p + numbers * (bf16 ? 2 : 4);
}

// Rows [row, row + rows) of a matrix of a, as row pointers or, where it lies transposed, as pairs.
static void fetch(const frt__matmul *v, const void *a, int64_t row, int64_t rows, char *scratch)
{
  const frt_dn_matmul *c = &v->c;
  const uint16_t **pointer = (const uint16_t **)scratch;
  const int64_t up = frt__bf16_up(rows, FRT_BF16_ROWS);
  uint16_t *own =
    (uint16_t *)(scratch + frt__bf16_bytes(frt__bf16_up(v->tile, 16) * (int64_t)sizeof(void *)));
  if (c->ta) {
    frt__kernels()->bf16_pack(
      &(frt_bf16_pack){
        .x = a, .first = row, .ld = c->m, .k = c->k, .n = rows, .bf16 = v->a_bf16, .left = true},
      own);
    return;
  }
  int64_t ld = c->k;
  const uint16_t *from = (const uint16_t *)a + row * c->k;
  if (!in_place(v)) {
    ld = frt__bf16_even(c->k);
    from = own;
    frt__kernels()->bf16_rows(&(frt_bf16_rows){.x = at(a, row * c->k, v->a_bf16),
                                               .bf16 = v->a_bf16,
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
  const size_t pointers = frt__bf16_bytes(frt__bf16_up(v->tile, 16) * (int64_t)sizeof(void *));
  float *sums = (float *)(scratch + v->left + v->right);
  fetch(v, at(a, matrix(v, v->a_step, item) * c->m * c->k, v->a_bf16), row, rows, scratch);
  kernels->bf16_product(&(frt_bf16_product){
    .rows = rows,
    .n = c->n,
    .k = frt__bf16_even(c->k),
    .segments = 1,
    .a = (const uint16_t *const *)scratch,
    .a_pairs = c->ta ? (const uint16_t *)(scratch + pointers) : NULL,
    .b = (const uint16_t *)(scratch + v->left),
    .c = sums,
    .ldc = c->n,
  });
  const int64_t to = (item * c->m + row) * c->n;
  if (v->out_bf16) {
    kernels->to_bf16(sums, rows * c->n, (uint16_t *)out + to);
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
        frt__kernels()->bf16_pack(&(frt_bf16_pack){.x = at(in[1], b * c->k * c->n, v->b_bf16),
                                                   .ld = c->tb ? c->k : c->n,
                                                   .k = c->k,
                                                   .n = c->n,
                                                   .bf16 = v->b_bf16,
                                                   .transposed = c->tb},
                                  (uint16_t *)(own + v->left));
        packed = b;
      }
      batch_rows(v, i / cuts, i % cuts * v->tile, in[0], out, own);
    }
  }
}

// --- the step -----------------------------------------------------------------------------------
frt_status frt__matmul_bf16_plan(frt_step *s)
{
  frt__matmul *v = s->state;
  const frt_dn_matmul *c = &v->c;
  int64_t n_a = 1, n_b = 1;
  for (int32_t i = 0; i < c->n_batch; i++) {
    n_a *= c->a_batch[i];
    n_b *= c->b_batch[i];
  }
  v->a_bf16 = frt__bf16(s->in[0]);
  v->b_bf16 = frt__bf16(s->in[1]);
  v->out_bf16 = frt__bf16(s->out[0]);
  s->label = "own bf16";
  if (n_b == 1 && !c->ta) {
    v->variant = FRT__MATMUL_ROWS;
    FRT_TRY(frt__bf16_of_rows(&v->bf16, n_a * c->m, c->n, c->k, c->tb));
    v->bf16.source_bf16 = v->a_bf16;
    v->bf16.w_bf16 = v->b_bf16;
    v->bf16.out_bf16 = v->out_bf16;
    s->scratch = frt__bf16_plan(&v->bf16);
    s->packed = v->bf16.packed_bytes;
  } else if (n_a == 1 && n_b == 1 && !c->tb && !v->out_bf16) {
    v->variant = FRT__MATMUL_WEIGHT;
    FRT_TRY(frt__bf16_of_rows(&v->bf16, c->k, c->m, c->n, false));
    v->bf16.source_bf16 = v->b_bf16;
    s->scratch = frt__bf16_weight_plan(&v->bf16);
  } else {
    v->variant = FRT__MATMUL_BATCH;
    s->scratch = batch_plan(v);
  }
  return FRT_OK;
}

void frt__matmul_bf16(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  frt__matmul *v = s->state;
  frt__bf16_args a = {.source = in[0], .w = in[1], .out = out[0], .scratch = scratch};
  if (v->variant == FRT__MATMUL_ROWS) {
    frt__bf16_pack(&v->bf16, in[1], s->in_version && s->in[1]->is_var ? s->in_version[1] : 0);
    frt__bf16_run(&v->bf16, &a);
  } else if (v->variant == FRT__MATMUL_WEIGHT) {
    a.source = in[1];
    a.w = in[0];
    frt__bf16_weight(&v->bf16, v->a_bf16, &a);
  } else {
    batch(v, in, out[0], scratch);
  }
}
