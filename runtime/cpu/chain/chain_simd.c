// chain.c -- runs an elementwise chain tile by tile: each tile of about a thousand numbers stays in
// the first cache while every instruction passes over it.
#include "cpu/chain/chain_simd.h"

#include "cpu/chain/chain_ops_simd.h"
#include "cpu/vec.h"

enum { NO_ROW = -1 };

// One thread's view: where each register's tile lies, and what its buffers hold.
typedef struct runner {
  const frt_chain *c;
  void *const *in;
  float *buffer;
  const float *reg[128];
  int64_t
    held[128]; // REPEAT and GATHER: offset and rows of what the buffer holds, NO_ROW for nothing
  int64_t held_rows[128];
  bool copied[128]; // an output lies over this operand, which is read after that output is stored
} runner;

// n numbers as f32.
FRT_INLINE void get_all(const bool bf16, const void *from, int64_t n, float *to)
{
  if (bf16) {
    FRT_K(from_bf16)(from, n, to);
  } else {
    memcpy(to, from, (size_t)n * sizeof *to);
  }
}
FRT_INLINE void copy_rows(const bool bf16, float *to, const void *from, int64_t rows,
                          int64_t row_step, int64_t cols, int64_t step)
{
  if (step == 1) {
    for (int64_t r = 0; r < rows; r++) {
      get_all(bf16, v_at(bf16, from, r * row_step), cols, to + r * cols);
    }
  } else if (step == 0) {
    for (int64_t r = 0; r < rows; r++) {
      vf x = v_set(v_item(bf16, from, r * row_step));
      float *row = to + r * cols;
      int64_t j = 0;
      for (; j + FRT_VL <= cols; j += FRT_VL) {
        v_store(row + j, x);
      }
      if (j < cols) {
        v_store_n(row + j, x, cols - j);
      }
    }
  } else if (row_step < step) {
    for (int64_t j = 0; j < cols; j++) {
      for (int64_t r = 0; r < rows; r++) {
        to[r * cols + j] = v_item(bf16, from, r * row_step + j * step);
      }
    }
  } else {
    for (int64_t r = 0; r < rows; r++) {
      for (int64_t j = 0; j < cols; j++) {
        to[r * cols + j] = v_item(bf16, from, r * row_step + j * step);
      }
    }
  }
}
// Offset of outer row r in an operand; *left: rows from there to the end of the last outer
// dimension.
static int64_t row_offset(const frt_chain *c, const int64_t *step, int64_t r, int64_t *left)
{
  int64_t at = 0;
  *left = 1;
  for (int32_t d = c->ndim - 2; d >= 0; d--) {
    int64_t i = r % c->dim[d];
    if (d == c->ndim - 2) {
      *left = c->dim[d] - i;
    }
    at += i * step[d];
    r /= c->dim[d];
  }
  return at;
}
// The tile of an operand that is not simply its bytes.
static const float *load(runner *t, int32_t k, int64_t row, int64_t rows, int64_t col, int64_t cols)
{
  const frt_chain *c = t->c;
  const frt_chain_in *in = &c->in[k];
  const void *x = t->in[k];
  float *to = t->buffer + k * FRT_CHAIN_PITCH;
  int64_t inner_step = in->step[c->ndim - 1], left = 1;
  int64_t row_step = c->ndim > 1 ? in->step[c->ndim - 2] : 0;
  int64_t at = row_offset(c, in->step, row, &left) + col * inner_step;
  if (c->cols < c->inner && inner_step == 1 && !in->bf16) {
    return (const float *)x + at;
  }
  bool same = in->kind == FRT_CHAIN_REPEAT || (row_step == 0 && rows <= left) || rows == 1;
  if (same && t->held[k] == at && t->held_rows[k] >= rows) {
    return to;
  }
  t->held[k] = same ? at : NO_ROW;
  t->held_rows[k] = rows;
  for (int64_t r = 0; r < rows;) {
    int64_t n = FRT_MIN(left, rows - r);
    FRT_BY_BF16(in->bf16, copy_rows, to + r * cols, v_at(in->bf16, x, at), n, row_step, cols,
                inner_step);
    r += n;
    if (r < rows) {
      at = row_offset(c, in->step, row + r, &left) + col * inner_step;
    }
  }
  return to;
}
static void tile(runner *t, int64_t index, void *const *out)
{
  const frt_chain *c = t->c;
  int64_t pieces = (c->inner + c->cols - 1) / c->cols;
  int64_t row = index / pieces * c->rows, col = index % pieces * c->cols;
  int64_t rows = FRT_MIN(c->rows, c->outer - row), cols = FRT_MIN(c->cols, c->inner - col);
  int64_t n = rows * cols, at = row * c->inner + col;
  for (int32_t k = 0; k < c->n_in; k++) {
    if (c->in[k].kind == FRT_CHAIN_SCALAR) {
      continue;
    }
    if (c->in[k].kind != FRT_CHAIN_DIRECT) {
      t->reg[k] = load(t, k, row, rows, col, cols);
    } else if (t->copied[k] || c->in[k].bf16) {
      float *to = t->buffer + k * FRT_CHAIN_PITCH;
      get_all(c->in[k].bf16, v_at(c->in[k].bf16, t->in[k], at), n, to);
      t->reg[k] = to;
    } else {
      t->reg[k] = (const float *)t->in[k] + at;
    }
  }
  for (int32_t i = 0; i < c->n_instr; i++) {
    const frt_chain_instr *s = &c->instr[i];
    const bool bf16 = s->store >= 0 && c->bf16_out[s->store];
    float *d =
      s->store >= 0 && !bf16 ? (float *)out[s->store] + at : t->buffer + s->dst * FRT_CHAIN_PITCH;
    const float *a = t->reg[s->a], *b = s->b >= 0 ? t->reg[s->b] : a;
    FRT_K(chain_ops)[s->code](d, a, b, s->c >= 0 ? t->reg[s->c] : a, n);
    t->reg[s->dst] = d;
    if (bf16) {
      FRT_K(to_bf16)(d, n, (uint16_t *)out[s->store] + at);
    }
  }
}
// Elementwise chains: a compiled frt_chain (chain.h) over its operands.
FRT_SIMD void FRT_K(chain)(const frt_chain *c, void *const *in, void *const *out, void *scratch)
{
#pragma omp parallel for num_threads(c->threads) schedule(static)
  for (int32_t th = 0; th < c->threads; th++) {
    runner t = {.c = c, .in = in};
    t.buffer = (float *)scratch + (size_t)th * (size_t)c->n_reg * FRT_CHAIN_PITCH;
    for (int32_t k = 0; k < c->n_in; k++) {
      t.held[k] = NO_ROW;
      if (c->in[k].kind == FRT_CHAIN_SCALAR) {
        float *to = t.buffer + k * FRT_CHAIN_PITCH;
        copy_rows(false, to, in[k], 1, 0, FRT_CHAIN_TILE, 0);
        t.reg[k] = to;
      }
      for (int32_t o = 0; o < c->n_out && c->in[k].kind == FRT_CHAIN_DIRECT; o++) {
        t.copied[k] |= in[k] == out[o] && c->in[k].last_read > c->stored_by[o];
      }
    }
    int64_t from, to;
    frt__share(c->tiles, 1, th, c->threads, &from, &to);
    for (int64_t i = from; i < to; i++) {
      tile(&t, i, out);
    }
  }
}
