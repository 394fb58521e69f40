// load.h -- maps that are computed as they are read: act((x - mean) * rstd * w + b), times a gate.
#pragma once
#include "cpu/chain/act_simd.h"

// A vector of which only `lanes` may exist, at the end of a row.
FRT_INLINE vf load_lanes(const float *x, int64_t lanes)
{
  return v_some(false, x, 0, lanes);
}

// The numbers of one vector of channels from `c` on.
typedef struct load_norm {
  vf mean, scale, shift;
} load_norm;

FRT_INLINE load_norm load_norm_at(const frt_load *l, int64_t c, int64_t lanes)
{
  return (load_norm){load_lanes(l->mean + c, lanes),
                     load_lanes(l->rstd + c, lanes) * load_lanes(l->w + c, lanes),
                     load_lanes(l->b + c, lanes)};
}
// The same bits as bn_apply's.
FRT_INLINE vf load_value(const int act, vf x, load_norm n)
{
  return v_act(act, v_fma(x - n.mean, n.scale, n.shift));
}

// sum[c] += over rows of x (computed), or of x * y.
FRT_INLINE void load_sum(const int act, const bool bf16, const bool product, const frt_load *l,
                         const void *x, const void *y, int64_t rows, int64_t c, float *sum)
{
  for (int64_t r = 0; r < rows; r += 4) {
    int64_t n = FRT_MIN(4, rows - r);
    for (int64_t j = 0; j < c; j += FRT_VL) {
      int64_t lanes = c - j;
      load_norm k = load_norm_at(l, j, lanes);
      vf s = load_lanes(sum + j, lanes);
      for (int64_t i = 0; i < n; i++) {
        int64_t at = (r + i) * c + j;
        v_ask(bf16, x, at + 4 * c);
        vf v = load_value(act, v_some(bf16, x, at, lanes), k);
        if (product) {
          v *= v_some(bf16, y, at, lanes);
        }
        s += v;
      }
      v_put_some(false, sum, j, s, lanes);
    }
  }
}
