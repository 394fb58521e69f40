// kernels.h -- the CPU's own kernels, as a table of functions: every file here is compiled once per
// instruction set, runtime/cpu/isa.c picks the table. Activations are NHWC f32, dense.
#pragma once
#ifdef FRT_ISA
#define FRT_NO_OP_LIST // ops are the glue's business
#endif
#include "base/isa.h"
#include "device/backend.h"

struct frt_chain; // chain.h
struct frt_adam;  // update.h
struct frt_sgd;
struct frt_ema;
struct frt_half_product; // half.h
struct frt_half_pack;
struct frt_half_rows;

// A depthwise convolution: one filter of kh x kw per channel, cross-correlation as everywhere.
//   y[n,p,q,c] = act(bias[c] + sum over i,j of x[n, p*stride_h + i*dil_h - top, q*stride_w + ...,
//   c]
//                                              * weight[c,0,i,j])
// h, w are x's; ho, wo are y's (given, so that bottom and right padding need no field).
typedef struct frt_depthwise {
  int64_t n, c, h, w, ho, wo;
  int32_t kh, kw, stride_h, stride_w, dil_h, dil_w, top, left;
  int32_t act;         // frt_act; forward only: NONE, SILU, RELU, RELU6
  bool half_x, half_y; // the maps are stored as bf16
} frt_depthwise;

enum { FRT_DW_MAX_KERNEL = 64, FRT_DW_MAX_STRIDE = 8 }; // greater ones are refused by can()
enum { FRT_DW_FORWARD = 0, FRT_DW_GRAD_INPUT = 1, FRT_DW_GRAD_WEIGHT = 2 };

// A dense 3x3 convolution of stride 1 from c to o channels; h, w are of the map that is read, oh,
// ow of the one that is made. By the input the same: dy is read, dx made, top and left are 2 less
// the forward ones, the filters are turned over when they are packed.
typedef struct frt_winograd {
  int64_t n, c, h, w, o, oh, ow;
  int32_t top, left;
  int32_t act;         // frt_act: NONE, SILU, RELU, RELU6
  bool half;           // products of bf16
  bool half_x, half_y; // how x, and y or dy, are stored; only where half
} frt_winograd;

// A dense convolution from c to o channels as products with packed weights; h, w are of the map
// that is read, oh, ow of the one that is made. in_rows: 1x1 of stride 1 without padding, x's rows
// as they lie; loads: x may come through a frt_load (in_rows only); counts: y's statistics may be
// wanted.
typedef struct frt_dense {
  int64_t n, c, h, w, o, oh, ow;
  int32_t kh, kw, stride_h, stride_w, dil_h, dil_w, top, left;
  int32_t act; // any frt_act
  bool in_rows, loads, counts;
} frt_dense;

// Batch norm over m rows of c channels. act: frt_act NONE, SILU, RELU, RELU6. half: maps are stored
// as bf16.
typedef struct frt_bn {
  int64_t m, c;
  int32_t act;
  bool half;
  float eps, momentum;
} frt_bn;
// Its gradient behind a gate per photo and channel: n photos of `rows` rows.
typedef struct frt_bn_gate {
  int64_t n, rows, c;
  int32_t act;
  bool half;
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
// * `head` + row * `row` + column. half: it is stored as bf16.
typedef struct frt_attention_part {
  int64_t at, sample, head, row;
  bool half;
} frt_attention_part;

// y = softmax(scale q k') v for each of n samples and heads: `rows` queries, `keys` keys and
// values, all of `width` numbers. y: in the backward pass its gradient; half: products of bf16.
typedef struct frt_attention {
  int64_t n, heads, rows, keys, width;
  frt_attention_part q, k, v, y, dq, dk, dv;
  bool half;
} frt_attention;

// Windows of kh x kw pixels of an NHWC map. half: maps are stored as bf16.
typedef struct frt_max_pool {
  int64_t n, c, h, w, oh, ow, kh, kw, sh, sw, top, left;
  bool half;
} frt_max_pool;

// Where the table's functions live, for the table itself (table.c).
#ifdef FRT_ISA
void FRT_K(depthwise)(const frt_depthwise *g, const frt_load *load, const void *x,
                      const float *weight, const float *bias, void *y, double *moments,
                      void *scratch);
void FRT_K(depthwise_grad_input)(const frt_depthwise *g, const void *dy, const float *weight,
                                 void *dx, void *scratch);
void FRT_K(depthwise_grad_weight)(const frt_depthwise *g, const frt_load *load, const void *x,
                                  const void *dy, float *dweight, void *scratch);
size_t FRT_K(winograd_packed)(const frt_winograd *g);
void FRT_K(winograd_pack)(const frt_winograd *g, bool turned, const float *w, void *packed);
size_t FRT_K(winograd_scratch)(const frt_winograd *g);
int32_t FRT_K(winograd_team)(const frt_winograd *g);
void FRT_K(winograd)(const frt_winograd *g, const frt_load *load, const void *x, const void *packed,
                     const float *bias, const float *residual, void *y, double *moments,
                     void *scratch);
size_t FRT_K(winograd_weight_scratch)(const frt_winograd *g);
void FRT_K(winograd_weight)(const frt_winograd *g, const frt_load *load, const void *x,
                            const void *dy, float *dw, void *scratch);
size_t FRT_K(dense_packed)(const frt_dense *g);
void FRT_K(dense_pack)(const frt_dense *g, bool turned, const float *w, float *packed);
size_t FRT_K(dense_scratch)(const frt_dense *g);
int32_t FRT_K(dense_team)(const frt_dense *g);
void FRT_K(dense)(const frt_dense *g, const frt_load *load, const float *x, const float *packed,
                  const float *bias, const float *residual, float *y, double *moments,
                  void *scratch);
void FRT_K(load_rows)(const frt_load *l, bool half, const void *x, int64_t row, int64_t rows,
                      int64_t c, void *y);
size_t FRT_K(moments_bytes)(int64_t c);
void FRT_K(moments_rows)(const float *x, int64_t rows, int64_t c, double *part);
void FRT_K(moments_finish)(const frt_bn *g, int32_t parts, const void *part, size_t bytes,
                           const float *running_mean, const float *running_var, float *mean,
                           float *rstd, float *new_mean, float *new_var);
size_t FRT_K(bn_gate_scratch)(const frt_bn_gate *g);
void FRT_K(bn_gate_sums)(const frt_bn_gate *g, const void *x, const void *dz, const float *w,
                         const float *b, const float *mean, const float *rstd, float *dgate,
                         float *sums, void *scratch);
void FRT_K(bn_gate_grad)(const frt_bn_gate *g, const void *x, const void *dz, const float *w,
                         const float *b, const float *mean, const float *rstd, const float *gate,
                         const float *add, const float *sums, void *dx, float *dw, float *db,
                         void *scratch);
size_t FRT_K(bn_scratch)(const frt_bn *g);
void FRT_K(bn_stats)(const frt_bn *g, const void *x, const float *running_mean,
                     const float *running_var, float *mean, float *rstd, float *new_mean,
                     float *new_var, void *scratch);
void FRT_K(bn_apply)(const frt_bn *g, const void *x, const float *w, const float *b,
                     const float *mean, const float *rstd, const void *residual, void *y,
                     void *scratch);
void FRT_K(bn_grad)(const frt_bn *g, const void *x, const void *dy, const float *w, const float *b,
                    const float *mean, const float *rstd, void *dx, float *dw, float *db,
                    void *scratch);
size_t FRT_K(reduce_rows_scratch)(int64_t n_outer, int64_t rows, int64_t c);
void FRT_K(reduce_rows)(const frt_load *load, bool half, const void *x, const void *y,
                        int64_t n_outer, int64_t rows, int64_t c, float scale, float *out,
                        void *scratch);
void FRT_K(max_pool)(const frt_max_pool *g, const void *x, void *y);
void FRT_K(max_pool_grad)(const frt_max_pool *g, const void *x, const void *dy, void *dx,
                          void *scratch);
void FRT_K(bias_act)(float *y, int64_t rows, int64_t c, const float *bias, int32_t act);
void FRT_K(layer_norm)(bool half, const void *x, int64_t n, float eps, const float *w,
                       const float *b, void *y, float *mean, float *rstd);
void FRT_K(layer_norm_grad)(bool half, const void *x, const void *dy, int64_t n, const float *w,
                            float mean, float rstd, void *dx, float *dw, float *db);
void FRT_K(softmax)(bool half, const void *x, int64_t n, void *y, float *room);
void FRT_K(softmax_grad)(bool half, const void *y, const void *dy, int64_t n, void *dx);
size_t FRT_K(attention_scratch)(const frt_attention *g);
void FRT_K(attention)(const frt_attention *g, float scale, const void *q, const void *k,
                      const void *v, void *y, float *lse, void *scratch);
size_t FRT_K(attention_grad_scratch)(const frt_attention *g);
void FRT_K(attention_grad)(const frt_attention *g, float scale, const void *q, const void *k,
                           const void *v, const void *dy, const float *lse, void *dq, void *dk,
                           void *dv, void *scratch);
void FRT_K(half_product)(const struct frt_half_product *g);
void FRT_K(half_pack)(const struct frt_half_pack *p, uint16_t *y);
void FRT_K(half_rows)(const struct frt_half_rows *g, uint16_t *y);
void FRT_K(to_half)(const float *x, int64_t n, uint16_t *y);
void FRT_K(from_half)(const uint16_t *x, int64_t n, float *y);
void FRT_K(chain)(const struct frt_chain *chain, void *const *in, void *const *out, void *scratch);
void FRT_K(adam)(const struct frt_adam *a);
void FRT_K(sgd)(const struct frt_sgd *a);
void FRT_K(ema)(const struct frt_ema *a);
size_t FRT_K(norm_scratch)(int32_t n, const int64_t *numel);
double FRT_K(norm)(int32_t n, const float *const *x, const int64_t *numel, void *scratch);
void FRT_K(uniform)(const uint32_t key[2], uint64_t step, uint32_t sample, int64_t rows, int64_t n,
                    float *y);
#endif

// Scratch sizes depend on frt_threads(): ask when the plan is compiled, run with as many threads.
// With the same number of threads the bits are the same.
typedef struct frt_kernels {
  const char *isa;

  // Depthwise convolution. Weights and their gradient are plain [C,1,kh,kw]; bias may be NULL, load
  // too (ungated). moments: NULL, or zeroed parts of y's statistics, depthwise_team of them.
  size_t (*depthwise_scratch)(const frt_depthwise *g, int32_t pass);
  int32_t (*depthwise_team)(const frt_depthwise *g);
  void (*depthwise)(const frt_depthwise *g, const frt_load *load, const void *x,
                    const float *weight, const float *bias, void *y, double *moments,
                    void *scratch);
  void (*depthwise_grad_input)(const frt_depthwise *g, const void *dy, const float *weight,
                               void *dx, void *scratch);
  void (*depthwise_grad_weight)(const frt_depthwise *g, const frt_load *load, const void *x,
                                const void *dy, float *dweight, void *scratch);

  // Dense 3x3 of stride 1 by Winograd. Plain weights [o,c,3,3] are packed first (winograd_packed
  // bytes); turned: of weights [c,o,3,3] for the gradient by the input. load may be NULL
  // (ungated), bias and residual (f32, shape of y, added before the activation; not where half)
  // too; moments: NULL, or zeroed parts of y's statistics, winograd_team of them.
  size_t (*winograd_packed)(const frt_winograd *g);
  void (*winograd_pack)(const frt_winograd *g, bool turned, const float *w, void *packed);
  size_t (*winograd_scratch)(const frt_winograd *g);
  int32_t (*winograd_team)(const frt_winograd *g);
  void (*winograd)(const frt_winograd *g, const frt_load *load, const void *x, const void *packed,
                   const float *bias, const float *residual, void *y, double *moments,
                   void *scratch);
  size_t (*winograd_weight_scratch)(const frt_winograd *g);
  void (*winograd_weight)(const frt_winograd *g, const frt_load *load, const void *x,
                          const void *dy, float *dw, void *scratch);

  // Dense convolutions as products. Plain weights [o,c,kh,kw] are packed first (dense_packed
  // bytes); turned: of weights [c,o,kh,kw] in reverse, for the gradient by the input of stride 1.
  // load, bias, residual (shape of y, added before the activation) may be NULL; moments: NULL, or
  // zeroed parts of y's statistics, dense_team of them.
  size_t (*dense_packed)(const frt_dense *g);
  void (*dense_pack)(const frt_dense *g, bool turned, const float *w, float *packed);
  size_t (*dense_scratch)(const frt_dense *g);
  int32_t (*dense_team)(const frt_dense *g);
  void (*dense)(const frt_dense *g, const frt_load *load, const float *x, const float *packed,
                const float *bias, const float *residual, float *y, double *moments, void *scratch);

  // y = rows `row` .. of a map at x as `l` says, on the calling thread; x and y begin at `row`, and
  // both are stored as bf16 where `half`.
  void (*load_rows)(const frt_load *l, bool half, const void *x, int64_t row, int64_t rows,
                    int64_t c, void *y);
  // Statistics of a map where it is made: a part (moments_bytes, zeroed) takes rows on the calling
  // thread; all parts together give what bn_stats gives. A part: count, mean, M2, each [c].
  size_t (*moments_bytes)(int64_t c);
  void (*moments_rows)(const float *x, int64_t rows, int64_t c, double *part);
  void (*moments_finish)(const frt_bn *g, int32_t parts, const void *part, size_t bytes,
                         const float *running_mean, const float *running_var, float *mean,
                         float *rstd, float *new_mean, float *new_var);

  // Batch norm. mean, rstd [c] are written by bn_stats together with the moved running statistics
  // (new_var unbiased); bn_apply: y = act((x - mean) * rstd * w + b + residual), residual may be
  // NULL.
  size_t (*bn_scratch)(const frt_bn *g);
  void (*bn_stats)(const frt_bn *g, const void *x, const float *running_mean,
                   const float *running_var, float *mean, float *rstd, float *new_mean,
                   float *new_var, void *scratch);
  void (*bn_apply)(const frt_bn *g, const void *x, const float *w, const float *b,
                   const float *mean, const float *rstd, const void *residual, void *y,
                   void *scratch);
  // dy is the gradient of act's output; b is read only when act is not NONE.
  void (*bn_grad)(const frt_bn *g, const void *x, const void *dy, const float *w, const float *b,
                  const float *mean, const float *rstd, void *dx, float *dw, float *db,
                  void *scratch);

  // The same behind a gate (bn_gate.c): dgate [n, c]; sums [4, n, c] as device/backend.h says; of
  // bn_gate_grad scratch is 3 c floats.
  size_t (*bn_gate_scratch)(const frt_bn_gate *g);
  void (*bn_gate_sums)(const frt_bn_gate *g, const void *x, const void *dz, const float *w,
                       const float *b, const float *mean, const float *rstd, float *dgate,
                       float *sums, void *scratch);
  void (*bn_gate_grad)(const frt_bn_gate *g, const void *x, const void *dz, const float *w,
                       const float *b, const float *mean, const float *rstd, const float *gate,
                       const float *add, const float *sums, void *dx, float *dw, float *db,
                       void *scratch);

  // out[o][c] = scale * sum over r < rows of x[o][r][c], or of x * y where y is given; both are
  // [n_outer, rows, c], stored as bf16 where `half`. load (ungated) may be NULL.
  size_t (*reduce_rows_scratch)(int64_t n_outer, int64_t rows, int64_t c);
  void (*reduce_rows)(const frt_load *load, bool half, const void *x, const void *y,
                      int64_t n_outer, int64_t rows, int64_t c, float scale, float *out,
                      void *scratch);

  // The largest number of each window, and the gradient, to the first of them (at most 256 pixels a
  // window; scratch: a byte for each number of dy).
  void (*max_pool)(const frt_max_pool *g, const void *x, void *y);
  void (*max_pool_grad)(const frt_max_pool *g, const void *x, const void *dy, void *dx,
                        void *scratch);

  // y[rows, c] = act(y + bias), any frt_act, on the calling thread; bias may be NULL.
  void (*bias_act)(float *y, int64_t rows, int64_t c, const float *bias, int32_t act);

  // A row of n numbers, maps stored as bf16 where `half`; all on the calling thread. w, b may be
  // NULL; dw and db are added to; room: n floats, only where half. y may be x, dx either operand.
  void (*layer_norm)(bool half, const void *x, int64_t n, float eps, const float *w, const float *b,
                     void *y, float *mean, float *rstd);
  void (*layer_norm_grad)(bool half, const void *x, const void *dy, int64_t n, const float *w,
                          float mean, float rstd, void *dx, float *dw, float *db);
  void (*softmax)(bool half, const void *x, int64_t n, void *y, float *room);
  void (*softmax_grad)(bool half, const void *y, const void *dy, int64_t n, void *dx);

  // Attention. lse [n, heads, rows]: log2 of each row's sum of e^(scale q k'), NULL where
  // nobody wants it.
  size_t (*attention_scratch)(const frt_attention *g);
  void (*attention)(const frt_attention *g, float scale, const void *q, const void *k,
                    const void *v, void *y, float *lse, void *scratch);
  size_t (*attention_grad_scratch)(const frt_attention *g);
  void (*attention_grad)(const frt_attention *g, float scale, const void *q, const void *k,
                         const void *v, const void *dy, const float *lse, void *dq, void *dk,
                         void *dv, void *scratch);

  // Products of bf16 with sums in f32, packing their sides, and rows of a map for them (half.h), on
  // the calling thread; NULL where the instruction set has none.
  void (*half_product)(const struct frt_half_product *g);
  void (*half_pack)(const struct frt_half_pack *p, uint16_t *y);
  void (*half_rows)(const struct frt_half_rows *g, uint16_t *y);

  // n numbers from f32 to bf16 or back, on the calling thread.
  void (*to_half)(const float *x, int64_t n, uint16_t *y);
  void (*from_half)(const uint16_t *x, int64_t n, float *y);

  // Elementwise chains: a compiled frt_chain (chain.h) over its operands.
  void (*chain)(const struct frt_chain *chain, void *const *in, void *const *out, void *scratch);

  // Optimizer, over all tensors in one pass (update.h).
  void (*adam)(const struct frt_adam *a);
  void (*sgd)(const struct frt_sgd *a);
  void (*ema)(const struct frt_ema *a);
  // Square root of the sum of squares over n tensors, in double, whatever the number of threads.
  // scratch: norm_scratch bytes.
  size_t (*norm_scratch)(int32_t n, const int64_t *numel);
  double (*norm)(int32_t n, const float *const *x, const int64_t *numel, void *scratch);

  // y[row][j] from Philox as runtime/ops/random/uniform.c says, rows numbered from `sample`; key is
  // the op's.
  void (*uniform)(const uint32_t key[2], uint64_t step, uint32_t sample, int64_t rows, int64_t n,
                  float *y);
} frt_kernels;

// The table of the instruction set in use.
const frt_kernels *frt__kernels(void);
