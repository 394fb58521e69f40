// update.h -- one step of an optimizer over many tensors at once, as the kernels want it. Outputs
// may be the inputs they replace.
#pragma once
#include "cpu/kernels.h"

// Elements of all tensors in one row: tensor k has those from start[k] to start[k + 1].
typedef struct frt_tensors {
  int32_t n;
  const int64_t *start; // n + 1
  void *const *in, *const *out;
} frt_tensors;

// in: groups of p, g, m, v; out: groups of p, m, v.
//   g' = gscale * g + l2 * p      m = beta1 * m + (1 - beta1) * g'    v = beta2 * v + (1 - beta2) *
//   g'^2 p = p - shrink * p - rate * m / (sqrt(v * correct2) + eps)
typedef struct frt_adam {
  frt_tensors t;
  float gscale, l2, shrink, beta1, beta2, one_beta1, one_beta2, rate, correct2, eps;
} frt_adam;

// in: groups of p, g, buf; out: groups of p, buf.
//   g' = gscale * g + decay * p   buf = momentum * buf + fresh * g'
//   p = p - lr * (ahead ? g' + look * buf : buf)
typedef struct frt_sgd {
  frt_tensors t;
  float gscale, decay, momentum, fresh, lr, look;
  bool ahead;
} frt_sgd;

// in: groups of e, x; out: e.
//   e = from_x ? x + share * (e - x) : e + share * (x - e)
typedef struct frt_ema {
  frt_tensors t;
  float share;
  bool from_x;
} frt_ema;
