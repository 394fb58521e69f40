// move.h -- strided copies between any two layouts: what permute, expand, narrow, pad, flip, cat
// and the layout changes of the planner are made of.
#pragma once
#include "device/kernel.h"

// dst[sum i[d]*to[d]] = src[sum i[d]*from[d]] for all i[d] < dim[d]; steps in elements, `from` may
// be 0 (broadcast) or negative (reversed).
typedef struct frt_move {
  int32_t ndim;
  int64_t dim[FRT_MAX_DIM], from[FRT_MAX_DIM], to[FRT_MAX_DIM];
} frt_move;

// size: bytes of an element, 2, 4 or 8. Parallel; the result does not depend on the threads.
void frt__move(frt_move m, size_t size, const void *src, void *dst);
// dst[i] = the element at `value` for the same i[d].
void frt__fill(size_t size, int64_t n, const void *value, void *dst);
void frt__copy(const void *src, void *dst, size_t bytes);

// Steps of a value's dimensions as its bytes lie.
static inline void frt__value_steps(const frt_value *v, int64_t step[FRT_MAX_DIM])
{
  const int64_t *d = v->shape.dim;
  if (v->layout == FRT_CHANNELS_LAST && v->shape.ndim == 4) {
    step[1] = 1;
    step[3] = d[1];
    step[2] = d[1] * d[3];
    step[0] = d[1] * d[3] * d[2];
    return;
  }
  int64_t at = 1;
  for (int32_t i = v->shape.ndim - 1; i >= 0; i--) {
    step[i] = at;
    at *= d[i];
  }
}

// True when all operands have elements of one size that frt__move takes.
static inline bool frt__can_move(const frt_step *s)
{
  size_t size = frt__item_bytes(s->out[0]);
  for (int32_t i = 0; i < s->n_in; i++) {
    if (!s->in[i] || frt__item_bytes(s->in[i]) != size ||
        s->in[i]->shape.dtype != s->out[0]->shape.dtype) {
      return false;
    }
  }
  return size == 2 || size == 4 || size == 8;
}
