// index.h -- what the ops that read or write by i32 indices share: attributes, checks, and how the
// two directions are each other's gradients. The adders have one attribute more than the pickers.
#pragma once
#include "ops/shape/shape.h"

enum { FRT_INDEX_DIM, FRT_INDEX_BASE, FRT_INDEX_SIZE, FRT_INDEX_SIZED };
enum { FRT_ONE_HOT_CLASSES, FRT_ONE_HOT_BASE };
// clang-format off
#define FRT_INDEX_ATTRS                                                                            \
  {"dim", 1, 0, 0, FRT_MAX_DIM - 1, "the dimension"},                                              \
  {"base", 1, 0, 0, 1, "what the first index is called"}
#define FRT_INDEX_SIZED_ATTRS                                                                      \
  FRT_INDEX_ATTRS,                                                                                 \
  {"size", 1, 1, 1, FRT_MAX_SIZE, "size of the result in that dimension"}
// clang-format on

static inline frt_status frt__index_check(const char *op, const frt_shape *x, const frt_shape *idx,
                                          const double *attr)
{
  FRT_TRY(frt__check_dim(op, attr[FRT_INDEX_DIM], x));
  return frt__check_index(op, idx);
}

// The adders: y is src with another size in the dimension.
static inline frt_status frt__index_added(const char *op, const frt_infer *c)
{
  FRT_TRY(frt__index_check(op, c->x[1], c->x[0], c->attr));
  FRT_TRY(frt__check_float(op, "src", c->x[1]));
  c->y[0] = *c->x[1];
  c->y[0].dim[(int32_t)c->attr[FRT_INDEX_DIM]] = (int64_t)c->attr[FRT_INDEX_SIZE];
  return FRT_OK;
}

// dx of a picker x, idx -> y by the adder that undoes it, and the other way round.
static inline frt_status frt__index_grad_add(const frt_op *adder, const frt_grad_call *c)
{
  frt_ref in[2] = {c->x[1], c->dy[0]};
  double attr[FRT_INDEX_SIZED] = {c->attr[FRT_INDEX_DIM], c->attr[FRT_INDEX_BASE],
                                  (double)c->xs[0]->dim[(int32_t)c->attr[FRT_INDEX_DIM]]};
  return frt__node(adder, 2, in, attr, 1, &c->dx[0]);
}
static inline frt_status frt__index_grad_pick(const frt_op *picker, const frt_grad_call *c)
{
  frt_ref in[2] = {c->dy[0], c->x[0]};
  return frt__node(picker, 2, in, c->attr, 1, &c->dx[1]);
}
