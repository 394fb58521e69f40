// bias_act.c -- what follows a matrix product: bias and activation over rows, in place, on the
// calling thread, while the rows are still in its cache.
#include "cpu/chain/act_simd.h"
#include "cpu/chain/vmath_simd.h"

FRT_INLINE void apply(const int act, float *y, int64_t rows, int64_t c, const float *bias)
{
  const int64_t whole = c / FRT_VL * FRT_VL, rest = c - whole;
  for (int64_t r = 0; r < rows; r++, y += c) {
    for (int64_t k = 0; k < whole; k += FRT_VL) {
      vf x = v_load(y + k);
      if (bias) {
        x += v_load(bias + k);
      }
      v_store(y + k, v_any_act(act, x));
    }
    if (rest > 0) {
      vf x = v_load_n(y + whole, rest);
      if (bias) {
        x += v_load_n(bias + whole, rest);
      }
      v_store_n(y + whole, v_any_act(act, x), rest);
    }
  }
}

// y[rows, c] = act(y + bias), any frt_act, on the calling thread; bias may be NULL.
FRT_SIMD void FRT_K(bias_act)(float *y, int64_t rows, int64_t c, const float *bias, int32_t act)
{
  FRT_BY_ANY_ACT(act, apply, y, rows, c, bias);
}
