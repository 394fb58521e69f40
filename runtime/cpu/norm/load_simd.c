// load.c -- rows of a map as their reader wants them (load.h), into a tile of the reader's own.
#include "cpu/norm/load_simd.h"

enum { AS_IT_LIES = -1 }; // in place of an activation: no batch norm either

FRT_INLINE vf value(const int act, const bool bf16, const bool gated, const frt_load *l,
                    const void *x, const float *gate, int64_t j, int64_t lanes)
{
  vf v = v_some(bf16, x, j, lanes);
  if (act != AS_IT_LIES) {
    v = load_value(act, v, load_norm_at(l, j, lanes));
  }
  if (gated) {
    v *= load_lanes(gate + j, lanes);
  }
  return v;
}
FRT_INLINE void load_rows(const int act, const bool bf16, const bool gated, const frt_load *l,
                          const void *x, int64_t row, int64_t rows, int64_t c, void *y)
{
  int64_t full = c / FRT_VL * FRT_VL, last = row + rows;
  for (; row < last; row++, x = v_at(bf16, x, c), y = v_at_out(bf16, y, c)) {
    const float *gate = gated ? l->gate + row / l->map * c : NULL;
    for (int64_t j = 0; j < full; j += FRT_VL) {
      v_put(bf16, y, j, value(act, bf16, gated, l, x, gate, j, FRT_VL));
    }
    if (full < c) {
      v_put_n(bf16, y, full, value(act, bf16, gated, l, x, gate, full, c - full), c - full);
    }
  }
}
FRT_INLINE void load_any(const int act, const bool bf16, const frt_load *l, const void *x,
                         int64_t row, int64_t rows, int64_t c, void *y)
{
  if (l->gate) {
    load_rows(act, bf16, true, l, x, row, rows, c, y);
  } else {
    load_rows(act, bf16, false, l, x, row, rows, c, y);
  }
}
FRT_INLINE void load_as(const bool bf16, const frt_load *l, const void *x, int64_t row,
                        int64_t rows, int64_t c, void *y)
{
  if (!l->mean) {
    load_any(AS_IT_LIES, bf16, l, x, row, rows, c, y);
    return;
  }
  FRT_BY_ACT(l->act, load_any, bf16, l, x, row, rows, c, y);
}

// y = rows `row` .. of a map at x as `l` says, on the calling thread; x and y begin at `row`, and
// both are stored as bf16 where `bf16`.
FRT_SIMD void FRT_K(load_rows)(const frt_load *l, bool bf16, const void *x, int64_t row,
                               int64_t rows, int64_t c, void *y)
{
  FRT_BY_BF16(bf16, load_as, l, x, row, rows, c, y);
}
