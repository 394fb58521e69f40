// winograd_read.c -- what Winograd's products read: tiles of a map, and of a gradient by one, in
// the domain of the points.
#include "cpu/conv/winograd_simd.h"

// Tiles [first + from, first + to) of a map and where they go; k: tiles of a product.
typedef struct reading {
  const frt_conv_shape *g;
  const frt_load *load;
  const void *x;
  int64_t first, from, to, k;
  void *v;
  int64_t step;
} reading;

// The rows of a tile's numbers of one vector of channels from `j` on, computed as `l` says (loads),
// through the first step.
FRT_INLINE void read_rows(const bool bf16, const int act, const bool loads, const bool bf16_x,
                          const frt_load *l, int64_t j, int64_t lanes, const void *const *from,
                          vf rows[][WINO])
{
  const int side = wino_side(bf16);
  load_norm norm = {v_zero(), v_zero(), v_zero()};
  if (loads) {
    norm = load_norm_at(l, j, lanes);
  }
#pragma GCC unroll 6
  for (int i = 0; i < side; i++) {
    vf d[WINO];
#pragma GCC unroll 6
    for (int k = 0; k < side; k++) {
      const void *at = from[i * side + k];
      vf x = at ? v_some(bf16_x, at, j, lanes) : v_zero();
      d[k] = loads && at ? load_value(act, x, norm) : x;
    }
    wino_read(bf16, d, rows[i]);
  }
}
// Outputs that a map does not have are zero.
FRT_INLINE void read_dy_rows(const bool bf16, const bool bf16_y, const frt_conv_shape *g,
                             const void *dy, wino_place p, int64_t j, vf rows[][WINO])
{
  const int out = wino_out(bf16);
  const int64_t from = ((p.n * g->oh + p.y) * g->ow + p.x) * g->o + j;
#pragma GCC unroll 4
  for (int i = 0; i < out; i++) {
    vf d[WINO_OUT];
#pragma GCC unroll 4
    for (int k = 0; k < out; k++) {
      const bool in = p.y + i < g->oh && p.x + k < g->ow;
      d[k] = in ? v_some(bf16_y, dy, from + (i * g->ow + k) * g->o, g->o - j) : v_zero();
    }
    wino_read_dy(bf16, d, rows[i]);
  }
}

// --- rows of channels ---------------------------------------------------------------------------
FRT_INLINE void read(const int act, const bool bf16, const bool loads, const bool bf16_x,
                     const reading *r)
{
  const int side = wino_side(bf16);
  const wino_map m = wino_tiles(r->g);
  const int64_t c = r->g->c, depth = wino_depth(bf16, c);
  for (int64_t t = 0; t < r->to; t++) {
    const void *from[WINO * WINO];
    wino_window(bf16, bf16_x, r->g, &m, r->x, r->first + t, from);
    for (int64_t j = 0; j < c; j += FRT_VL) {
      vf rows[WINO][WINO];
      read_rows(bf16, act, loads, bf16_x, r->load, j, c - j, from, rows);
#pragma GCC unroll 6
      for (int k = 0; k < side; k++) {
        vf to[WINO];
        WINO_COLUMN(bf16, wino_read, rows, side, k, to);
#pragma GCC unroll 6
        for (int i = 0; i < side; i++) {
          v_put(bf16, r->v, (i * side + k) * r->step + t * depth + j, to[i]);
        }
      }
    }
  }
}

static void read_dy(const reading *r)
{
  const wino_map m = wino_tiles(r->g);
  const int64_t o = r->g->o, depth = wino_depth(false, o);
  for (int64_t t = 0; t < r->to; t++) {
    float *v = (float *)r->v + t * depth;
    for (int64_t j = 0; j < o; j += FRT_VL) {
      vf rows[WINO_OUT][WINO];
      read_dy_rows(false, false, r->g, r->x, wino_at(false, &m, r->first + t), j, rows);
#pragma GCC unroll 6
      for (int k = 0; k < WINO; k++) {
        vf to[WINO];
        WINO_COLUMN(false, wino_read_dy, rows, WINO_OUT, k, to);
#pragma GCC unroll 6
        for (int i = 0; i < WINO; i++) {
          v_store(v + (i * WINO + k) * r->step + j, to[i]);
        }
      }
    }
  }
}

static void loaded(const int act, const reading *r)
{
  read(act, false, true, false, r);
}

#if FRT_BF16
static void loaded_bf16(const int act, const bool bf16_x, const reading *r)
{
  if (bf16_x) {
    read(act, true, true, true, r);
  } else {
    read(act, true, true, false, r);
  }
}

// --- pairs of tiles -----------------------------------------------------------------------------
FRT_INLINE void read_pairs(const int act, const bool loads, const bool bf16_x, const reading *r)
{
  const wino_map m = wino_tiles(r->g);
  const int64_t c = r->g->c;
  for (int64_t t = r->from; t < r->to; t += 2) {
    const void *from[2][WINO * WINO] = {{NULL}};
    wino_window(true, bf16_x, r->g, &m, r->x, r->first + t, from[0]);
    if (t + 1 < r->to) {
      wino_window(true, bf16_x, r->g, &m, r->x, r->first + t + 1, from[1]);
    }
    for (int64_t p = 0; p < frt__bf16_panels(c); p++) {
      const int64_t at = frt__bf16_panel_at(c, p), width = wino_width(true, c, p);
      uint16_t *v = (uint16_t *)r->v + at * r->k + t * width;
      for (int64_t j = at; j < at + width; j += FRT_VL, v += 2 * FRT_VL) {
        vf a[WINO][WINO], b[WINO][WINO];
        read_rows(true, act, loads, bf16_x, r->load, j, c - j, from[0], a);
        read_rows(true, act, loads, bf16_x, r->load, j, c - j, from[1], b);
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++) {
          vf x[WINO], y[WINO];
          WINO_COLUMN(true, wino_read, a, 4, k, x);
          WINO_COLUMN(true, wino_read, b, 4, k, y);
#pragma GCC unroll 4
          for (int i = 0; i < 4; i++) {
            _mm512_storeu_si512(v + (i * 4 + k) * r->step, v_pairs(x[i], y[i]));
          }
        }
      }
    }
  }
}
static void pairs_loaded(const int act, const bool bf16_x, const reading *r)
{
  if (bf16_x) {
    read_pairs(act, true, true, r);
  } else {
    read_pairs(act, true, false, r);
  }
}

FRT_INLINE void read_dy_pairs(const bool bf16_y, const reading *r)
{
  const wino_map m = wino_tiles(r->g);
  const int64_t panel = r->k * 8;
  for (int64_t t = r->from; t < r->to; t += 2) {
    const wino_place p = wino_at(true, &m, r->first + t), q = wino_at(true, &m, r->first + t + 1);
    for (int64_t j = 0; j < r->g->o; j += FRT_VL) {
      uint16_t *v = (uint16_t *)r->v + j / 8 * panel + t * 8;
      vf a[WINO_OUT][WINO], b[WINO_OUT][WINO] = {{v_zero()}};
      read_dy_rows(true, bf16_y, r->g, r->x, p, j, a);
      if (t + 1 < r->to) {
        read_dy_rows(true, bf16_y, r->g, r->x, q, j, b);
      }
#pragma GCC unroll 4
      for (int k = 0; k < 4; k++) {
        vf x[WINO], y[WINO];
        WINO_COLUMN(true, wino_read_dy, a, 2, k, x);
        WINO_COLUMN(true, wino_read_dy, b, 2, k, y);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
          const __m512i z = v_pairs(x[i], y[i]);
          uint16_t *to = v + (i * 4 + k) * r->step;
          _mm256_storeu_si256((void *)to, _mm512_castsi512_si256(z));
          _mm256_storeu_si256((void *)(to + panel), _mm512_extracti64x4_epi64(z, 1));
        }
      }
    }
  }
}
#endif

// --- whatever the map ----------------------------------------------------------------------------
void FRT_K(winograd_read)(const frt_conv_shape *g, const frt_load *load, const void *x,
                          int64_t first, int64_t tiles, void *v, int64_t step)
{
  const reading r = {
    .g = g, .load = load, .x = x, .first = first, .to = tiles, .v = v, .step = step};
#if FRT_BF16
  if (g->bf16 && load) {
    FRT_BY_ACT(load->act, loaded_bf16, g->bf16_x, &r);
    return;
  }
  if (g->bf16 && g->bf16_x) {
    read(FRT_ACT_NONE, true, false, true, &r);
    return;
  }
  if (g->bf16) {
    read(FRT_ACT_NONE, true, false, false, &r);
    return;
  }
#endif
  if (load) {
    FRT_BY_ACT(load->act, loaded, &r);
  } else {
    read(FRT_ACT_NONE, false, false, false, &r);
  }
}

void FRT_K(winograd_read_dy)(const frt_conv_shape *g, const void *dy, int64_t first, int64_t tiles,
                             void *v, int64_t step)
{
  const reading r = {.g = g, .x = dy, .first = first, .to = tiles, .v = v, .step = step};
  read_dy(&r);
}

void FRT_K(winograd_read_pairs)(const frt_conv_shape *g, const frt_load *load, const void *x,
                                int64_t first, int64_t from, int64_t to, int64_t k, uint16_t *v,
                                int64_t step)
{
#if FRT_BF16
  const reading r = {.g = g,
                     .load = load,
                     .x = x,
                     .first = first,
                     .from = from,
                     .to = to,
                     .k = k,
                     .v = v,
                     .step = step};
  if (load) {
    FRT_BY_ACT(load->act, pairs_loaded, g->bf16_x, &r);
  } else if (g->bf16_x) {
    read_pairs(FRT_ACT_NONE, false, true, &r);
  } else {
    read_pairs(FRT_ACT_NONE, false, false, &r);
  }
#else
  (void)g, (void)load, (void)x, (void)first, (void)from, (void)to, (void)k, (void)v, (void)step;
#endif
}

void FRT_K(winograd_read_dy_pairs)(const frt_conv_shape *g, const void *dy, int64_t first,
                                   int64_t from, int64_t to, int64_t k, uint16_t *v, int64_t step)
{
#if FRT_BF16
  const reading r = {
    .g = g, .x = dy, .first = first, .from = from, .to = to, .k = k, .v = v, .step = step};
  FRT_BY_BF16(g->bf16_y, read_dy_pairs, &r);
#else
  (void)g, (void)dy, (void)first, (void)from, (void)to, (void)k, (void)v, (void)step;
#endif
}
