/// fused_bn_stats -- the batch's statistics of a map, and the running ones moved: batch_norm_train
/// without its map.
///
/// in    x             f32 or f64 [N, C, ..]
/// in    running_mean, running_var  dtype of x [C]
/// out   mean, rstd    [C], of this batch
/// out   new_mean, new_var  [C], the running statistics after this batch
/// attr  eps           added to the variance
/// attr  momentum      share of this batch in the running statistics
/// grad  none: the planner makes it behind the gradient
/// errs  FRT_ESHAPE when sizes do not fit
#include "ops/fused/fused.h"

enum { X, RUNNING_MEAN, RUNNING_VAR };
static const frt_attr attrs[] = {
  {"eps",      1, 1e-5, 0, 1, "added to the variance"                        },
  {"momentum", 1, 0.1,  0, 1, "share of this batch in the running statistics"},
};
// clang-format off
static const frt_case cases[] = {
  {"map", 3, {{3, 4, 5, 7}, {4}, {4}}, "nnp", 0, {1e-5, 0.1}},
  {"many channels", 3, {{3, 35, 7, 9}, {35}, {35}}, "nnp", 0, {1e-3, 0.3}},
};
// clang-format on

static frt_status infer(const frt_infer *c)
{
  frt_channels v = {0};
  FRT_TRY(frt__channels("fused_bn_stats", c->x[X], &v));
  FRT_TRY(frt__check_channels("fused_bn_stats", "running_mean", c->x[RUNNING_MEAN], c->x[X]));
  FRT_TRY(frt__check_channels("fused_bn_stats", "running_var", c->x[RUNNING_VAR], c->x[X]));
  for (int32_t k = 0; k < c->n_out; k++) {
    c->y[k] = *c->x[RUNNING_MEAN];
  }
  return FRT_OK;
}

static frt_status expand(const frt_expand *c)
{
  // Weights don't matter: the map they scale is dropped.
  const frt_ref any = c->x[RUNNING_MEAN], in[] = {c->x[X], any, any, any, c->x[RUNNING_VAR]};
  frt_ref out[5];
  FRT_TRY(frt__node(&frt_op_batch_norm_train, 5, in, c->attr, 5, out));
  memcpy(c->y, out + 1, sizeof *out * 4);
  return FRT_OK;
}

FRT_OP(fused_bn_stats) = {
  .name = "fused_bn_stats",
  .doc = "batch statistics of a map",
  .n_in = 3,
  .n_out = 4,
  .flags = FRT_FUSED,
  .attr = attrs,
  .n_attr = FRT_COUNT(attrs),
  .cases = cases,
  .n_case = FRT_COUNT(cases),
  .infer = infer,
  .expand = expand,
};
