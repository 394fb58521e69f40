// bf16.c -- numbers from f32 to bf16 (the nearest, ties to even) and back (exactly).
#include "cpu/vec.h"

// n numbers from f32 to bf16 or back, on the calling thread.
FRT_SIMD void FRT_K(to_bf16)(const float *x, int64_t n, uint16_t *y)
{
#if FRT_BF16
  int64_t i = 0;
  for (; i + FRT_VL <= n; i += FRT_VL) {
    v_put(true, y, i, v_load(x + i));
  }
  if (i < n) {
    v_put_n(true, y, i, v_load_n(x + i, n - i), n - i);
  }
#else
  (void)x, (void)n, (void)y;
#endif
}
FRT_SIMD void FRT_K(from_bf16)(const uint16_t *x, int64_t n, float *y)
{
#if FRT_BF16
  int64_t i = 0;
  for (; i + FRT_VL <= n; i += FRT_VL) {
    v_store(y + i, v_get(true, x, i));
  }
  if (i < n) {
    v_store_n(y + i, v_get_n(true, x, i, n - i), n - i);
  }
#else
  (void)x, (void)n, (void)y;
#endif
}
