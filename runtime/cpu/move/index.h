// index.h -- index checks of the kernels that read i32 indices, with the messages of the
// references.
#pragma once
#include "cpu/reduce/lanes.h"

// x of 4-byte numbers and i32 indices.
static inline bool frt__can_index(const frt_step *s, int32_t x, int32_t idx)
{
  return frt__dtype_size(s->in[x]->shape.dtype) == 4 && s->in[idx]->shape.dtype == FRT_I32;
}
