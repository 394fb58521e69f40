// lanes.h -- loops over the lanes of one dimension (ops/shape/shape.h) shared by several kernels.
#pragma once
#include "device/kernel.h"
#include "ops/shape/shape.h"

enum { FRT_SMALL_LANES = 16384 }; // numbers below which one thread does it

static inline bool frt__all_f32(const frt_step *s)
{
  for (int32_t i = 0; i < s->n_in; i++) {
    if (s->in[i] && s->in[i]->shape.dtype != FRT_F32) {
      return false;
    }
  }
  return true;
}
