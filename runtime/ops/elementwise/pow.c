/// pow -- a to the power of b, element-wise with broadcasting.
///
/// in    a   f32 or f64 [any]
/// in    b   dtype of a, a shape that broadcasts with a's
/// out   y   the broadcast shape
/// grad  da  dy * b * a^(b - 1); 0 where that is 0 * infinity or a pole: a = 0 and b < 1
/// grad  db  dy * y * log(a); 0 where a <= 0
/// errs  FRT_ESHAPE when dtypes differ or shapes do not broadcast
#include "ops/elementwise/elementwise.h"

static const frt_case cases_pow[] = {
  {"maps of one shape", 2, {{2, 3, 5, 7}, {2, 3, 5, 7}}, "pn", 0, {0}},
  {"one exponent",      2, {{3, 5}, {0}},                "pn", 0, {0}},
  {"one base",          2, {{0}, {7}},                   "pn", 0, {0}},
  {"column and row",    2, {{5, 1}, {7}},                "pn", 0, {0}},
};

FRT_BINARY_FORWARD(pow, pow(a, b))

// `t` where `bad` is 0, else 0.
static frt_status zero_where(frt_ref bad, frt_ref t, frt_ref *out)
{
  frt_ref zero;
  FRT_TRY(frt__gs(0, t, &zero));
  return frt__g3(&frt_op_where, bad, zero, t, out);
}

static frt_status grad_base(const frt_grad_call *c)
{
  frt_ref a = c->x[0], b = c->x[1], zero, one, t, bad;
  FRT_TRY(frt__gs(0, a, &zero));
  FRT_TRY(frt__gs(1, a, &one));
  FRT_TRY(frt__g2(&frt_op_sub, b, one, &t));
  FRT_TRY(frt__g2(&frt_op_pow, a, t, &t));
  FRT_TRY(frt__g2(&frt_op_mul, b, t, &t));
  frt_ref is_zero, is_low;
  FRT_TRY(frt__g2(&frt_op_eq, a, zero, &is_zero));
  FRT_TRY(frt__g2(&frt_op_lt, b, one, &is_low));
  FRT_TRY(frt__g2(&frt_op_mul, is_zero, is_low, &bad));
  FRT_TRY(zero_where(bad, t, &t));
  FRT_TRY(frt__g2(&frt_op_mul, c->dy[0], t, &t));
  return frt__g_unbroadcast(t, c->xs[0], &c->dx[0]);
}

static frt_status grad_exponent(const frt_grad_call *c)
{
  frt_ref a = c->x[0], zero, t, bad;
  FRT_TRY(frt__gs(0, a, &zero));
  FRT_TRY(frt__g1(&frt_op_log, a, &t));
  FRT_TRY(frt__g2(&frt_op_mul, c->y[0], t, &t));
  FRT_TRY(frt__g2(&frt_op_le, a, zero, &bad));
  FRT_TRY(zero_where(bad, t, &t));
  FRT_TRY(frt__g2(&frt_op_mul, c->dy[0], t, &t));
  return frt__g_unbroadcast(t, c->xs[1], &c->dx[1]);
}

static frt_status grad(const frt_grad_call *c)
{
  if (c->need[0]) {
    FRT_TRY(grad_base(c));
  }
  if (c->need[1]) {
    FRT_TRY(grad_exponent(c));
  }
  return FRT_OK;
}

FRT_OP(pow) = {
  FRT_ELEMENTWISE_FIELDS(pow, 2, "a to the power of b"),
  .flags = FRT_ELEMENTWISE,
  .grad = grad,
};
