// matmul.h -- a matrix product's step between matmul.c and matmul_bf16.c, the variant for maps
// stored as bf16.
#pragma once
#include "cpu/conv/bf16.h"

// What becomes of a product whose maps are bf16: rows times weights, a gradient by weights (no
// leading dimensions), or one product after another.
typedef enum frt__matmul_variant {
  FRT__MATMUL_F32,
  FRT__MATMUL_ROWS,
  FRT__MATMUL_WEIGHT,
  FRT__MATMUL_BATCH
} frt__matmul_variant;

typedef struct frt__matmul {
  frt_dn_matmul c;
  frt_dn *dn; // f32; NULL: one sgemm
  frt__matmul_variant variant;
  frt__bf16_windows bf16;
  // one after another
  bool a_bf16, b_bf16, out_bf16;
  int64_t items, tile;          // products; rows at a time
  size_t left, right, sums;     // bytes of a thread's scratch: a, b packed, f32
  int64_t a_step[4], b_step[4]; // matrices to the next one of each leading dimension
} frt__matmul;

frt_status frt__matmul_bf16_plan(frt_step *s);
void frt__matmul_bf16(const frt_step *s, void *const *in, void *const *out, void *scratch);
