// batch_norm.c -- batch norm, in one step, in halves (statistics; application with activation and
// residual), and its gradients, behind a gate too; NHWC.
#include "cpu/kernels.h"
#include "ops/norm/norm.h"

// What the batch norm kernels' glue shares: which steps the own kernels run, and their sizes.
// x [N, C, H, W] channels-last, or [N, C]; everything f32, maps perhaps stored as bf16.
static bool bn_can(const frt_step *s)
{
  for (int32_t k = 0; k < s->n_in + s->n_out; k++) {
    const frt_value *v = k < s->n_in ? s->in[k] : s->out[k - s->n_in];
    if (v == NULL || v->shape.dtype != FRT_F32) {
      return false;
    }
  }
  const frt_value *x = s->in[0];
  return frt__numel(&x->shape) > 0 &&
         (x->shape.ndim == 2 || (x->shape.ndim == 4 && x->layout == FRT_CHANNELS_LAST));
}
static frt_bn bn_sizes(const frt_step *s, int32_t act)
{
  const frt_shape *x = &s->in[0]->shape;
  return (frt_bn){
    .m = frt__numel(x) / x->dim[1], .c = x->dim[1], .act = act, .bf16 = frt__bf16(s->in[0])};
}
static frt_status bn_plan(frt_step *s)
{
  frt_bn g = bn_sizes(s, FRT_ACT_NONE);
  s->scratch = frt__kernels()->bn_scratch(&g);
  return FRT_OK;
}

// What the glue of the gated batch norm's kernels shares: sizes, and which steps they run.
static frt_bn_gate bn_gate_sizes(const frt_step *s)
{
  const frt_shape *x = &s->in[0]->shape;
  return (frt_bn_gate){.n = x->dim[0],
                       .rows = x->dim[2] * x->dim[3],
                       .c = x->dim[1],
                       .act = (int32_t)s->attr[FRT_FUSED_ACT],
                       .bf16 = frt__bf16(s->in[0])};
}
static bool bn_gate_can(const frt_step *s)
{
  return bn_can(s) && s->in[0]->shape.ndim == 4;
}

// Batch norm with given statistics (evaluation, or frozen), NHWC.
static frt_status plan_batch_norm(frt_step *s)
{
  FRT_TRY(bn_plan(s));
  s->scratch += (size_t)s->in[0]->shape.dim[1] * sizeof(float); // the variances' inverse roots
  return FRT_OK;
}
static frt_status run_batch_norm(const frt_step *s, void *const *in, void *const *out,
                                 void *scratch)
{
  frt_bn g = bn_sizes(s, FRT_ACT_NONE);
  const frt_kernels *k = frt__kernels();
  const float *var = in[4];
  float *rstd = (float *)((char *)scratch + k->bn_scratch(&g));
  for (int64_t c = 0; c < g.c; c++) {
    rstd[c] = (float)(1 / sqrt((double)var[c] + s->attr[FRT_BATCH_NORM_EPS]));
  }
  k->bn_apply(&g, in[0], in[1], in[2], in[3], rstd, NULL, out[0], scratch);
  return FRT_OK;
}

FRT_KERNEL(batch_norm) = {
  .name = "own",
  .channels_last = true,
  .in_place = true,
  .can = bn_can,
  .plan = plan_batch_norm,
  .run = run_batch_norm,
};

// Batch norm with the batch's statistics, NHWC.
static frt_status run_batch_norm_train(const frt_step *s, void *const *in, void *const *out,
                                       void *scratch)
{
  const frt_kernels *k = frt__kernels();
  frt_bn g = bn_sizes(s, FRT_ACT_NONE);
  g.eps = (float)s->attr[FRT_BATCH_NORM_EPS];
  g.momentum = (float)s->attr[FRT_BATCH_NORM_MOMENTUM];
  k->bn_stats(&g, in[0], in[3], in[4], out[1], out[2], out[3], out[4], scratch);
  k->bn_apply(&g, in[0], in[1], in[2], out[1], out[2], NULL, out[0], scratch);
  return FRT_OK;
}

FRT_KERNEL(batch_norm_train) = {
  .name = "own",
  .channels_last = true,
  .can = bn_can,
  .plan = bn_plan,
  .run = run_batch_norm_train,
};

// Gradient of batch norm with the batch's statistics, NHWC.
static frt_status run_batch_norm_grad(const frt_step *s, void *const *in, void *const *out,
                                      void *scratch)
{
  frt_bn g = bn_sizes(s, FRT_ACT_NONE);
  frt__kernels()->bn_grad(&g, in[0], in[1], in[2], NULL, in[3], in[4], out[0], out[1], out[2],
                          scratch);
  return FRT_OK;
}

FRT_KERNEL(batch_norm_grad) = {
  .name = "own",
  .channels_last = true,
  .can = bn_can,
  .plan = bn_plan,
  .run = run_batch_norm_grad,
  .bf16_in = 3,
  .bf16_out = 1,
};

// The batch's statistics of a map, and the running ones moved: the first half of
// batch_norm_train.
static frt_status run_fused_bn_stats(const frt_step *s, void *const *in, void *const *out,
                                     void *scratch)
{
  frt_bn g = bn_sizes(s, FRT_ACT_NONE);
  g.eps = (float)s->attr[FRT_BATCH_NORM_EPS];
  g.momentum = (float)s->attr[FRT_BATCH_NORM_MOMENTUM];
  frt__kernels()->bn_stats(&g, in[0], in[1], in[2], out[0], out[1], out[2], out[3], scratch);
  return FRT_OK;
}

FRT_KERNEL(fused_bn_stats) = {
  .name = "own",
  .channels_last = true,
  .can = bn_can,
  .plan = bn_plan,
  .run = run_fused_bn_stats,
  .bf16_in = 1,
};

// Y = act((x - mean) * rstd * w + b), or act(... + residual): the second half of
// batch_norm_train.
static frt_status run_fused_bn_apply(const frt_step *s, void *const *in, void *const *out,
                                     void *scratch)
{
  frt_bn g = bn_sizes(s, (int32_t)s->attr[FRT_FUSED_ACT]);
  frt__kernels()->bn_apply(&g, in[0], in[1], in[2], in[3], in[4], s->n_in > 5 ? in[5] : NULL,
                           out[0], scratch);
  return FRT_OK;
}

FRT_KERNEL(fused_bn_apply) = {
  .name = "own",
  .channels_last = true,
  .in_place = true, // every vector is read before it is written
  .can = bn_can,
  .plan = bn_plan,
  .run = run_fused_bn_apply,
  .bf16_in = 1 | 1 << 5,
  .bf16_out = 1,
};

// Gradient of batch norm + activation: the activation's input is computed again.
static frt_status run_fused_bn_act_grad(const frt_step *s, void *const *in, void *const *out,
                                        void *scratch)
{
  frt_bn g = bn_sizes(s, (int32_t)s->attr[FRT_FUSED_ACT]);
  frt__kernels()->bn_grad(&g, in[0], in[1], in[2], in[3], in[4], in[5], out[0], out[1], out[2],
                          scratch);
  return FRT_OK;
}

FRT_KERNEL(fused_bn_act_grad) = {
  .name = "own",
  .channels_last = true,
  .can = bn_can,
  .plan = bn_plan,
  .run = run_fused_bn_act_grad,
  .bf16_in = 3,
  .bf16_out = 1,
};

// The gradient of a gate on act(bn(x)), and the sums that batch norm's gradient behind it needs.
static frt_status plan_fused_gate_sums(frt_step *s)
{
  const frt_bn_gate g = bn_gate_sizes(s);
  s->scratch = frt__kernels()->bn_gate_scratch(&g);
  return FRT_OK;
}

static frt_status run_fused_gate_sums(const frt_step *s, void *const *in, void *const *out,
                                      void *scratch)
{
  const frt_bn_gate g = bn_gate_sizes(s);
  frt__kernels()->bn_gate_sums(&g, in[0], in[1], in[2], in[3], in[4], in[5], out[0], out[1],
                               scratch);
  return FRT_OK;
}

FRT_KERNEL(fused_gate_sums) = {
  .name = "own",
  .channels_last = true,
  .can = bn_gate_can,
  .plan = plan_fused_gate_sums,
  .run = run_fused_gate_sums,
  .bf16_in = 3,
};

// Gradient of batch norm + activation whose result is multiplied by a gate and averaged: the
// activation's input and the result's gradient are computed as they are read.
static frt_status plan_fused_bn_gate_grad(frt_step *s)
{
  s->scratch = (size_t)(3 * s->in[0]->shape.dim[1]) * sizeof(float);
  return FRT_OK;
}

static frt_status run_fused_bn_gate_grad(const frt_step *s, void *const *in, void *const *out,
                                         void *scratch)
{
  const frt_bn_gate g = bn_gate_sizes(s);
  frt__kernels()->bn_gate_grad(&g, in[0], in[1], in[2], in[3], in[4], in[5], in[6], in[7], in[8],
                               out[0], out[1], out[2], scratch);
  return FRT_OK;
}

FRT_KERNEL(fused_bn_gate_grad) = {
  .name = "own",
  .channels_last = true,
  .can = bn_gate_can,
  .plan = plan_fused_bn_gate_grad,
  .run = run_fused_bn_gate_grad,
  .bf16_in = 3,
  .bf16_out = 1,
};
