// cast.c -- numbers in another dtype: f32, f64, i32. To i32 toward zero, stopping at its ends; NaN
// is 0.
#include "cpu/reduce/lanes.h"

static inline int32_t to_i32(double x)
{
  return x != x ? 0 : x >= 2147483647.0 ? INT32_MAX : x <= -2147483648.0 ? INT32_MIN : (int32_t)x;
}

#define CAST(name, from, to, expr)                                                                 \
  static void name(const from *x, to *y, int64_t n)                                                \
  {                                                                                                \
    _Pragma("omp parallel for simd schedule(static) if (n >= FRT_SMALL_LANES)") for (int64_t i =   \
                                                                                       0;          \
                                                                                     i < n; i++)   \
    {                                                                                              \
      y[i] = expr;                                                                                 \
    }                                                                                              \
  }
CAST(f32_f64, float, double, (double)x[i])
CAST(f64_f32, double, float, (float)x[i])
CAST(i32_f32, int32_t, float, (float)x[i])
CAST(i32_f64, int32_t, double, (double)x[i])
CAST(f32_i32, float, int32_t, to_i32((double)x[i]))
CAST(f64_i32, double, int32_t, to_i32(x[i]))

static bool known(int32_t dtype)
{
  return dtype == FRT_F32 || dtype == FRT_F64 || dtype == FRT_I32;
}

static bool can(const frt_step *s)
{
  return known(s->in[0]->shape.dtype) && known(s->out[0]->shape.dtype);
}

static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  (void)scratch;
  const int32_t from = s->in[0]->shape.dtype, to = s->out[0]->shape.dtype;
  const int64_t n = frt__numel(&s->out[0]->shape);
  if (from == to) {
    memcpy(out[0], in[0], frt__bytes(&s->out[0]->shape));
  } else if (from == FRT_F32) {
    to == FRT_F64 ? f32_f64(in[0], out[0], n) : f32_i32(in[0], out[0], n);
  } else if (from == FRT_F64) {
    to == FRT_F32 ? f64_f32(in[0], out[0], n) : f64_i32(in[0], out[0], n);
  } else {
    to == FRT_F32 ? i32_f32(in[0], out[0], n) : i32_f64(in[0], out[0], n);
  }
  return FRT_OK;
}

FRT_KERNEL(cast) = {.name = "own", .any_layout = true, .can = can, .run = run};
