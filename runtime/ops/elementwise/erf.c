/// erf -- the error function, element-wise.
///
///     y = 2 / sqrt(pi) * integral from 0 to x of exp(-t^2) dt
///
/// in    x   f32 or f64 [any]
/// out   y   shape of x
/// grad  dx  dy * 2 / sqrt(pi) * exp(-x^2)
#include "ops/elementwise/elementwise.h"

FRT_UNARY(erf, "n", erf(x))

static frt_status grad(const frt_grad_call *c)
{
  frt_ref t;
  FRT_TRY(frt__g2(&frt_op_mul, c->x[0], c->x[0], &t));
  FRT_TRY(frt__g1(&frt_op_neg, t, &t));
  FRT_TRY(frt__g1(&frt_op_exp, t, &t));
  FRT_TRY(frt__g_scale(t, 1.12837916709551257390, &t));
  return frt__g2(&frt_op_mul, c->dy[0], t, &c->dx[0]);
}

FRT_OP(erf) = {
  FRT_ELEMENTWISE_FIELDS(erf, 1, "the error function"),
  .flags = FRT_ELEMENTWISE,
  .grad = grad,
};
