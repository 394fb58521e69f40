// softmax.h -- what softmax and log_softmax share: the attribute, checks, a lane's largest number
// and the sum behind it.
#pragma once
#include "ops/reduce/reduce.h"

enum { FRT_SOFTMAX_DIM };
// clang-format off
#define FRT_SOFTMAX_ATTRS {"dim", 1, 0, 0, FRT_MAX_DIM - 1, "the dimension"}
// clang-format on

static inline frt_status frt__infer_softmax(const char *op, const frt_infer *c)
{
  FRT_TRY(frt__check_float(op, "x", c->x[0]));
  FRT_TRY(frt__check_dim(op, c->attr[FRT_SOFTMAX_DIM], c->x[0]));
  return frt__infer_same(c);
}

// The largest number of a lane, and the sum of e^(x - top).
static inline double frt__softmax_sum(const real *x, const frt_lanes *l, double *top)
{
  double sum = 0;
  *top = -INFINITY;
  for (int64_t k = 0; k < l->n; k++) {
    *top = fmax(*top, (double)x[k * l->step]);
  }
  for (int64_t k = 0; k < l->n; k++) {
    sum += exp((double)x[k * l->step] - *top);
  }
  return sum;
}

// forward() of an op whose result is `y` of a number less its lane's largest, `x`, and the lane's
// sum.
#define FRT_SOFTMAX(id, y)                                                                         \
  static frt_status infer(const frt_infer *c)                                                      \
  {                                                                                                \
    return frt__infer_softmax(#id, c);                                                             \
  }                                                                                                \
  static frt_status forward(const frt_call *c)                                                     \
  {                                                                                                \
    frt_lanes l = frt__lanes(c->xs[0], (int32_t)c->attr[FRT_SOFTMAX_DIM]);                         \
    for (int64_t i = 0; i < l.outer * l.step; i++) {                                               \
      const real *px = FRT_IN(real, 0) + frt__lane_start(&l, i);                                   \
      real *py = FRT_OUT(real, 0) + frt__lane_start(&l, i);                                        \
      double top, sum = frt__softmax_sum(px, &l, &top);                                            \
      for (int64_t k = 0; k < l.n; k++) {                                                          \
        double x = (double)px[k * l.step] - top;                                                   \
        py[k * l.step] = (real)(y);                                                                \
      }                                                                                            \
    }                                                                                              \
    return FRT_OK;                                                                                 \
  }
