// sgd_step.c -- one step of gradient descent with momentum over all parameters in one pass.
#include "cpu/optim/update_step.h"
#include "ops/optim/optim.h"

enum { LR, MOMENTUM, DAMPENING, WEIGHT_DECAY, T, GSCALE };

static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  (void)scratch;
  double v[GSCALE + 1];
  for (int32_t k = 0; k <= GSCALE; k++) {
    v[k] = frt__update_scalar(s, in, k);
  }
  bool first = v[T] <= 1 || v[MOMENTUM] == 0;
  frt_sgd a = {
    .t = frt__update_tensors(s, in, out),
    .gscale = (float)v[GSCALE],
    .decay = (float)v[WEIGHT_DECAY],
    .momentum = first ? 0 : (float)v[MOMENTUM],
    .fresh = first ? 1 : (float)(1 - v[DAMPENING]),
    .lr = (float)v[LR],
    .look = (float)v[MOMENTUM],
    .ahead = s->attr[FRT_SGD_NESTEROV] != 0,
  };
  frt__kernels()->sgd(&a);
  return FRT_OK;
}

FRT_KERNEL(sgd_step) = {
  .name = "own",
  .can = frt__update_can,
  .ready = frt__update_ready,
  .run = run,
  .free = frt__update_free,
};
