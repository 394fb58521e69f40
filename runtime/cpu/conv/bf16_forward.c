// bf16_forward.c -- windows of a bf16 map times weights, tile by tile: product, statistics, bias
// and activation in f32 while they are in the cache, then stored as bf16 or f32.
#include "cpu/conv/bf16.h"

enum { MOST = 256, CHUNK = 64, WIDEST = 48, GROUP = 768 };

// Wide rows are computed in groups of whole panels, so that a tile has many of them; the last group
// is none of the narrow panels that end a row alone.
static int64_t group_of(const frt__bf16_windows *h)
{
  const int64_t groups = (h->n + GROUP - 1) / GROUP;
  const int64_t group = frt__bf16_up((h->n + groups - 1) / groups, WIDEST);
  const int64_t rest = h->n % group;
  return h->counts || groups == 1 || h->step[0] > 1 || h->step[1] > 1 || (rest > 0 && rest <= 16)
           ? h->n
           : group;
}

size_t frt__bf16_plan(frt__bf16_windows *h)
{
  size_t packed = 0;
  h->pointers = h->source = h->sums = 0;
  h->group = group_of(h);
  for (int64_t i = 0; i < h->n_grid; i++) {
    frt__bf16_grid *g = h->grid + i;
    frt__bf16_tiles(h, g, 4 * h->group, MOST);
    const int64_t up = frt__bf16_up(g->tile, FRT_BF16_ROWS);
    h->sums = FRT_MAX(h->sums, frt__bf16_bytes(up * h->group * 4));
    g->packed = packed;
    packed += frt__bf16_bytes(g->segments * frt__bf16_even(g->k) * frt__bf16_up(h->n, 16) * 2);
  }
  h->packed_bytes = packed;
  return (size_t)frt_threads() * (h->pointers + h->source + h->sums);
}

// --- weights ------------------------------------------------------------------------------------
// Columns [j, j + n) of a grid's weights: segments of g->k rows, each filled up to an even number.
static void pack_panel(const frt__bf16_windows *h, const frt__bf16_grid *g, const float *w,
                       int64_t j, int64_t n, uint16_t *to)
{
  const int64_t columns = frt__bf16_up(n, 16), per = g->run > 0 ? g->x.n / g->run : 1;
  float part[CHUNK * WIDEST];
  for (int64_t s = 0; s < g->segments; s++, to += frt__bf16_even(g->k) * columns) {
    const int64_t ky = g->y.tap + s / per * g->y.tap_step;
    const int64_t kx = g->x.tap + s % per * g->run * g->x.tap_step;
    for (int64_t k = 0; k < g->k; k += CHUNK) {
      const int64_t rows = FRT_MIN(CHUNK, g->k - k);
      int64_t at[CHUNK];
      for (int64_t r = 0; r < rows; r++) {
        const int64_t tap = ky * h->kw + kx + (k + r) / h->sc * g->x.tap_step;
        at[r] = j * h->w_n + (k + r) % h->sc * h->w_c + tap;
      }
      if (h->w_n > h->w_c) { // along the shorter step
        for (int64_t i = 0; i < n; i++) {
          for (int64_t r = 0; r < rows; r++) {
            part[r * n + i] = w[at[r] + i * h->w_n];
          }
        }
      } else {
        for (int64_t r = 0; r < rows; r++) {
          for (int64_t i = 0; i < n; i++) {
            part[r * n + i] = w[at[r] + i * h->w_n];
          }
        }
      }
      frt__kernels()->bf16_pack(&(frt_bf16_pack){.x = part, .ld = n, .k = rows, .n = n},
                                to + k * columns);
    }
  }
}

static void pack_grid(const frt__bf16_windows *h, const frt__bf16_grid *g, const void *w)
{
  const int64_t up = frt__bf16_up(h->n, 16), panels = frt__bf16_panels(h->n);
  const int64_t depth = g->segments * frt__bf16_even(g->k);
  uint16_t *packed = (uint16_t *)((char *)h->packed + g->packed);
  const int32_t threads = frt_threads();
#pragma omp parallel for num_threads(threads) schedule(static) if (depth * up > 16384)
  for (int64_t i = 0; i < panels; i++) {
    const int64_t j = frt__bf16_panel_at(h->n, i), n = frt__bf16_panel_at(h->n, i + 1) - j;
    uint16_t *to = packed + j * depth;
    if (h->taps == 1) {
      const bool transposed = h->w_c == 1 && h->w_n != 1;
      const void *x = (const char *)w + j * h->w_n * (h->w_bf16 ? 2 : 4);
      frt__kernels()->bf16_pack(&(frt_bf16_pack){.x = x,
                                                 .ld = transposed ? h->w_n : h->w_c,
                                                 .k = g->k,
                                                 .n = n,
                                                 .bf16 = h->w_bf16,
                                                 .transposed = transposed},
                                to);
    } else {
      pack_panel(h, g, w, j, n, to);
    }
  }
}

frt_status frt__bf16_ready(frt__bf16_windows *h)
{
  return h->packed || h->packed_bytes == 0
           ? FRT_OK
           : frt__block_new(&h->packed, h->packed_bytes, "weights packed as bf16");
}

void frt__bf16_pack(frt__bf16_windows *h, const void *w, uint64_t version)
{
  if (version == 0 || version != h->version || w != h->from) {
    for (int64_t i = 0; i < h->n_grid; i++) {
      if (h->grid[i].segments > 0) {
        pack_grid(h, h->grid + i, w);
      }
    }
    h->version = version;
    h->from = w;
  }
}

// --- products -----------------------------------------------------------------------------------
static void put(const frt__bf16_windows *h, const float *c, int64_t numbers, void *out, int64_t at)
{
  if (h->out_bf16) {
    frt__kernels()->to_bf16(c, numbers, (uint16_t *)out + at);
  } else {
    memcpy((float *)out + at, c, (size_t)numbers * sizeof *c);
  }
}

// Columns [j, j + n) of rows.
static void store(const frt__bf16_windows *h, const frt__bf16_grid *g, const float *c, int64_t row,
                  int64_t rows, int64_t j, int64_t n, void *out)
{
  const bool dense = h->step[0] == 1 && h->step[1] == 1;
  if (dense && n == h->n) {
    put(h, c, rows * n, out, row * n);
    return;
  }
  int64_t photo = row / (g->h * g->w), y = row / g->w % g->h, x = row % g->w;
  for (int64_t r = 0; r < rows; r++) {
    const int64_t oy = y * h->step[0] + g->y0, ox = x * h->step[1] + g->x0;
    put(h, c + r * n, n, out, ((photo * h->h + oy) * h->w + ox) * h->n + j);
    if (++x == g->w) {
      x = 0;
      y = y + 1 == g->h ? 0 : y + 1;
      photo += y == 0;
    }
  }
}

// Columns [j, j + n) of a tile that is fetched.
static void columns(const frt__bf16_windows *h, const frt__bf16_grid *g, const frt__bf16_args *a,
                    int64_t row, int64_t rows, int64_t j, int64_t n, char *scratch, double *part)
{
  const frt_kernels *kernels = frt__kernels();
  float *c = (float *)(scratch + h->pointers + h->source);
  // Where rows follow one another in the source and in the output, the next ones are asked for.
  const bool dense = h->step[0] == 1 && h->step[1] == 1 && n == h->n;
  const int64_t item = h->source_bf16 ? 2 : 4, out_item = h->out_bf16 ? 2 : 4;
  const int64_t all = frt__bf16_total(h, g), depth = g->segments * frt__bf16_even(g->k);
  const bool follows = !g->band && all == h->photos * h->sh * h->sw && j == 0;
  const int64_t ahead = follows ? FRT_MIN(g->tile, all - row - rows) : 0;
  if (g->segments > 0) {
    kernels->bf16_product(&(frt_bf16_product){
      .rows = rows,
      .n = n,
      .k = frt__bf16_even(g->k),
      .segments = g->segments,
      .a = (const uint16_t *const *)scratch,
      .b = (const uint16_t *)((const char *)h->packed + g->packed) + j * depth,
      .c = c,
      .ldc = n,
      .read = {ahead > 0 ? (const char *)a->source + (row + rows) * h->sc * item : NULL},
      .read_bytes = {frt__bf16_ahead(ahead * h->sc * item)},
      .write = dense ? (const char *)a->out + row * n * out_item : NULL,
      .write_bytes = dense ? frt__bf16_ahead(rows * n * out_item) : 0,
    });
  } else {
    memset(c, 0, (size_t)(rows * n) * sizeof *c);
  }
  if (a->bias || h->act != FRT_ACT_NONE) {
    kernels->bias_act(c, rows, n, a->bias ? a->bias + j : NULL, h->act);
  }
  if (part) {
    kernels->moments_rows(c, rows, n, part);
  }
  store(h, g, c, row, rows, j, n, a->out);
}

static void tile(const frt__bf16_windows *h, const frt__bf16_grid *g, const frt__bf16_args *a,
                 int64_t row, int64_t rows, char *scratch, double *part)
{
  if (g->segments > 0) {
    frt__bf16_fetch(h, g, a, row, rows, 0, h->sc, scratch);
  }
  for (int64_t j = 0; j < h->n; j += h->group) {
    columns(h, g, a, row, rows, j, FRT_MIN(h->group, h->n - j), scratch, part);
  }
}

void frt__bf16_run(const frt__bf16_windows *h, const frt__bf16_args *a)
{
  const int32_t threads = frt_threads();
  const size_t each = h->pointers + h->source + h->sums;
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int32_t t = 0; t < threads; t++) {
    double *part = a->parts ? (double *)(a->parts + (size_t)t * a->part) : NULL;
    for (int64_t i = 0; i < h->n_grid; i++) {
      const frt__bf16_grid *g = h->grid + i;
      int64_t from, to;
      frt__bf16_share(frt__bf16_total(h, g), g->tile, t, threads, &from, &to);
      for (int64_t r = from; r < to; r += g->tile) {
        tile(h, g, a, r, FRT_MIN(g->tile, to - r), a->scratch + (size_t)t * each, part);
      }
    }
  }
}
