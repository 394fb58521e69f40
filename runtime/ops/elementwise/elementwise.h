// elementwise.h -- what the elementwise ops share: shape rules, the loop of a reference, usual
// cases. The expression is evaluated in double, so that a reference errs by its last rounding only.
#pragma once
#include "ir/op.h"

enum { FRT_CAST_DTYPE }; // attributes

// y = broadcast of all inputs, which are f32 or f64.
static inline frt_status frt__infer_float(const char *op, const frt_infer *c)
{
  for (int32_t k = 0; k < c->n_in; k++) {
    FRT_CHECK(frt__is_real(c->x[k]->dtype), FRT_ESHAPE, "%s: input %d must be f32 or f64, got %s",
              op, k + 1, frt__dtype_name(c->x[k]->dtype));
  }
  return frt__infer_broadcast(op, c);
}

static inline frt_status frt__infer_compare(const char *op, const frt_infer *c)
{
  int32_t dtype = c->x[0]->dtype;
  FRT_CHECK(frt__is_real(dtype) || dtype == FRT_I32, FRT_ESHAPE,
            "%s: a must be f32, f64 or i32, got %s", op, frt__dtype_name(dtype));
  FRT_TRY(frt__infer_broadcast(op, c));
  c->y[0].dtype = dtype == FRT_F64 ? FRT_F64 : FRT_F32;
  return FRT_OK;
}

// One number of an array of any dtype an op computes with, for operands of mixed dtypes.
static inline double frt__get(const void *p, int32_t dtype, int64_t i)
{
  return dtype == FRT_F32   ? (double)((const float *)p)[i]
         : dtype == FRT_F64 ? ((const double *)p)[i]
                            : (double)((const int32_t *)p)[i];
}
// Numbers go to i32 toward zero and stop at its ends; what is no number becomes 0.
static inline void frt__put(void *p, int32_t dtype, int64_t i, double value)
{
  if (dtype == FRT_F32) {
    ((float *)p)[i] = (float)value;
  } else if (dtype == FRT_F64) {
    ((double *)p)[i] = value;
  } else {
    double v = isnan(value) ? 0 : fmin(fmax(value, INT32_MIN), INT32_MAX);
    ((int32_t *)p)[i] = (int32_t)v;
  }
}

// --- what an op's file says ---------------------------------------------------------------------
// FRT_UNARY(id, fill, expr) is a function of one number `x`: cases, infer and forward of op `id`;
// `fill` draws its cases' numbers (spec/support/op_case.lua). FRT_BINARY: of two numbers `a` and
// `b` that broadcast; FRT_SLOPE: the same for a gradient's op; FRT_COMPARE: a condition, 1 or 0.
// FRT_ELEMENTWISE_FIELDS(id, ...) then stands in FRT_OP(id).
// clang-format off
#define FRT_UNARY(id, fill, expr)                                                                  \
  static const frt_case cases_##id[] = {                                                           \
    {"vector", 1, {{9}}, fill, 0, {0}},                                                            \
    {"map, odd sizes", 1, {{2, 3, 5, 7}}, fill, 0, {0}},                                           \
    {"more than a tile", 1, {{3, 7, 11, 13}}, fill, 0, {0}},                                       \
    {"scalar", 1, {{0}}, fill, 0, {0}},                                                            \
  };                                                                                               \
  FRT_FLOAT_INFER(id)                                                                              \
  static frt_status forward_##id(const frt_call *c)                                                \
  {                                                                                                \
    const real *px = FRT_IN(real, 0);                                                              \
    real *py = FRT_OUT(real, 0);                                                                   \
    for (int64_t i = 0, n = frt__numel(c->ys[0]); i < n; i++) {                                    \
      double x = (double)px[i];                                                                    \
      py[i] = (real)(expr);                                                                        \
    }                                                                                              \
    return FRT_OK;                                                                                 \
  }
#define FRT_BINARY(id, fill, expr)                                                                 \
  FRT_BINARY_CASES(id, fill)                                                                       \
  FRT_BINARY_FORWARD(id, expr)
#define FRT_SLOPE(id, fill, expr)                                                                  \
  static const frt_case cases_##id[] = {                                                           \
    {"vector", 2, {{9}, {9}}, fill, 0, {0}},                                                       \
    {"map, odd sizes", 2, {{2, 3, 5, 7}, {2, 3, 5, 7}}, fill, 0, {0}},                             \
  };                                                                                               \
  FRT_BINARY_FORWARD(id, expr)
#define FRT_BINARY_CASES(id, fill)                                                                 \
  static const frt_case cases_##id[] = {                                                           \
    {"maps of one shape", 2, {{2, 3, 5, 7}, {2, 3, 5, 7}}, fill, 0, {0}},                          \
    {"a channel's number over a map", 2, {{2, 3, 4, 5}, {1, 3, 1, 1}}, fill, 0, {0}},              \
    {"column and row", 2, {{5, 1}, {7}}, fill, 0, {0}},                                            \
    {"a scalar before a matrix", 2, {{0}, {3, 4}}, fill, 0, {0}},                                  \
    {"a number per channel of large maps", 2, {{2, 19, 9, 11}, {2, 19, 1, 1}}, fill, 0, {0}},      \
    {"a row under a large matrix", 2, {{67, 43}, {43}}, fill, 0, {0}},                             \
  };
#define FRT_FLOAT_INFER(id)                                                                        \
  static frt_status infer_##id(const frt_infer *c)                                                 \
  {                                                                                                \
    return frt__infer_float(#id, c);                                                               \
  }
#define FRT_BINARY_FORWARD(id, expr)                                                               \
  FRT_FLOAT_INFER(id)                                                                              \
  static frt_status forward_##id(const frt_call *c)                                                \
  {                                                                                                \
    const real *pa = FRT_IN(real, 0), *pb = FRT_IN(real, 1);                                       \
    real *py = FRT_OUT(real, 0);                                                                   \
    frt_walk w;                                                                                    \
    frt__walk_start(&w, c);                                                                        \
    for (int64_t i = 0; i < w.n; i++) {                                                            \
      double a = (double)pa[frt__walk_at(&w, 0, i)], b = (double)pb[frt__walk_at(&w, 1, i)];       \
      py[i] = (real)(expr);                                                                        \
    }                                                                                              \
    return FRT_OK;                                                                                 \
  }
// Numbers of any dtype in; 1 or 0 out, f64 for f64, else f32.
#define FRT_COMPARE(id, fill, expr)                                                                \
  FRT_BINARY_CASES(id, fill)                                                                       \
  static frt_status infer_##id(const frt_infer *c)                                                 \
  {                                                                                                \
    return frt__infer_compare(#id, c);                                                             \
  }                                                                                                \
  static frt_status forward_##id(const frt_call *c)                                                \
  {                                                                                                \
    int32_t dtype = c->xs[0]->dtype;                                                               \
    frt_walk w;                                                                                    \
    frt__walk_start(&w, c);                                                                        \
    for (int64_t i = 0; i < w.n; i++) {                                                            \
      double a = frt__get(c->x[0], dtype, frt__walk_at(&w, 0, i));                                 \
      double b = frt__get(c->x[1], dtype, frt__walk_at(&w, 1, i));                                 \
      frt__put(c->y[0], c->ys[0]->dtype, i, (expr) ? 1.0 : 0.0);                                   \
    }                                                                                              \
    return FRT_OK;                                                                                 \
  }
// clang-format on
#define FRT_ELEMENTWISE_FIELDS(id, n, text)                                                        \
  .name = #id, .doc = text, .n_in = n, .n_out = 1, .cases = cases_##id,                            \
  .n_case = FRT_COUNT(cases_##id), .infer = infer_##id, .forward = forward_##id

#ifndef FRT_NO_OP_LIST
// dy where `more` is the larger, half of it at a tie: (lt + le) / 2 is 0, 1/2 or 1.
static inline frt_status frt__g_share(frt_ref dy, frt_ref less, frt_ref more, frt_ref *out)
{
  frt_ref lt, le;
  FRT_TRY(frt__g2(&frt_op_lt, less, more, &lt));
  FRT_TRY(frt__g2(&frt_op_le, less, more, &le));
  FRT_TRY(frt__g2(&frt_op_add, lt, le, &lt));
  FRT_TRY(frt__g_scale(lt, 0.5, &lt));
  return frt__g2(&frt_op_mul, dy, lt, out);
}
#endif
