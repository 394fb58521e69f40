// conv_state.h -- a convolution's step between conv.c, which chooses the way, and the ways that
// have files of their own: conv_gemm.c (matrix products), conv_winograd.c,
// conv_dense.c.
#pragma once
#include "cpu/conv/conv.h"
#include "cpu/conv/half.h"

// FRT__WINDOWS: a product too, over windows that are gathered; of gradients by the weights.
// FRT__HALF: maps are stored as bf16 (conv_half.c).
typedef enum frt__conv_way {
  FRT__ONEDNN,
  FRT__GEMM,
  FRT__WINDOWS,
  FRT__DEPTHWISE,
  FRT__HALF,
  FRT__WINOGRAD,
  FRT__DENSE
} frt__conv_way;

typedef struct frt__conv {
  frt__conv_way way;
  frt_dn_conv c;
  frt_depthwise dw;
  frt_winograd wino;
  frt_dense dense;
  frt_dn *dn;
  frt__half half;
  void *packed; // weights as the primitive wants them, or NULL
  size_t packed_bytes;
  const void *from; // the plain weights `packed` was made of, and which version of them
  uint64_t version; // 0: not made yet
  int32_t loads;    // fused: the first of the inputs that frt_load stands for; 0: x as it lies
  int32_t act_in;   // of the load
  bool residual;    // fused: a map is added before the activation
  bool counts;      // fused: y's statistics are outputs too
  bool counted;  // counts, or makes again the y of a step that does: in the same way, for its bits
  int32_t parts; // of the statistics: one per thread that makes y
  frt_bn bn;     // of y
} frt__conv;

// The load of a fused step, from its inputs; NULL: x as it lies.
static inline const frt_load *frt__conv_load(const frt__conv *v, void *const *in, frt_load *l)
{
  if (v->loads == 0) {
    return NULL;
  }
  void *const *p = in + v->loads; // gamma, beta, mean, rstd, gate
  *l = (frt_load){.w = p[0],
                  .b = p[1],
                  .mean = p[FRT_LOAD_MEAN],
                  .rstd = p[3],
                  .gate = p[FRT_LOAD_GATE],
                  .map = v->c.h * v->c.w,
                  .act = v->act_in};
  return l;
}

// Bytes of the parts of y's statistics, and what becomes of them.
static inline size_t frt__conv_counts(const frt__conv *v)
{
  return (size_t)v->parts * frt__kernels()->moments_bytes(v->c.o);
}
static inline void frt__conv_finish_counts(const frt__conv *v, const void *parts, void *const *in,
                                           void *const *out)
{
  void *const *running = in + FRT_CONV_RUNNING;
  if (v->counts) {
    frt__kernels()->moments_finish(&v->bn, v->parts, parts, frt__kernels()->moments_bytes(v->c.o),
                                   running[0], running[1], out[1], out[2], out[3], out[4]);
  }
}

// A 1x1 convolution of stride 1: a matrix product as it lies.
static inline bool frt__conv_one_pixel(const frt_dn_conv *c)
{
  return c->groups == 1 && c->kh == 1 && c->kw == 1 && c->stride[0] == 1 && c->stride[1] == 1 &&
         !c->pad[0] && !c->pad[1] && !c->pad[2] && !c->pad[3];
}

// What own products and Winograd share. At evaluation (batch norm has become a bias) packed weights
// last; in training they are others in every step: packed in scratch, not kept.
static inline bool frt__conv_keeps(const frt__conv *v)
{
  return v->c.kind == FRT_DN_CONV && v->c.bias;
}
// A pass: what its kernel is given.
typedef struct frt__conv_pass {
  const frt_load *load;
  const void *packed;
  const float *bias, *residual;
  double *moments; // zeroed; NULL: no statistics
  void *scratch;
  frt_load room;
} frt__conv_pass;
typedef void frt__conv_pack_fn(const frt__conv *v, const float *w, void *packed);
// Scratch of statistics, of the kernel itself (`own`), and of weights packed in it.
size_t frt__conv_pass_scratch(const frt__conv *v, size_t own, size_t packed);
// packed: the kept ones, NULL: packed now.
void frt__conv_begin(const frt__conv *v, const void *packed, void *const *in, char *scratch,
                     size_t own, frt__conv_pack_fn *pack, frt__conv_pass *pass);

size_t frt__conv_gemm_scratch(const frt__conv *v);
frt_status frt__conv_gemm(const frt__conv *v, void *const *in, void *const *out, void *scratch);
frt_status frt__conv_half_plan(frt_step *s);
frt_status frt__conv_half(const frt_step *s, void *const *in, void *const *out, void *scratch);

bool frt__conv_winograd_can(const frt_dn_conv *c, bool half);
void frt__conv_winograd_plan(
  frt__conv *v, const frt_step *s); // sets packed_bytes where the packed weights are kept
size_t frt__conv_winograd_scratch(const frt__conv *v);
void frt__conv_winograd_pack(const frt__conv *v, const float *w, void *packed);
void frt__conv_winograd(const frt__conv *v, const void *packed, void *const *in, void *const *out,
                        char *scratch);

bool frt__conv_dense_can(const frt_dn_conv *c);
void frt__conv_dense_plan(frt__conv *v); // sets packed_bytes where the packed weights are kept
size_t frt__conv_dense_scratch(const frt__conv *v);
void frt__conv_dense_pack(const frt__conv *v, const float *w, void *packed);
void frt__conv_dense(const frt__conv *v, const void *packed, void *const *in, void *const *out,
                     char *scratch);
