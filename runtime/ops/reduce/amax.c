/// amax -- the largest of numbers; NaN when one is.
///
/// in    x        f32 or f64 [any]
/// out   y        x's shape without the reduced dimensions, or with 1 in their place
/// attr  mask     bit d: reduce dimension d; default: all
/// attr  keepdim  1: reduced dimensions stay, of size 1
/// grad  dx       dy over all that equal y, in equal shares
#include "ops/reduce/reduce.h"

FRT_REDUCE_ATTR_TABLE;
FRT_REDUCE_CASES("n");
FRT_REDUCE(amax, -INFINITY, sum = x > sum || x != x ? x : sum, sum)

static frt_status grad(const frt_grad_call *c)
{
  return frt__g_extreme(c);
}

FRT_OP(amax) = {
  FRT_REDUCE_FIELDS(amax, "the largest of numbers"),
};
