// load.c -- rows of a map as their reader wants them (load.h), into a tile of the reader's own.
#include "cpu/norm/load_simd.h"

enum { AS_IT_LIES = -1 }; // in place of an activation: no batch norm either

FRT_INLINE vf value(const int act, const bool half, const bool gated, const frt_load *l,
                    const void *x, const float *gate, int64_t j, int64_t lanes)
{
  vf v = v_some(half, x, j, lanes);
  if (act != AS_IT_LIES) {
    v = load_value(act, v, load_norm_at(l, j, lanes));
  }
  if (gated) {
    v *= load_lanes(gate + j, lanes);
  }
  return v;
}
FRT_INLINE void load_rows(const int act, const bool half, const bool gated, const frt_load *l,
                          const void *x, int64_t row, int64_t rows, int64_t c, void *y)
{
  int64_t full = c / FRT_VL * FRT_VL, last = row + rows;
  for (; row < last; row++, x = v_at(half, x, c), y = v_at_out(half, y, c)) {
    const float *gate = gated ? l->gate + row / l->map * c : NULL;
    for (int64_t j = 0; j < full; j += FRT_VL) {
      v_put(half, y, j, value(act, half, gated, l, x, gate, j, FRT_VL));
    }
    if (full < c) {
      v_put_n(half, y, full, value(act, half, gated, l, x, gate, full, c - full), c - full);
    }
  }
}
FRT_INLINE void load_any(const int act, const bool half, const frt_load *l, const void *x,
                         int64_t row, int64_t rows, int64_t c, void *y)
{
  if (l->gate) {
    load_rows(act, half, true, l, x, row, rows, c, y);
  } else {
    load_rows(act, half, false, l, x, row, rows, c, y);
  }
}
FRT_INLINE void load_as(const bool half, const frt_load *l, const void *x, int64_t row,
                        int64_t rows, int64_t c, void *y)
{
  if (!l->mean) {
    load_any(AS_IT_LIES, half, l, x, row, rows, c, y);
    return;
  }
  FRT_BY_ACT(l->act, load_any, half, l, x, row, rows, c, y);
}

// y = rows `row` .. of a map at x as `l` says, on the calling thread; x and y begin at `row`, and
// both are stored as bf16 where `half`.
FRT_SIMD void FRT_K(load_rows)(const frt_load *l, bool half, const void *x, int64_t row,
                               int64_t rows, int64_t c, void *y)
{
  FRT_BY_HALF(half, load_as, l, x, row, rows, c, y);
}
