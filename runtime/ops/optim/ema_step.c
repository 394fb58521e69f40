/// ema_step -- exponential moving averages of any number of tensors move by one step.
///
///     e = x at decay 0, else decay * e + (1 - decay) * x, as the nearer of e and x plus a share of
///     their difference: an average of numbers that stay the same stays the same in every bit
///
/// in    decay  scalar, 0 to below 1
/// in    e, x   per tensor: its average and its value, both alike, f32 or f64
/// out   e      per tensor: what the average becomes; may lie over the input
/// grad  none: an average is where recording ends
/// errs  FRT_ESHAPE; FRT_EARG when decay is not in [0, 1), before anything is written
/// from  Polyak and Juditsky 1992; as timm's ModelEmaV3 and torch.lerp
#include "ops/optim/optim.h"

enum { DECAY, FIRST };
enum { E, X, GROUP };

static frt_status infer(const frt_infer *c)
{
  static const char *const names[] = {"decay", "e", "x"};
  return frt__infer_update("ema_step", c, FIRST, GROUP, names);
}

static frt_status check(const frt_op *op, const double *setting)
{
  const double decay = setting[DECAY];
  FRT_CHECK(decay >= 0 && decay < 1, FRT_EARG, "%s: decay must be from 0 to below 1, got %g",
            op->name, decay);
  return FRT_OK;
}

static frt_status forward(const frt_call *c)
{
  double decay = frt__setting(c, DECAY);
  for (int32_t k = FIRST, o = 0; k < c->n_in; k += GROUP, o++) {
    int32_t dtype = c->xs[k]->dtype;
    for (int64_t i = 0, n = frt__numel(c->xs[k]); i < n; i++) {
      double e = frt__get(c->x[k + E], dtype, i), x = frt__get(c->x[k + X], dtype, i);
      frt__put(c->y[o], dtype, i, decay > 0.5 ? e + (1 - decay) * (x - e) : x + decay * (e - x));
    }
  }
  return FRT_OK;
}

// decay
static const frt_case cases[] = {
  {"decay 0.9",          2, {{3, 5}, {37}},   "nn", 0, {0.9}},
  {"decay 0.3",          3, {{130}, {}, {1}}, "nn", 0, {0.3}},
  {"decay 0: the value", 1, {{17, 3}},        "nn", 0, {0}  },
};

FRT_OP(ema_step) = {
  .name = "ema_step",
  .doc = "exponential moving averages of any number of tensors move by one step",
  .n_in = -1,
  .n_out = -1,
  .flags = FRT_UPDATE,
  .cases = cases,
  .n_case = FRT_COUNT(cases),
  .infer = infer,
  .forward = forward,
  .update = {FIRST, GROUP, check},
};
