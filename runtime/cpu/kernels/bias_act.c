// bias_act.c -- what follows a matrix product: bias and activation over rows, in place, on the
// calling thread, while the rows are still in its cache.
#include "cpu/kernels/act.h"
#include "cpu/kernels/vmath.h"

FRT_INLINE vf after(const int act, vf x)
{
  switch (act) {
  case FRT_ACT_SIGMOID:
    return v_sigmoid_fast(x);
  case FRT_ACT_GELU:
    return x * 0.5f * (v_erf(x * 0.70710678f) + 1.0f);
  default:
    return v_act(act, x);
  }
}

FRT_INLINE void apply(const int act, float *y, int64_t rows, int64_t c, const float *bias)
{
  const int64_t whole = c / FRT_VL * FRT_VL, rest = c - whole;
  for (int64_t r = 0; r < rows; r++, y += c) {
    for (int64_t k = 0; k < whole; k += FRT_VL) {
      vf x = v_load(y + k);
      if (bias) {
        x += v_load(bias + k);
      }
      v_store(y + k, after(act, x));
    }
    if (rest > 0) {
      vf x = v_load_n(y + whole, rest);
      if (bias) {
        x += v_load_n(bias + whole, rest);
      }
      v_store_n(y + whole, after(act, x), rest);
    }
  }
}

void FRT_K(bias_act)(float *y, int64_t rows, int64_t c, const float *bias, int32_t act)
{
  switch (act) {
  case FRT_ACT_SILU:
    apply(FRT_ACT_SILU, y, rows, c, bias);
    break;
  case FRT_ACT_RELU:
    apply(FRT_ACT_RELU, y, rows, c, bias);
    break;
  case FRT_ACT_RELU6:
    apply(FRT_ACT_RELU6, y, rows, c, bias);
    break;
  case FRT_ACT_SIGMOID:
    apply(FRT_ACT_SIGMOID, y, rows, c, bias);
    break;
  case FRT_ACT_GELU:
    apply(FRT_ACT_GELU, y, rows, c, bias);
    break;
  default:
    apply(FRT_ACT_NONE, y, rows, c, bias);
  }
}
