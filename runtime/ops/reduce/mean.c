/// mean -- the mean of numbers, summed in double.
///
/// in    x        f32 or f64 [any]
/// out   y        x's shape without the reduced dimensions, or with 1 in their place
/// attr  mask     bit d: reduce dimension d; default: all
/// attr  keepdim  1: reduced dimensions stay, of size 1
/// grad  dx       dy / n, repeated
#include "ops/reduce/reduce.h"

FRT_REDUCE_ATTR_TABLE;
FRT_REDUCE_CASES("n");
FRT_REDUCE(mean, 0, sum += x, sum / n)

static frt_status grad(const frt_grad_call *c)
{
  double n = (double)frt__numel(c->xs[0]) / (double)FRT_MAX(frt__numel(c->ys[0]), 1);
  frt_ref t;
  FRT_TRY(frt__g_scale(c->dy[0], 1 / n, &t));
  FRT_TRY(frt__g_keepdim(t, c, &t));
  return frt__g_expand(t, c->xs[0], &c->dx[0]);
}

FRT_OP(mean) = {
  FRT_REDUCE_FIELDS(mean, "the mean of numbers"),
};
