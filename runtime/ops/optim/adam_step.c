/// adam_step -- one step of Adam or AdamW for any number of parameters.
///
///     g' = g * gscale                        AdamW (decoupled): p' = p - lr * weight_decay * p
///                                            Adam: g' = g' + weight_decay * p, p' = p
///     m = beta1 * m + (1 - beta1) * g'       v = beta2 * v + (1 - beta2) * g'^2
///     p = p' - lr / (1 - beta1^t) * m / (sqrt(v / (1 - beta2^t)) + eps)
///
/// in    lr, beta1, beta2, eps, weight_decay  scalars
/// in    t          scalar: the number of this step, from 1
/// in    gscale     scalar: every gradient is multiplied by it first (clipping)
/// in    p, g, m, v per parameter: value, gradient, first and second moment, all alike, f32 or f64
/// out   p, m, v    per parameter: what they become; may lie over the inputs
/// attr  decoupled  1: AdamW
/// attr  amsgrad    0: not supported
/// grad  none: an optimizer's step is where recording ends
/// errs  FRT_ESHAPE; before anything is written FRT_EARG when t < 1, FRT_EDATA when gscale is not
///       finite
/// from  Kingma and Ba 2015 (arXiv:1412.6980); Loshchilov and Hutter 2019 (arXiv:1711.05101)
#include "ops/optim/optim.h"

enum { LR, BETA1, BETA2, EPS, WEIGHT_DECAY, T, GSCALE, FIRST };
enum { P, G, M, V, GROUP };
static const frt_attr attrs[] = {
  {"decoupled", 1, 0, 0, 1, "1: weight decay acts on the parameter, not through the gradient"},
  {"amsgrad",   1, 0, 0, 0, "0: not supported"                                               },
};

static frt_status infer(const frt_infer *c)
{
  static const char *const names[] = {
    "lr", "beta1", "beta2", "eps", "weight_decay", "t", "gscale", "p", "g", "m", "v",
  };
  return frt__infer_update("adam_step", c, FIRST, GROUP, names);
}

typedef struct settings {
  double lr, beta1, beta2, eps, decay, gscale, rate, correct2;
  bool decoupled;
} settings;

static void update(const settings *s, double *p, double g, double *m, double *v)
{
  g *= s->gscale;
  if (s->decoupled) {
    *p -= s->lr * s->decay * *p;
  } else {
    g += s->decay * *p;
  }
  *m = s->beta1 * *m + (1 - s->beta1) * g;
  *v = s->beta2 * *v + (1 - s->beta2) * g * g;
  *p -= s->rate * *m / (sqrt(*v / s->correct2) + s->eps);
}

static frt_status check(const frt_op *op, const double *setting)
{
  FRT_TRY(frt__check_age(op, setting[T]));
  return frt__check_gscale(op, setting[GSCALE]);
}

static frt_status forward(const frt_call *c)
{
  double t = frt__setting(c, T);
  settings s = {
    .lr = frt__setting(c, LR),
    .beta1 = frt__setting(c, BETA1),
    .beta2 = frt__setting(c, BETA2),
    .eps = frt__setting(c, EPS),
    .decay = frt__setting(c, WEIGHT_DECAY),
    .gscale = frt__setting(c, GSCALE),
    .decoupled = c->attr[FRT_ADAM_DECOUPLED] != 0,
  };
  s.rate = s.lr / (1 - pow(s.beta1, t));
  s.correct2 = 1 - pow(s.beta2, t);
  for (int32_t k = FIRST, o = 0; k < c->n_in; k += GROUP, o += GROUP - 1) {
    int32_t dtype = c->xs[k]->dtype;
    for (int64_t i = 0, n = frt__numel(c->xs[k]); i < n; i++) {
      double p = frt__get(c->x[k + P], dtype, i), g = frt__get(c->x[k + G], dtype, i);
      double m = frt__get(c->x[k + M], dtype, i), v = frt__get(c->x[k + V], dtype, i);
      update(&s, &p, g, &m, &v);
      frt__put(c->y[o], dtype, i, p);
      frt__put(c->y[o + 1], dtype, i, m);
      frt__put(c->y[o + 2], dtype, i, v);
    }
  }
  return FRT_OK;
}

// lr, beta1, beta2, eps, weight_decay, t, gscale
static const frt_case cases[] = {
  {"Adam, first step",      2, {{3, 5}, {37}},     "nnnp", 0, {0, 0, 0.1, 0.9, 0.999, 1e-8, 0.01, 1, 1}},
  {"Adam, later, clipped",  1, {{2, 3, 4}},        "nnnp", 0, {0, 0, 0.5, 0.8, 0.9, 1e-3, 0, 7, 0.25}  },
  {"AdamW, first step",     1, {{130}},            "nnnp", 0, {1, 0, 0.1, 0.9, 0.999, 1e-8, 0.3, 1, 1} },
  {"AdamW, later, clipped",
   3,                          {{1}, {17, 3}, {}},
   "nnnp",                                                 0,
   {1, 0, 0.3, 0.7, 0.95, 1e-6, 0.2, 12, 0.5}                                                          },
};

FRT_OP(adam_step) = {
  .name = "adam_step",
  .doc = "one step of Adam or AdamW for any number of parameters",
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
