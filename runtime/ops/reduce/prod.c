/// prod -- the product of numbers.
///
/// in    x        f32 or f64 [any]
/// out   y        x's shape without the reduced dimensions, or with 1 in their place
/// attr  mask     bit d: reduce dimension d; default: all
/// attr  keepdim  1: reduced dimensions stay, of size 1
/// grad  dx       dy * product of the others; right with zeros among them
#include "ops/reduce/reduce.h"

FRT_REDUCE_ATTR_TABLE;
FRT_REDUCE_CASES("p");
FRT_REDUCE(prod, 1, sum *= x, sum)

static frt_status grad(const frt_grad_call *c)
{
  // p: product of what is not zero; zeros: how many are; z: 1 where x is. The others' product is p
  // / x where there is no zero, p at the only zero, and 0 elsewhere: (p / x or p) * (zeros == z).
  uint32_t mask = (uint32_t)c->attr[FRT_REDUCE_MASK];
  double keep[FRT_REDUCE_ATTRS] = {mask, 1};
  frt_ref zero, one, z, zeros, safe, p, dy;
  FRT_TRY(frt__gs(0, c->x[0], &zero));
  FRT_TRY(frt__gs(1, c->x[0], &one));
  FRT_TRY(frt__g2(&frt_op_eq, c->x[0], zero, &z));
  FRT_TRY(frt__g_sum(z, mask, true, &zeros));
  FRT_TRY(frt__g3(&frt_op_where, z, one, c->x[0], &safe));
  FRT_TRY(frt__node(&frt_op_prod, 1, &safe, keep, 1, &p));
  FRT_TRY(frt__g2(&frt_op_div, p, safe, &p));
  FRT_TRY(frt__g2(&frt_op_eq, zeros, z, &zeros));
  FRT_TRY(frt__g_keepdim(c->dy[0], c, &dy));
  FRT_TRY(frt__g2(&frt_op_mul, p, zeros, &p));
  return frt__g2(&frt_op_mul, p, dy, &c->dx[0]);
}

FRT_OP(prod) = {
  FRT_REDUCE_FIELDS(prod, "the product of numbers"),
};
