/// sgd_step -- one step of gradient descent with momentum for any number of parameters.
///
///     g' = g * gscale + weight_decay * p
///     buf = g' at t = 1, else momentum * buf + (1 - dampening) * g'
///     p = p - lr * (nesterov ? g' + momentum * buf : buf)
///     with momentum 0: p = p - lr * g', whatever dampening says, and buf = g'
///
/// in    lr, momentum, dampening, weight_decay  scalars
/// in    t          scalar: the number of this step, from 1
/// in    gscale     scalar: every gradient is multiplied by it first (clipping)
/// in    p, g, buf  per parameter: value, gradient, momentum, all alike, f32 or f64
/// out   p, buf     per parameter: what they become; may lie over the inputs
/// attr  nesterov   1: look ahead
/// grad  none: an optimizer's step is where recording ends
/// errs  FRT_ESHAPE; before anything is written FRT_EARG when t < 1, FRT_EDATA when gscale is not
///       finite
/// from  Sutskever, Martens, Dahl and Hinton 2013, in PyTorch's form
#include "ops/optim/optim.h"

enum { LR, MOMENTUM, DAMPENING, WEIGHT_DECAY, T, GSCALE, FIRST };
enum { P, G, BUF, GROUP };
static const frt_attr attrs[] = {
  {"nesterov", 1, 0, 0, 1, "1: look ahead"}
};

static frt_status infer(const frt_infer *c)
{
  static const char *const names[] = {
    "lr", "momentum", "dampening", "weight_decay", "t", "gscale", "p", "g", "buf",
  };
  return frt__infer_update("sgd_step", c, FIRST, GROUP, names);
}

static frt_status check(const frt_op *op, const double *setting)
{
  FRT_TRY(frt__check_age(op, setting[T]));
  return frt__check_gscale(op, setting[GSCALE]);
}

static frt_status forward(const frt_call *c)
{
  double lr = frt__setting(c, LR), momentum = frt__setting(c, MOMENTUM), t = frt__setting(c, T);
  double damp = frt__setting(c, DAMPENING), decay = frt__setting(c, WEIGHT_DECAY);
  double gscale = frt__setting(c, GSCALE);
  bool nesterov = c->attr[FRT_SGD_NESTEROV] != 0, fresh = t <= 1 || momentum == 0;
  for (int32_t k = FIRST, o = 0; k < c->n_in; k += GROUP, o += GROUP - 1) {
    int32_t dtype = c->xs[k]->dtype;
    for (int64_t i = 0, n = frt__numel(c->xs[k]); i < n; i++) {
      double p = frt__get(c->x[k + P], dtype, i), buf = frt__get(c->x[k + BUF], dtype, i);
      double g = frt__get(c->x[k + G], dtype, i) * gscale + decay * p;
      buf = fresh ? g : momentum * buf + (1 - damp) * g;
      frt__put(c->y[o], dtype, i, p - lr * (nesterov ? g + momentum * buf : buf));
      frt__put(c->y[o + 1], dtype, i, buf);
    }
  }
  return FRT_OK;
}

// lr, momentum, dampening, weight_decay, t, gscale
static const frt_case cases[] = {
  {"plain",                                   1, {{37}},         "nnn", 0, {0, 0.5, 0, 0.7, 0, 1, 1}    },
  {"momentum, first step",                    2, {{3, 5}, {}},   "nnn", 0, {0, 0.5, 0.9, 0.3, 0.1, 1, 1}},
  {"momentum with dampening, later, clipped",
   1,                                            {{130}},
   "nnn",                                                               0,
   {0, 0.5, 0.9, 0.3, 0.1, 4, 0.5}                                                                      },
  {"nesterov, later",                         2, {{17, 3}, {1}}, "nnn", 0, {1, 0.5, 0.9, 0, 0.1, 2, 1}  },
};

FRT_OP(sgd_step) = {
  .name = "sgd_step",
  .doc = "one step of gradient descent with momentum for any number of parameters",
  .n_in = -1,
  .n_out = -1,
  .flags = FRT_UPDATE,
  .attr = attrs,
  .n_attr = FRT_COUNT(attrs),
  .cases = cases,
  .n_case = FRT_COUNT(cases),
  .infer = infer,
  .forward = forward,
  .update = {FIRST, GROUP, check},
};
