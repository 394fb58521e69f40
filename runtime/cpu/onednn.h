// onednn.h -- dense arithmetic from oneDNN: convolutions and matrix products on f32. The one place
// (with onednn.c) that knows oneDNN and what differs between its 2.x and 3.x.
#pragma once
#include "device/kernel.h"

typedef struct frt_dn frt_dn; // a primitive with its memory objects; belongs to one step

typedef enum frt_dn_kind {
  FRT_DN_CONV = 0,        // x, w, bias -> y
  FRT_DN_GRAD_INPUT = 1,  // dy, w -> dx
  FRT_DN_GRAD_WEIGHT = 2, // x, dy -> dw
} frt_dn_kind;

// A convolution by its numbers. Activations are N H W C, weights plain O I/groups KH KW.
typedef struct frt_dn_conv {
  frt_dn_kind kind;
  frt_act act; // applied to y
  bool bias;
  int64_t n, c, h, w, o, oh, ow, kh, kw, groups;
  int64_t stride[2], pad[4], dilation[2]; // pad: top, left, bottom, right
} frt_dn_conv;

// c[i] = a[i] b[i] (+ bias, act); a, b, c are row-major apart from ta, tb: the last two dimensions
// of a (or b) lie swapped. Leading dimensions broadcast.
typedef struct frt_dn_matmul {
  int32_t n_batch; // leading dimensions, all three padded with 1 to as many
  int64_t a_batch[4], b_batch[4], m, n, k;
  bool ta, tb;
} frt_dn_matmul;

// Describe a primitive (cheap), then, before the first run, create it (compiles code).
frt_status frt__dn_conv(frt_dn **out, const frt_dn_conv *c);
frt_status frt__dn_matmul(frt_dn **out, const frt_dn_matmul *c);
frt_status frt__dn_ready(frt_dn *d);
void frt__dn_free(frt_dn *d);

size_t frt__dn_scratch(const frt_dn *d); // bytes the run needs as scratch
size_t
frt__dn_packed(const frt_dn *d); // bytes of the weights in the primitive's own form; 0: plain

// Weights from plain to the primitive's form.
frt_status frt__dn_pack(frt_dn *d, const void *plain, void *packed);
// y = f(a, b); `b` is the packed weights where frt__dn_packed() asks for them. Of a
// FRT_DN_GRAD_WEIGHT y is plain.
frt_status frt__dn_run(frt_dn *d, const void *a, const void *b, const void *bias, void *y,
                       void *scratch);

// c (m x n, row-major) = op(a) op(b) + beta c; lda, ldb, ldc: elements between rows as they lie.
frt_status frt__dn_sgemm(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const float *a,
                         int64_t lda, const float *b, int64_t ldb, float beta, float *c,
                         int64_t ldc);
