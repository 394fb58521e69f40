/// detach -- the same numbers, through which no gradient flows.
///
/// in    x   f32 or f64 [any]
/// out   y   shape of x
/// grad  none: what it came from counts as a constant
#include "ir/op.h"

static const frt_case cases[] = {
  {"map",    1, {{2, 3, 4, 5}}, "n", 0, {0}},
  {"scalar", 1, {{0}},          "n", 0, {0}},
};

static frt_status infer(const frt_infer *c)
{
  return frt__infer_same(c);
}

static frt_status forward(const frt_call *c)
{
  memcpy(c->y[0], c->x[0], frt__bytes(c->xs[0]));
  return FRT_OK;
}

FRT_OP(detach) = {
  .name = "detach",
  .doc = "the same numbers, through which no gradient flows",
  .n_in = 1,
  .n_out = 1,
  .flags = FRT_NO_GRAD,
  .cases = cases,
  .n_case = FRT_COUNT(cases),
  .infer = infer,
  .forward = forward,
};
