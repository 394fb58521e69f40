// chain_ops.h -- an instruction of an elementwise chain: d[i] = f(a[i], b[i], c[i]) for i < n; d
// may be any of the operands.
#pragma once
#include "cpu/chain/chain_simd.h"

typedef void (*frt_chain_fn)(float *d, const float *a, const float *b, const float *c, int64_t n);
extern const frt_chain_fn FRT_K(chain_ops)[FRT_CHAIN_COUNT];
