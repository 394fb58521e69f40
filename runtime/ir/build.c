// build.c -- recording from C: what the grad() functions of ops are written with.
#include "ir/graph.h"

const frt_builder *frt__builder;

static frt_status defaults(const frt_op *op, double *attr)
{
  int32_t at = 0;
  for (int32_t i = 0; i < op->n_attr; i++) {
    for (int32_t k = 0; k < FRT_MAX(op->attr[i].n, 1); k++) {
      FRT_CHECK(at < FRT_MAX_ATTR, FRT_EARG, "%s: too many attributes", op->name);
      attr[at++] = op->attr[i].dflt;
    }
  }
  return FRT_OK;
}

static frt_status simple(const frt_op *op, int32_t n, const frt_ref *in, frt_ref *out)
{
  double attr[FRT_MAX_ATTR];
  FRT_TRY(defaults(op, attr));
  return frt__node(op, n, in, attr, 1, out);
}

frt_status frt__g1(const frt_op *op, frt_ref a, frt_ref *out)
{
  return simple(op, 1, &a, out);
}

frt_status frt__g2(const frt_op *op, frt_ref a, frt_ref b, frt_ref *out)
{
  return simple(op, 2, (frt_ref[]){a, b}, out);
}

frt_status frt__g3(const frt_op *op, frt_ref a, frt_ref b, frt_ref c, frt_ref *out)
{
  return simple(op, 3, (frt_ref[]){a, b, c}, out);
}

frt_status frt__gs(double value, frt_ref like, frt_ref *out)
{
  const int32_t dtype = frt__ref_shape(like)->dtype;
  return frt__builder ? frt__builder->scalar(frt__builder->self, value, dtype, out)
                      : frt_scalar(value, dtype, out);
}

frt_status frt__g_scale(frt_ref a, double factor, frt_ref *out)
{
  frt_ref s;
  FRT_TRY(frt__gs(factor, a, &s));
  return frt__g2(&frt_op_mul, a, s, out);
}

frt_status frt__g_reshape(frt_ref a, const frt_shape *to, frt_ref *out)
{
  if (frt__shape_equal(frt__ref_shape(a), to)) {
    *out = a;
    return FRT_OK;
  }
  double attr[1 + FRT_MAX_DIM] = {to->ndim};
  for (int32_t i = 0; i < FRT_MAX_DIM; i++) {
    attr[1 + i] = i < to->ndim ? (double)to->dim[i] : 1;
  }
  return frt__node(&frt_op_reshape, 1, &a, attr, 1, out);
}

frt_status frt__g_unbroadcast(frt_ref g, const frt_shape *to, frt_ref *out)
{
  const frt_shape from = *frt__ref_shape(g);
  if (frt__shape_equal(&from, to)) {
    *out = g;
    return FRT_OK;
  }
  int32_t mask = 0, lead = from.ndim - to->ndim;
  for (int32_t d = 0; d < from.ndim; d++) {
    if (d < lead || (to->dim[d - lead] == 1 && from.dim[d] != 1)) {
      mask |= 1 << d;
    }
  }
  frt_ref sum = g;
  if (mask) {
    FRT_TRY(frt__node(&frt_op_sum, 1, &g, (double[]){mask, 1}, 1, &sum));
  }
  return frt__g_reshape(sum, to, out);
}
