// op.c -- the table of ops as Lua sees it, and what shape inference and the references share.
#define FRT_NO_OP_LIST
#include "ir/op.h"

int32_t frt_op_count(void)
{
  return frt_op_table_len;
}

void frt_op_at(int32_t i, frt_op_info *out)
{
  const frt_op *op = frt_op_table[i];
  *out = (frt_op_info){
    .name = op->name,
    .doc = op->doc,
    .n_in = op->n_in,
    .n_out = op->n_out,
    .n_attr = op->n_attr,
    .n_case = op->n_case,
    .flags = op->flags,
    .update_first = op->update.first,
    .update_in = op->update.in,
    .attr = op->attr,
    .cases = op->cases,
  };
}

// --- checks of what is recorded ----------------------------------------------------------------
frt_status frt__check_attrs(const frt_op *op, int32_t n_attr, const double *attr)
{
  int32_t at = 0;
  for (int32_t i = 0; i < op->n_attr; i++) {
    const frt_attr *a = &op->attr[i];
    for (int32_t k = 0; k < FRT_MAX(a->n, 1); k++, at++) {
      FRT_CHECK(at < n_attr, FRT_EARG, "%s: attribute '%s' is missing", op->name, a->name);
      FRT_CHECK(attr[at] >= a->min && attr[at] <= a->max, FRT_EARG,
                "%s: '%s' must be in [%g, %g], got %g", op->name, a->name, a->min, a->max,
                attr[at]);
    }
  }
  FRT_CHECK(at == n_attr, FRT_EARG, "%s: takes %d attributes, got %d", op->name, at, n_attr);
  return FRT_OK;
}

frt_status frt__check_size(const char *what, const frt_shape *s)
{
  double total = 1;
  for (int32_t d = 0; d < s->ndim; d++) {
    total *= (double)s->dim[d];
  }
  FRT_CHECK(total < 1e15, FRT_ENOMEM, "out of memory: %s: a tensor of shape %s", what,
            frt__shape_text(s));
  return FRT_OK;
}

frt_status frt__infer_broadcast(const char *op, const frt_infer *c)
{
  frt_shape y = *c->x[0];
  for (int32_t k = 1; k < c->n_in; k++) {
    const frt_shape *x = c->x[k];
    FRT_CHECK(x->dtype == y.dtype, FRT_ESHAPE, "%s: input %d must be %s like the first, got %s", op,
              k + 1, frt__dtype_name(y.dtype), frt__dtype_name(x->dtype));
    frt_shape wide = x->ndim > y.ndim ? *x : y;
    const frt_shape *narrow = x->ndim > y.ndim ? &y : x;
    for (int32_t d = 0; d < narrow->ndim; d++) {
      int64_t *a = &wide.dim[wide.ndim - narrow->ndim + d], b = narrow->dim[d];
      FRT_CHECK(*a == b || *a == 1 || b == 1, FRT_ESHAPE,
                "%s: input %d must broadcast with %s, got %s", op, k + 1, frt__shape_text(&y),
                frt__shape_text(x));
      *a = *a == 1 ? b : *a;
    }
    y = wide;
  }
  c->y[0] = y;
  return FRT_OK;
}

// True when dimension `outer` steps as if it continued dimension `inner`, for every operand.
static bool continues(const frt_walk *w, int32_t n_in, int32_t outer, int32_t inner)
{
  for (int32_t k = 0; k < n_in; k++) {
    if (w->step[k][outer] != w->step[k][inner] * w->dim[inner]) {
      return false;
    }
  }
  return true;
}

void frt__walk_start(frt_walk *w, const frt_call *c)
{
  const frt_shape *y = c->ys[0];
  int32_t n_in = FRT_MIN(c->n_in, FRT_COUNT(w->step));
  frt_walk full = {.ndim = y->ndim};
  for (int32_t k = 0; k < n_in; k++) {
    const frt_shape *x = c->xs[k];
    int64_t step = 1;
    for (int32_t d = x->ndim - 1; d >= 0; d--) {
      full.step[k][y->ndim - x->ndim + d] = x->dim[d] == 1 ? 0 : step;
      step *= x->dim[d];
    }
  }
  memcpy(full.dim, y->dim, sizeof full.dim);
  // Dimensions that every operand walks through without a jump become one.
  *w = (frt_walk){.n = frt__numel(y)};
  int32_t before = 0; // the last dimension that counts: those of size 1 have no steps to compare
  for (int32_t d = 0; d < full.ndim; d++) {
    int32_t at = w->ndim;
    if (full.dim[d] == 1) {
      continue;
    }
    if (at > 0 && continues(&full, n_in, before, d)) {
      at--;
      w->dim[at] *= full.dim[d];
    } else {
      w->dim[at] = full.dim[d];
      w->ndim++;
    }
    for (int32_t k = 0; k < n_in; k++) {
      w->step[k][at] = full.step[k][d];
    }
    before = d;
  }
}
