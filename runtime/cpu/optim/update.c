// update.c -- optimizer steps, averages and the gradient's length, over all parameters in one pass.
#include "cpu/kernels.h"
#include "cpu/optim/update_simd.h"
#include "ops/optim/optim.h"

// What the glue of the optimizers' steps shares: scalars, sizes of all tensors.
static double update_scalar(const frt_step *s, void *const *in, int32_t k)
{
  return s->in[k]->shape.dtype == FRT_F64 ? *(const double *)in[k] : (double)*(const float *)in[k];
}
static bool update_can(const frt_step *s)
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
static frt_status update_ready(frt_step *s)
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
static void update_free(frt_step *s)
{
  frt__free(s->state);
  s->state = NULL;
}
static frt_tensors update_tensors(const frt_step *s, void *const *in, void *const *out)
{
  int32_t first = s->op->update.first, group = s->op->update.in;
  return (frt_tensors){
    .n = (s->n_in - first) / group, .start = s->state, .in = in + first, .out = out};
}

// One step of Adam or AdamW over all parameters in one pass.
enum { LR, BETA1, BETA2, EPS, WEIGHT_DECAY, T, GSCALE }; // inputs

static frt_status run_adam_step(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  (void)scratch;
  double v[GSCALE + 1];
  for (int32_t k = 0; k <= GSCALE; k++) {
    v[k] = update_scalar(s, in, k);
  }
  bool decoupled = s->attr[FRT_ADAM_DECOUPLED] != 0;
  frt_adam a = {
    .t = update_tensors(s, in, out),
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
  .can = update_can,
  .ready = update_ready,
  .run = run_adam_step,
  .free = update_free,
};

// One step of gradient descent with momentum over all parameters in one pass.
enum { SGD_MOMENTUM = 1, SGD_DAMPENING, SGD_WEIGHT_DECAY, SGD_T, SGD_GSCALE }; // after LR

static frt_status run_sgd_step(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  (void)scratch;
  double v[SGD_GSCALE + 1];
  for (int32_t k = 0; k <= SGD_GSCALE; k++) {
    v[k] = update_scalar(s, in, k);
  }
  bool first = v[SGD_T] <= 1 || v[SGD_MOMENTUM] == 0;
  frt_sgd a = {
    .t = update_tensors(s, in, out),
    .gscale = (float)v[SGD_GSCALE],
    .decay = (float)v[SGD_WEIGHT_DECAY],
    .momentum = first ? 0 : (float)v[SGD_MOMENTUM],
    .fresh = first ? 1 : (float)(1 - v[SGD_DAMPENING]),
    .lr = (float)v[LR],
    .look = (float)v[SGD_MOMENTUM],
    .ahead = s->attr[FRT_SGD_NESTEROV] != 0,
  };
  frt__kernels()->sgd(&a);
  return FRT_OK;
}

FRT_KERNEL(sgd_step) = {
  .name = "own",
  .can = update_can,
  .ready = update_ready,
  .run = run_sgd_step,
  .free = update_free,
};

// Moving averages of all parameters and statistics in one pass.
static frt_status run_ema_step(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  (void)scratch;
  double decay = update_scalar(s, in, 0);
  frt_ema a = {
    .t = update_tensors(s, in, out),
    .from_x = decay <= 0.5,
    .share = (float)(decay > 0.5 ? 1 - decay : decay),
  };
  frt__kernels()->ema(&a);
  return FRT_OK;
}

FRT_KERNEL(ema_step) = {
  .name = "own",
  .can = update_can,
  .ready = update_ready,
  .run = run_ema_step,
  .free = update_free,
};

// The length of all gradients as one vector, added up in double.
static bool can_grad_norm(const frt_step *s)
{
  for (int32_t k = 0; k < s->n_in; k++) {
    if (s->in[k] == NULL || s->in[k]->shape.dtype != FRT_F32) {
      return false;
    }
  }
  return s->n_in > 0;
}
static frt_status plan_grad_norm(frt_step *s)
{
  int64_t *numel = frt__alloc(sizeof *numel * (size_t)s->n_in);
  FRT_CHECK(numel != NULL, FRT_ENOMEM, "out of memory: grad_norm");
  for (int32_t k = 0; k < s->n_in; k++) {
    numel[k] = frt__numel(&s->in[k]->shape);
  }
  s->state = numel;
  s->scratch = frt__kernels()->norm_scratch(s->n_in, numel);
  return FRT_OK;
}
static frt_status run_grad_norm(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  *(float *)out[0] =
    (float)frt__kernels()->norm(s->n_in, (const float *const *)in, s->state, scratch);
  return FRT_OK;
}
static void drop(frt_step *s)
{
  frt__free(s->state);
  s->state = NULL;
}

FRT_KERNEL(grad_norm) = {
  .name = "own",
  .any_layout = true,
  .can = can_grad_norm,
  .plan = plan_grad_norm,
  .run = run_grad_norm,
  .free = drop,
};
