// adam_step.c -- one step of Adam or AdamW over all parameters in one pass.
#include "cpu/optim/update_step.h"
#include "ops/optim/optim.h"

enum { LR, BETA1, BETA2, EPS, WEIGHT_DECAY, T, GSCALE };

static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  (void)scratch;
  double v[GSCALE + 1];
  for (int32_t k = 0; k <= GSCALE; k++) {
    v[k] = frt__update_scalar(s, in, k);
  }
  bool decoupled = s->attr[FRT_ADAM_DECOUPLED] != 0;
  frt_adam a = {
    .t = frt__update_tensors(s, in, out),
    .gscale = (float)v[GSCALE],
    .l2 = decoupled ? 0 : (float)v[WEIGHT_DECAY],
    .shrink = decoupled ? (float)(v[LR] * v[WEIGHT_DECAY]) : 0,
    .beta1 = (float)v[BETA1],
    .beta2 = (float)v[BETA2],
    .one_beta1 = (float)(1 - v[BETA1]),
    .one_beta2 = (float)(1 - v[BETA2]),
    .rate = (float)(v[LR] / (1 - pow(v[BETA1], v[T]))),
    .correct2 = (float)(1 / (1 - pow(v[BETA2], v[T]))),
    .eps = (float)v[EPS],
  };
  frt__kernels()->adam(&a);
  return FRT_OK;
}

FRT_KERNEL(adam_step) = {
  .name = "own",
  .can = frt__update_can,
  .ready = frt__update_ready,
  .run = run,
  .free = frt__update_free,
};
