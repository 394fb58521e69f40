// update_step.h -- what the glue of the optimizers' steps shares: scalars, sizes of all tensors.
#pragma once
#include "cpu/optim/update_simd.h"

static inline double frt__update_scalar(const frt_step *s, void *const *in, int32_t k)
{
  return s->in[k]->shape.dtype == FRT_F64 ? *(const double *)in[k] : (double)*(const float *)in[k];
}
static inline bool frt__update_can(const frt_step *s)
{
  int32_t first = s->op->update.first;
  for (int32_t k = 0; k < s->n_in + s->n_out; k++) {
    const frt_value *v = k < s->n_in ? s->in[k] : s->out[k - s->n_in];
    if (v == NULL || (v->shape.dtype != FRT_F32 && (k >= first || v->shape.dtype != FRT_F64))) {
      return false;
    }
  }
  return s->n_in > first;
}
// state: the prefix sums of the tensors' sizes.
static inline frt_status frt__update_ready(frt_step *s)
{
  int32_t first = s->op->update.first, group = s->op->update.in, n = (s->n_in - first) / group;
  int64_t *start = frt__alloc(sizeof *start * (size_t)(n + 1));
  FRT_CHECK(start != NULL, FRT_ENOMEM, "out of memory: %s", s->op->name);
  start[0] = 0;
  for (int32_t k = 0; k < n; k++) {
    start[k + 1] = start[k] + frt__numel(&s->in[first + k * group]->shape);
  }
  s->state = start;
  return FRT_OK;
}
static inline void frt__update_free(frt_step *s)
{
  frt__free(s->state);
  s->state = NULL;
}
static inline frt_tensors frt__update_tensors(const frt_step *s, void *const *in, void *const *out)
{
  int32_t first = s->op->update.first, group = s->op->update.in;
  return (frt_tensors){
    .n = (s->n_in - first) / group, .start = s->state, .in = in + first, .out = out};
}

