// chain.h -- an elementwise chain as the interpreter wants it: dimensions merged, operands
// classified, instructions as codes. Built by runtime/cpu/chain/fused_chain.c, run by chain.c.
#pragma once
#include "cpu/kernels.h"

// Codes, in the order of the table in chain_ops.c.
// clang-format off
#define FRT_CHAIN_CODES(X) \
  X(neg) X(exp) X(log) X(sqrt) X(rsqrt) X(abs) X(sign) X(sin) X(cos) X(erf) X(tanh) X(sigmoid) \
  X(relu) X(relu6) X(silu) X(gelu) X(softplus) X(floor) X(expand) X(add) X(sub) X(mul) X(div) \
  X(pow) X(maximum) X(minimum) X(eq) X(lt) X(le) X(silu_grad) X(gelu_grad) X(relu_grad) \
  X(relu6_grad) \
  X(where) X(muladd) X(mulsub)
// clang-format on
#define FRT_CHAIN_ENUM(id) FRT_CHAIN_##id,
enum { FRT_CHAIN_CODES(FRT_CHAIN_ENUM) FRT_CHAIN_COUNT };

// How the operand's tile is had. DIRECT: its bytes are the tile. REPEAT: every row of it is the
// same.
enum { FRT_CHAIN_DIRECT, FRT_CHAIN_SCALAR, FRT_CHAIN_REPEAT, FRT_CHAIN_GATHER };
enum { FRT_CHAIN_TILE = 1024, FRT_CHAIN_PITCH = FRT_CHAIN_TILE + 48 }; // floats; of a buffer

typedef struct frt_chain_in {
  int32_t kind, last_read;   // last instruction that reads it
  bool bf16;                 // stored as bf16, like some outputs
  int64_t step[FRT_MAX_DIM]; // of the merged dimensions
} frt_chain_in;

typedef struct frt_chain_instr {
  int16_t code, a, b, c, dst, store; // registers; inputs first
} frt_chain_instr;

typedef struct frt_chain {
  int32_t n_in, n_out, n_reg, n_instr, threads;
  int32_t ndim; // merged; the last is `inner`
  int64_t dim[FRT_MAX_DIM], outer, inner;
  int64_t rows, cols, tiles; // of a tile: whole rows, or one piece of a row
  int32_t stored_by[24];     // instruction that stores each output
  bool bf16_out[24];
  frt_chain_in *in;
  frt_chain_instr *instr;
} frt_chain;

// Buffers of all threads.
static inline size_t frt__chain_scratch(const frt_chain *c)
{
  return (size_t)c->threads * (size_t)c->n_reg * FRT_CHAIN_PITCH * sizeof(float);
}
