/// sum -- the sum of numbers, in double.
///
/// in    x        f32 or f64 [any]
/// out   y        x's shape without the reduced dimensions, or with 1 in their place
/// attr  mask     bit d: reduce dimension d; default: all
/// attr  keepdim  1: reduced dimensions stay, of size 1
/// grad  dx       dy, repeated
#include "ops/reduce/reduce.h"

FRT_REDUCE_ATTR_TABLE;
FRT_REDUCE_CASES("n");
FRT_REDUCE(sum, 0, sum += x, sum)

static frt_status grad(const frt_grad_call *c)
{
  frt_ref t;
  FRT_TRY(frt__g_keepdim(c->dy[0], c, &t));
  return frt__g_expand(t, c->xs[0], &c->dx[0]);
}

FRT_OP(sum) = {
  FRT_REDUCE_FIELDS(sum, "the sum of numbers"),
};
