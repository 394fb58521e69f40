// plane.h -- a plane of doubles, in which gradients are added up before they are rounded: no result
// then depends on the order of what it is made of by more than its last bit.
#pragma once
#include "ops/shape/shape.h"

static inline frt_status frt__plane_new(const char *op, int64_t pixels, double **out)
{
  *out = frt__alloc((size_t)pixels * sizeof **out);
  FRT_CHECK(*out, FRT_ENOMEM, "%s: out of memory for %lld numbers", op, (long long)pixels);
  return FRT_OK;
}
static inline void frt__plane_clear(double *plane, int64_t pixels)
{
  memset(plane, 0, (size_t)pixels * sizeof *plane);
}
static inline void frt__plane_round(const double *plane, int64_t pixels, real *out)
{
  for (int64_t i = 0; i < pixels; i++) {
    out[i] = (real)plane[i];
  }
}
