// conv.h -- a convolution's step, and the variants that can compute it: conv.c chooses one by
// shape; each has a file that ends with its row (conv_gemm.c two, the depthwise and oneDNN's are in
// conv.c).
#pragma once
#include "cpu/conv/bf16.h"
#include "cpu/onednn.h"

typedef struct frt__conv frt__conv;

// What a fused step may ask of the variant that computes it (bits).
enum {
  FRT__LOAD = 1,     // x is act(batch norm(x)), computed as it is read
  FRT__GATE = 2,     // .. times a gate per photo and channel
  FRT__RESIDUAL = 4, // a map is added before the activation
  FRT__STATS = 8,    // y's batch statistics come with it
};

typedef struct frt__conv_variant {
  const char *name,
    *name_bf16;     // for explain, where maps are stored as bf16 too; NULL: the kernel's
  const char *note; // for explain where the planner has none; NULL
  // Whether it computes this; bf16: some map is stored so.
  bool (*can)(const frt_dn_conv *c, bool bf16);
  uint32_t (*takes)(const frt_dn_conv *c, bool bf16); // NULL: nothing
  // Sets the step's scratch, and packed_bytes where weights are kept packed.
  frt_status (*plan)(frt_step *s);
  frt_status (*ready)(frt__conv *v);                                    // NULL: nothing to do
  frt_status (*pack)(const frt__conv *v, const float *w, void *packed); // NULL: never packs
  // packed: the weights that are kept so; NULL: as they lie in in[1].
  frt_status (*run)(const frt_step *s, const void *packed, void *const *in, void *const *out,
                    void *scratch);
  void (*free)(frt__conv *v); // NULL: nothing to do
} frt__conv_variant;
extern const frt__conv_variant frt__conv_winograd, frt__conv_bf16, frt__conv_dense, frt__conv_gemm,
  frt__conv_windows;

struct frt__conv {
  const frt__conv_variant *variant;
  frt_dn_conv c;
  frt_conv_shape shape; // own kernels: what they see
  union {               // other variants
    frt__bf16_windows bf16;
    frt_dn *dn;
  };
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
};

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

// The shape as own kernels see it; by the input (dense only) dy is read and dx made.
frt_conv_shape frt__conv_shape(const frt_dn_conv *c, const frt_step *s);

// Reads each pixel of x by itself.
static inline bool frt__conv_one_tap(const frt_dn_conv *c)
{
  return c->kh == 1 && c->kw == 1 && !c->pad[0] && !c->pad[1] && !c->pad[2] && !c->pad[3];
}

// A 1x1 convolution of stride 1: a matrix product as it lies.
static inline bool frt__conv_one_pixel(const frt_dn_conv *c)
{
  return c->groups == 1 && c->stride[0] == 1 && c->stride[1] == 1 && frt__conv_one_tap(c);
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
// Scratch of statistics, of the kernel itself (`own`), and of weights packed in it.
size_t frt__conv_pass_scratch(const frt__conv *v, size_t own, size_t packed);
// packed: the kept ones, NULL: packed now.
frt_status frt__conv_begin(const frt__conv *v, const void *packed, void *const *in, char *scratch,
                           size_t own, frt__conv_pass *pass);
