// read.c -- what a value holds, copied out row-major: results, variables, scalars; computed where
// it is not known yet.
#include <math.h>

#include "plan/plan.h"

#define G frt__graph

// LuaJIT keeps what is no number of its own in the payloads of NaN: one with a payload, from a file
// of anybody's, would be read as nil, a table or a pointer. What is read has the plain one.
static void plain_nan(void *dst, int32_t dtype, size_t bytes)
{
  if (dtype == FRT_F32) {
    float *v = dst;
    for (size_t i = 0; i < bytes / sizeof *v; i++) {
      v[i] = v[i] == v[i] ? v[i] : NAN;
    }
  } else if (dtype == FRT_F64) {
    double *v = dst;
    for (size_t i = 0; i < bytes / sizeof *v; i++) {
      v[i] = v[i] == v[i] ? v[i] : (double)NAN;
    }
  }
}

static frt_status read_link(frt_ref t, frt_link l, void *dst, size_t bytes)
{
  const frt_shape *s = frt__link_shape(l);
  FRT_CHECK(bytes == frt__bytes(s), FRT_ESHAPE, "read: %s %s has %zu bytes, got room for %zu",
            frt__dtype_name(s->dtype), frt__shape_text(s), frt__bytes(s), bytes);
  if (G.node[l.node]->kind == FRT_NODE_OP && !frt__link_has_value(l)) {
    FRT_TRY(frt_realize(1, &t));
    FRT_TRY(frt__link(t, &l)); // an assignment may have been carried out
  }
  const frt_node *n = G.node[l.node];
  if (n->kind == FRT_NODE_SCALAR) {
    frt__put_number(dst, n->shape[0].dtype, n->scalar);
  } else if (n->kind == FRT_NODE_VAR) {
    frt_var *v = &G.var[n->var];
    FRT_CHECK(v->version == n->version, FRT_ESTATE, "read: variable '%s' has changed since",
              v->name ? v->name : "?");
    FRT_CHECK(!v->torn, FRT_ESTATE, "read: variable '%s' was torn by an interrupted write",
              v->name ? v->name : "?");
    FRT_TRY(frt__var_touch(v));
    return frt__var_copy(v, 0, frt__numel(&v->shape), dst, NULL);
  } else {
    return frt__buffer_read(&n->value[l.out], 0, dst, bytes);
  }
  return FRT_OK;
}

frt_status frt_read(frt_ref t, void *dst, size_t bytes)
{
  frt_link l;
  FRT_TRY(frt__link(t, &l));
  const int32_t dtype = frt__link_shape(l)->dtype;
  FRT_TRY(read_link(t, l, dst, bytes));
  plain_nan(dst, dtype, bytes);
  return FRT_OK;
}

frt_status frt_item(frt_ref t, double *out)
{
  frt_shape s;
  FRT_TRY(frt_info(t, &s));
  FRT_CHECK(frt__numel(&s) == 1, FRT_ESHAPE, "item: the tensor must hold one number, got %s",
            frt__shape_text(&s));
  char bytes[8];
  FRT_TRY(frt_read(t, bytes, frt__dtype_size(s.dtype)));
  switch (s.dtype) {
  case FRT_F32: {
    float v;
    memcpy(&v, bytes, 4);
    *out = (double)v;
    break;
  }
  case FRT_F64:
    memcpy(out, bytes, 8);
    break;
  case FRT_I32: {
    int32_t v;
    memcpy(&v, bytes, 4);
    *out = v;
    break;
  }
  case FRT_U8:
    *out = (uint8_t)bytes[0];
    break;
  default:
    return frt_error_set(FRT_EARG, "item: a %s tensor cannot be read as a number",
                         frt__dtype_name(s.dtype));
  }
  return FRT_OK;
}
