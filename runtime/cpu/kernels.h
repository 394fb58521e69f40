// kernels.h -- the CPU's own kernels, as a table of functions: every *_simd.c is compiled once per
// instruction set (base/isa.h). Here stands what the functions take. Maps are NHWC, dense.
#pragma once
#ifdef FRT_ISA
#define FRT_NO_OP_LIST // ops are the glue's business
#endif
#include "base/isa.h"
#include "device/kernel.h"

typedef struct frt_chain frt_chain; // chain.h
typedef struct frt_adam frt_adam;   // update.h
typedef struct frt_sgd frt_sgd;
typedef struct frt_ema frt_ema;
typedef struct frt_bf16_product frt_bf16_product; // bf16.h
typedef struct frt_bf16_pack frt_bf16_pack;
typedef struct frt_bf16_rows frt_bf16_rows;

// A convolution as its kernels see it: from c to o channels, h x w are of the map that is read,
// oh x ow of the one that is made (given, so that bottom and right padding need no field).
//   y[n,p,q,o] = act(bias[o] + sum over i,j,c of x[n, p*stride_h + i*dil_h - top, q*stride_w + ..,
//   c] * weight[o,c,i,j])
// Dense by the input it is the same with dy read and dx made; a depthwise one (one filter per
// channel, o = c) stays as it is forward.
typedef struct frt_conv_shape {
  int64_t n, c, h, w, o, oh, ow;
  int32_t kh, kw, stride_h, stride_w, dil_h, dil_w, top, left;
  int32_t act;               // frt_act: dense: any; depthwise, Winograd: NONE, SILU, RELU, RELU6
  bool bf16, bf16_x, bf16_y; // products of bf16; how x, and y or dy, are stored
  // Dense: x's rows as they lie (1x1 of stride 1 without padding); x may come through a frt_load
  // (in_rows only); y's statistics may be wanted.
  bool in_rows, loads, counts;
} frt_conv_shape;

enum { FRT_DW_MAX_KERNEL = 64, FRT_DW_MAX_STRIDE = 8 }; // greater ones are refused by can()

// Batch norm over m rows of c channels. act: frt_act NONE, SILU, RELU, RELU6. bf16: maps are stored
// as bf16.
typedef struct frt_bn {
  int64_t m, c;
  int32_t act;
  bool bf16;
  float eps, momentum;
} frt_bn;
// Its gradient behind a gate per photo and channel: n photos of `rows` rows.
typedef struct frt_bn_gate {
  int64_t n, rows, c;
  int32_t act;
  bool bf16;
} frt_bn_gate;

// A map that is computed as it is read: act((x - mean) * rstd * w + b), as bn_apply would have
// stored it, times gate. mean NULL: x as it lies; gate NULL: none.
typedef struct frt_load {
  const float *w, *b, *mean, *rstd; // [c]
  const float *gate;                // [photos, c]
  int64_t map;                      // rows of a photo
  int32_t act;                      // NONE, SILU, RELU, RELU6
} frt_load;

// Where an operand of attention has number (sample, head, row, column): at + sample * `sample` +
// head
// * `head` + row * `row` + column. bf16: it is stored as bf16.
typedef struct frt_attention_part {
  int64_t at, sample, head, row;
  bool bf16;
} frt_attention_part;

// y = softmax(scale q k') v for each of n samples and heads: `rows` queries, `keys` keys and
// values, all of `width` numbers. y: in the backward pass its gradient; bf16: products of bf16.
typedef struct frt_attention {
  int64_t n, heads, rows, keys, width;
  frt_attention_part q, k, v, y, dq, dk, dv;
  bool bf16;
} frt_attention;

// Windows of kh x kw pixels of an NHWC map. bf16: maps are stored as bf16.
typedef struct frt_max_pool {
  int64_t n, c, h, w, oh, ow, kh, kw, sh, sw, top, left;
  bool bf16;
} frt_max_pool;

// The functions: those of the *_simd.c files that begin with FRT_SIMD, described there. Scratch
// sizes depend on frt_threads(): ask when the plan is compiled, run with as many threads. With the
// same number of threads the bits are the same.
#include "cpu_simd.h" // written by runtime/tables.lua: frt_kernels, a pointer to each

// The table of the instruction set in use.
const frt_kernels *frt__kernels(void);
