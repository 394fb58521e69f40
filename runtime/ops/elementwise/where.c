/// where -- a where the condition is not zero, else b; element-wise with broadcasting.
///
/// in    cond  f32 or f64 [any]
/// in    a, b  dtype of cond, shapes that broadcast with it
/// out   y     the broadcast shape
/// grad  da    dy where cond is not zero, else 0
/// grad  db    dy where cond is zero, else 0; both summed over what was broadcast
/// errs  FRT_ESHAPE when dtypes differ or shapes do not broadcast
#include "ops/elementwise/elementwise.h"

static const frt_case cases_where[] = {
  {"maps of one shape",    3, {{2, 3, 5}, {2, 3, 5}, {2, 3, 5}}, "bnn", 0, {0}},
  {"condition per row",    3, {{5, 1}, {5, 7}, {7}},             "bnn", 0, {0}},
  {"numbers under a mask", 3, {{3, 4}, {0}, {0}},                "bnn", 0, {0}},
};

static frt_status infer_where(const frt_infer *c)
{
  return frt__infer_float("where", c);
}

static frt_status forward_where(const frt_call *c)
{
  const real *cond = FRT_IN(real, 0), *a = FRT_IN(real, 1), *b = FRT_IN(real, 2);
  real *y = FRT_OUT(real, 0);
  frt_walk w;
  frt__walk_start(&w, c);
  for (int64_t i = 0; i < w.n; i++) {
    bool first = cond[frt__walk_at(&w, 0, i)] != 0;
    y[i] = first ? a[frt__walk_at(&w, 1, i)] : b[frt__walk_at(&w, 2, i)];
  }
  return FRT_OK;
}

static frt_status grad(const frt_grad_call *c)
{
  frt_ref zero, t;
  FRT_TRY(frt__gs(0, c->dy[0], &zero));
  if (c->need[0]) {
    c->dx[0] = 0; // a mask has no slope
  }
  if (c->need[1]) {
    FRT_TRY(frt__g3(&frt_op_where, c->x[0], c->dy[0], zero, &t));
    FRT_TRY(frt__g_unbroadcast(t, c->xs[1], &c->dx[1]));
  }
  if (c->need[2]) {
    FRT_TRY(frt__g3(&frt_op_where, c->x[0], zero, c->dy[0], &t));
    FRT_TRY(frt__g_unbroadcast(t, c->xs[2], &c->dx[2]));
  }
  return FRT_OK;
}

FRT_OP(where) = {
  FRT_ELEMENTWISE_FIELDS(where, 3, "a where the condition is not zero, else b"),
  .flags = FRT_ELEMENTWISE,
  .grad = grad,
};
