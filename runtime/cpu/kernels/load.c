// load.c -- rows of a map as their reader wants them (load.h), into a tile of the reader's own.
#include "cpu/kernels/load.h"

enum { AS_IT_LIES = -1 }; // in place of an activation: no batch norm either

FRT_INLINE vf value(const int act, const bool gated, const frt_load *l, const float *x,
                    const float *gate, int64_t j, int64_t lanes)
{
  vf v = load_lanes(x + j, lanes);
  if (act != AS_IT_LIES) {
    v = load_value(act, v, load_norm_at(l, j, lanes));
  }
  if (gated) {
    v *= load_lanes(gate + j, lanes);
  }
  return v;
}
FRT_INLINE void load_rows(const int act, const bool gated, const frt_load *l, const float *x,
                          int64_t row, int64_t rows, int64_t c, float *y)
{
  int64_t full = c / FRT_VL * FRT_VL, last = row + rows;
  for (; row < last; row++, x += c, y += c) {
    const float *gate = gated ? l->gate + row / l->map * c : NULL;
    for (int64_t j = 0; j < full; j += FRT_VL) {
      v_store(y + j, value(act, gated, l, x, gate, j, FRT_VL));
    }
    if (full < c) {
      v_store_n(y + full, value(act, gated, l, x, gate, full, c - full), c - full);
    }
  }
}
FRT_INLINE void load_any(const int act, const frt_load *l, const float *x, int64_t row,
                         int64_t rows, int64_t c, float *y)
{
  if (l->gate) {
    load_rows(act, true, l, x, row, rows, c, y);
  } else {
    load_rows(act, false, l, x, row, rows, c, y);
  }
}

void FRT_K(load_rows)(const frt_load *l, const float *x, int64_t row, int64_t rows, int64_t c,
                      float *y)
{
  if (!l->mean) {
    load_any(AS_IT_LIES, l, x, row, rows, c, y);
    return;
  }
  FRT_BY_ACT(l->act, load_any, l, x, row, rows, c, y)
}
