// kernel.h -- what a kernel sees of a plan (values, a step, a program of elementwise ops), and what
// it tells the planner about itself. A backend's folder holds FRT_KERNEL(x): its kernel of op x.
#pragma once
#include "ir/op.h"
#include "ops/fused/places.h"

// How a value's bytes lie.
typedef enum frt_layout {
  FRT_PLAIN = 0,         // row-major in the logical order
  FRT_CHANNELS_LAST = 1, // 4-D only: row-major as N H W C
  FRT_LAYOUTS = 2,
} frt_layout;

typedef struct frt_kernel frt_kernel;
typedef struct frt_step frt_step;

// How a value's numbers are kept. A store is chosen late, by the plan: the recorded graph and the
// gradient know the dtype alone.
typedef enum frt_store {
  FRT_STORE_OWN = 0,  // as the dtype says
  FRT_STORE_BF16 = 1, // an f32 value kept as bf16 (frt_set_precision)
  FRT_STORE_F16 = 2,  // reserved
  FRT_STORE_I8 = 3,   // reserved: with a scale
  FRT_STORES = 4,
} frt_store;

// A value of a plan, as kernels see it.
typedef struct frt_value {
  frt_shape shape;
  uint8_t layout; // frt_layout
  uint8_t store;  // frt_store
  bool is_var;    // a variable's own bytes (weights): stable between runs but for its version
} frt_value;
static inline bool frt__bf16(const frt_value *v)
{
  return v->store == FRT_STORE_BF16;
}
static inline size_t frt__item_bytes(const frt_value *v)
{
  return frt__bf16(v) ? 2 : frt__dtype_size(v->shape.dtype);
}
static inline size_t frt__value_bytes(const frt_value *v)
{
  return frt__item_bytes(v) * (size_t)frt__numel(&v->shape);
}

struct frt_step {
  const frt_op *op;
  const frt_kernel *kernel;
  int32_t n_in, n_out;
  const frt_value *const *in; // NULL where absent
  const frt_value *const *out;
  const double *attr;
  const uint64_t *in_version; // of each input's bytes; 0: may have changed since the last run
  const void *program;        // elementwise chains: frt_program
  void *state;                // the kernel's own (primitives), freed by free()
  size_t scratch;             // bytes of scratch the kernel wants while it runs
  size_t packed;              // bytes it will hold from ready() on: packed weights
  const char *note;           // for explain: "fused bias, silu"
  const char *label;          // what plan() chose, where the kernel's name says too little
  bool setup;        // makes derived values: runs only when a variable behind them has moved
  bool writes;       // writes a variable: from here on a failure tears it
  void *const *args; // addresses of inputs, then outputs, in this run
  void *room;        // address of its scratch in this run
};

struct frt_kernel {
  const char *name;             // for explain: "onednn", "own"
  bool channels_last;           // 4-D operands of full rank are wanted (and given) channels-last
  bool any_layout;              // bytes may lie in any way as long as all 4-D operands agree
  uint32_t plain_in, plain_out; // channels_last: operands that stay plain (bit k: weights)
  bool in_place;                // output 0 may lie over input 0
  bool over;                    // any output may lie over any input that it lies alike with
  uint32_t bf16_in, bf16_out;   // operands that may be stored as bf16, all of them or none
  bool product;                 // worth storing its maps as bf16 for; else it follows its inputs
  // True when the kernel can run this step (shapes, dtypes, attributes).
  bool (*can)(const frt_step *s);
  // Chooses scratch; may fail. Called once, when the plan is compiled; creates nothing large.
  // Optional.
  frt_status (*plan)(frt_step *s);
  // Creates primitives (state). Called once, before the first run. Optional.
  frt_status (*ready)(frt_step *s);
  frt_status (*run)(const frt_step *s, void *const *in, void *const *out, void *scratch);
  void (*free)(frt_step *s);
};
#define FRT_KERNEL(id) const frt_kernel frt_kernel_##id

// Ops that only a plan has: what moves values, elementwise chains, attention (plan/inner.c).
extern const frt_op frt_fused_chain, frt_fused_layout, frt_fused_copy, frt_fused_store,
  frt_fused_attention, frt_fused_attention_grad;

// softmax(scale q k') v of each sample and head, and its gradient:
//   fused_attention       q, k, v, scale [] -> y, or y, lse (log2 of each row's sum of powers)
//   fused_attention_grad  q, k, v, scale [], dy, lse -> dq, dk, dv, or all three in one value
// scale may be absent: 1. Attributes: samples, heads, queries, keys, numbers of each, then for q,
// k, v, y (dy) and dq, dk, dv where (0, 0, 0, 0) lies in its value and the steps between samples,
// heads and rows.
enum {
  FRT_ATTENTION_SAMPLES,
  FRT_ATTENTION_HEADS,
  FRT_ATTENTION_QUERIES,
  FRT_ATTENTION_KEYS,
  FRT_ATTENTION_WIDTH,
  FRT_ATTENTION_SIZES,
};
enum { FRT_PART_AT, FRT_PART_SAMPLE, FRT_PART_HEAD, FRT_PART_ROW, FRT_ATTENTION_PART };
enum { FRT_ATTENTION_SCALE = 3, FRT_ATTENTION_DY = 4, FRT_ATTENTION_LSE = 5 };
enum {
  FRT_ATTENTION_ATTRS = FRT_ATTENTION_SIZES + 4 * FRT_ATTENTION_PART,
  FRT_ATTENTION_GRAD_ATTRS = FRT_ATTENTION_SIZES + 7 * FRT_ATTENTION_PART
};

// An elementwise chain: instructions over registers; registers 0 .. n_in-1 are the step's inputs.
typedef struct frt_instr {
  const frt_op *op;
  int16_t a, b, c; // operand registers, -1 none
  int16_t dst;     // register; stored to out[store] when store >= 0
  int16_t store;
  double attr[2];
} frt_instr;
typedef struct frt_program {
  int32_t n_instr, n_reg;
  frt_shape shape; // of every result
  frt_instr instr[];
} frt_program;
