// fused.h -- ops that the planner makes of others, for backends that have a kernel for all of it at
// once: their attributes, and what their expansions share. An op here is judged as any other: by
// its pieces, which expand() records.
#pragma once
#include "ops/conv/conv.h"
#include "ops/fused/places.h"
#include "ops/norm/norm.h"
#include "ops/reduce/reduce.h"

// What is computed as it is read: act((x - mean) * rstd * gamma + beta) * gate. `load` is gamma,
// beta, mean, rstd [C], all or none of them; gate [N, C, 1, 1] may be absent.
static inline const frt_op *frt__act_op(int32_t act)
{
  static const frt_op *const ops[] = {
    [FRT_ACT_SILU] = &frt_op_silu,   [FRT_ACT_RELU] = &frt_op_relu,
    [FRT_ACT_RELU6] = &frt_op_relu6, [FRT_ACT_SIGMOID] = &frt_op_sigmoid,
    [FRT_ACT_GELU] = &frt_op_gelu,
  };
  return act >= 0 && act < FRT_COUNT(ops) ? ops[act] : NULL;
}

static inline frt_status frt__g_act(int32_t act, frt_ref x, frt_ref *y)
{
  const frt_op *op = frt__act_op(act);
  *y = x;
  return op ? frt__g1(op, x, y) : FRT_OK;
}

// dy times act'(x).
static inline frt_status frt__g_act_grad(int32_t act, frt_ref x, frt_ref dy, frt_ref *dx)
{
  frt_ref y, one, t;
  switch (act) {
  case FRT_ACT_SILU:
    return frt__g2(&frt_op_silu_grad, x, dy, dx);
  case FRT_ACT_GELU:
    return frt__g2(&frt_op_gelu_grad, x, dy, dx);
  case FRT_ACT_RELU:
    FRT_TRY(frt__g1(&frt_op_relu, x, &y));
    return frt__g2(&frt_op_relu_grad, y, dy, dx);
  case FRT_ACT_RELU6:
    FRT_TRY(frt__g1(&frt_op_relu6, x, &y));
    return frt__g2(&frt_op_relu6_grad, y, dy, dx);
  case FRT_ACT_SIGMOID: // dy y (1 - y)
    FRT_TRY(frt__g1(&frt_op_sigmoid, x, &y));
    FRT_TRY(frt__gs(1, y, &one));
    FRT_TRY(frt__g2(&frt_op_sub, one, y, &t));
    FRT_TRY(frt__g2(&frt_op_mul, t, y, &t));
    return frt__g2(&frt_op_mul, dy, t, dx);
  default:
    *dx = dy;
    return FRT_OK;
  }
}

// A number per channel, shaped to broadcast with x [N, C, ..].
static inline frt_status frt__g_per_channel(frt_ref v, const frt_shape *x, frt_ref *out)
{
  frt_shape s = {
    .ndim = x->ndim, .dtype = x->dtype, .dim = {1, 1, 1, 1, 1, 1}
  };
  s.dim[1] = x->dim[1];
  return frt__g_reshape(v, &s, out);
}

enum { FRT_LOAD_GAMMA, FRT_LOAD_BETA, FRT_LOAD_MEAN_OF, FRT_LOAD_RSTD, FRT_LOADS };
// (x - mean) * rstd * gamma + beta.
static inline frt_status frt__g_norm(frt_ref x, const frt_ref *load, frt_ref *out)
{
  const frt_shape s = *frt__ref_shape(x);
  frt_ref wide, slope, y;
  FRT_TRY(frt__g_per_channel(load[FRT_LOAD_MEAN_OF], &s, &wide));
  FRT_TRY(frt__g2(&frt_op_sub, x, wide, &y));
  FRT_TRY(frt__g2(&frt_op_mul, load[FRT_LOAD_RSTD], load[FRT_LOAD_GAMMA], &slope));
  FRT_TRY(frt__g_per_channel(slope, &s, &wide));
  FRT_TRY(frt__g2(&frt_op_mul, y, wide, &y));
  FRT_TRY(frt__g_per_channel(load[FRT_LOAD_BETA], &s, &wide));
  return frt__g2(&frt_op_add, y, wide, out);
}

static inline frt_status frt__g_load(frt_ref x, const frt_ref *load, int32_t act, frt_ref gate,
                                     frt_ref *out)
{
  *out = x;
  if (load[FRT_LOAD_GAMMA]) {
    FRT_TRY(frt__g_norm(x, load, out));
    FRT_TRY(frt__g_act(act, *out, out));
  }
  return gate ? frt__g2(&frt_op_mul, *out, gate, out) : FRT_OK;
}

// The shapes of a load: all four vectors or none; the gate.
static inline frt_status frt__check_load(const char *op, const frt_shape *x,
                                         const frt_shape *const *load, const frt_shape *gate)
{
  static const char *const name[] = {"gamma", "beta", "mean", "rstd"};
  for (int32_t k = 0; k < FRT_LOADS; k++) {
    FRT_CHECK(!load[k] == !load[0], FRT_EARG, "%s: gamma, beta, mean and rstd go together", op);
    if (load[k]) {
      FRT_TRY(frt__check_channels(op, name[k], load[k], x));
    }
  }
  FRT_CHECK(!gate || (gate->ndim == 4 && x->ndim == 4 && gate->dim[0] == x->dim[0] &&
                      gate->dim[1] == x->dim[1] && gate->dim[2] == 1 && gate->dim[3] == 1),
            FRT_ESHAPE, "%s: gate must be [N, C, 1, 1] (x is %s), got %s", op, frt__shape_text(x),
            gate ? frt__shape_text(gate) : "");
  return FRT_OK;
}

// dx, dgamma, dbeta of act(bn(x)) whose gradient is dy.
static inline frt_status frt__g_norm_grad(frt_ref x, frt_ref dy, const frt_ref *load, int32_t act,
                                          frt_ref *out)
{
  frt_ref z, dz;
  FRT_TRY(frt__g_norm(x, load, &z));
  FRT_TRY(frt__g_act_grad(act, z, dy, &dz));
  const frt_ref in[] = {x, dz, load[FRT_LOAD_GAMMA], load[FRT_LOAD_MEAN_OF], load[FRT_LOAD_RSTD]};
  return frt__node(&frt_op_batch_norm_grad, 5, in, NULL, 3, out);
}

// x, a map like it, and the four vectors of a load from input 2 on.
static inline frt_status frt__check_norm_grad(const char *op, const frt_infer *c)
{
  frt_channels v = {0};
  FRT_TRY(frt__channels(op, c->x[0], &v));
  FRT_TRY(frt__check_same(op, "dy", c->x[1], c->x[0]));
  FRT_CHECK(c->x[2], FRT_EARG, "%s: gamma is missing", op);
  return frt__check_load(op, c->x[0], c->x + 2, NULL);
}

#define FRT_FUSED_ACT_ATTR(name)                                                                   \
  {                                                                                                \
    name, 1, 0, 0, 5, "0 none, 1 silu, 2 relu, 3 relu6, 4 sigmoid, 5 gelu"                         \
  }
