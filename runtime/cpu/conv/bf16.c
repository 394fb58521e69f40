// bf16.c -- what a product of bf16 maps reads: windows of its source as rows of numbers.
//
// A filter's taps that lie side by side in the source are one segment, kw * c numbers long. Windows
// are read from a band: the source's lines that a tile needs, copied (or computed, frt_load) with
// zeros where the padding is, small enough to stay in the cache. A single tap needs no band: its
// pixels are read where they lie, unless they must be computed or have an odd number of channels.
#include "cpu/conv/bf16.h"

// A tile's bytes and rows; bytes of a band.
enum { BYTES = 384 << 10, LEAST = 48, BAND = 320 << 10 };

// --- description --------------------------------------------------------------------------------
static frt__bf16_axis forward_axis(int64_t kernel, int64_t pad, int64_t dilation)
{
  return (frt__bf16_axis){.n = kernel, .tap_step = 1, .from = -pad, .step = dilation};
}

// Phase p of a gradient by the input: the taps k with (p + pad - k * dilation) a multiple of the
// stride, read at that quotient; the last tap reads the first pixel.
static frt__bf16_axis phase_axis(int64_t p, int64_t kernel, int64_t pad, int64_t dilation,
                                 int64_t stride)
{
  frt__bf16_axis a = {.step = 1};
  int64_t before = -1;
  for (int64_t k = kernel - 1; k >= 0; k--) {
    const int64_t at = p + pad - k * dilation;
    if (at % stride != 0) {
      continue;
    }
    if (a.n == 0) {
      a.tap = k;
      a.from = at / stride;
    } else if (a.n == 1) {
      a.tap_step = k - before;
      a.step = at / stride - a.from;
    }
    before = k;
    a.n++;
  }
  return a;
}

static void finish_grid(const frt__bf16_windows *h, frt__bf16_grid *g)
{
  g->run = g->x.n <= 1 || g->x.step == 1 ? g->x.n : 1;
  g->segments = g->run > 0 ? g->y.n * (g->x.n / g->run) : 0;
  g->k = g->run * h->sc;
  g->band = g->y.n * g->x.n > 1;
}

frt_status frt__bf16_of_conv(frt__bf16_windows *h, const frt_dn_conv *c)
{
  const bool back = c->kind == FRT_DN_GRAD_INPUT;
  const int64_t taps = c->kh * c->kw;
  *h = (frt__bf16_windows){
    .photos = c->n,
    .sh = back ? c->oh : c->h,
    .sw = back ? c->ow : c->w,
    .sc = back ? c->o : c->c,
    .h = back ? c->h : c->oh,
    .w = back ? c->w : c->ow,
    .n = back ? c->c : c->o,
    .stride = {back ? 1 : c->stride[0], back ? 1 : c->stride[1]},
    .step = {back ? c->stride[0] : 1, back ? c->stride[1] : 1},
    .taps = taps,
    .kw = c->kw,
    .w_n = back ? taps : c->c * taps,
    .w_c = back ? c->c * taps : taps,
    .bias = c->bias,
    .act = (int32_t)c->act,
    .n_grid = back ? c->stride[0] * c->stride[1] : 1,
  };
  h->grid = frt__zalloc((size_t)h->n_grid * sizeof *h->grid);
  FRT_CHECK(h->grid, FRT_ENOMEM, "out of memory: a convolution's state");
  for (int64_t i = 0; i < h->n_grid; i++) {
    frt__bf16_grid *g = h->grid + i;
    g->y0 = i / h->step[1];
    g->x0 = i % h->step[1];
    g->h = FRT_MAX((int64_t)0, (h->h - g->y0 + h->step[0] - 1) / h->step[0]);
    g->w = FRT_MAX((int64_t)0, (h->w - g->x0 + h->step[1] - 1) / h->step[1]);
    if (back) {
      g->y = phase_axis(g->y0, c->kh, c->pad[0], c->dilation[0], c->stride[0]);
      g->x = phase_axis(g->x0, c->kw, c->pad[1], c->dilation[1], c->stride[1]);
    } else {
      g->y = forward_axis(c->kh, c->pad[0], c->dilation[0]);
      g->x = forward_axis(c->kw, c->pad[1], c->dilation[1]);
    }
    finish_grid(h, g);
  }
  return FRT_OK;
}

frt_status frt__bf16_of_rows(frt__bf16_windows *h, int64_t m, int64_t n, int64_t k, bool transposed)
{
  const frt_dn_conv c = {
    .n = 1,
    .h = 1,
    .w = m,
    .c = k,
    .oh = 1,
    .ow = m,
    .o = n,
    .kh = 1,
    .kw = 1,
    .stride = {1, 1},
    .dilation = {1, 1}
  };
  FRT_TRY(frt__bf16_of_conv(h, &c));
  h->w_n = transposed ? k : 1;
  h->w_c = transposed ? 1 : n;
  return FRT_OK;
}

void frt__bf16_free(frt__bf16_windows *h)
{
  frt__block_free(h->packed, h->packed_bytes);
  frt__free(h->grid);
  *h = (frt__bf16_windows){0};
}

// --- sizes --------------------------------------------------------------------------------------
// Pixels are read where they lie.
static bool in_place(const frt__bf16_windows *h, const frt__bf16_grid *g)
{
  return !g->band && h->source_bf16 && !h->loads && h->sc % 2 == 0;
}

// Pixels of a line of the band, and lines of `lines` lines of the grid of one photo.
static int64_t band_width(const frt__bf16_windows *h, const frt__bf16_grid *g)
{
  return (g->w - 1) * h->stride[1] + (g->x.n - 1) * g->x.step + 1;
}
static int64_t band_lines(const frt__bf16_windows *h, const frt__bf16_grid *g, int64_t lines)
{
  return (lines - 1) * h->stride[0] + (g->y.n - 1) * g->y.step + 1;
}
// Numbers of a band of any `lines` lines of the grid, which may cross photos.
static int64_t band_numbers(const frt__bf16_windows *h, const frt__bf16_grid *g, int64_t lines)
{
  const int64_t parts = FRT_MIN(lines, (lines - 2 + g->h) / g->h + 1);
  const int64_t more = FRT_MAX((int64_t)0, band_lines(h, g, 1) - h->stride[0]);
  return (lines * h->stride[0] + parts * more + h->stride[0]) * band_width(h, g) * h->sc + 2;
}

void frt__bf16_tiles(frt__bf16_windows *h, frt__bf16_grid *g, int64_t bytes, int64_t most)
{
  const int64_t rows = FRT_MAX((int64_t)1, frt__bf16_total(h, g));
  const int64_t threads = frt_threads(), each = (rows + threads - 1) / threads;
  const int64_t own = in_place(h, g) ? 0 : 2 * frt__bf16_even(h->sc);
  int64_t tile = FRT_MAX((int64_t)LEAST, FRT_MIN(most, BYTES / FRT_MAX((int64_t)1, bytes + own)));
  tile = frt__bf16_up(FRT_MIN(tile, each), FRT_BF16_ROWS);
  int64_t numbers = frt__bf16_even(h->sc) * tile;
  if (g->band) {
    int64_t lines = FRT_MAX((int64_t)1, tile / FRT_MAX((int64_t)1, g->w));
    while (lines > 1 && band_numbers(h, g, lines) * 2 > BAND) {
      lines = (lines + 1) / 2;
    }
    tile = FRT_MAX((int64_t)1, lines * g->w);
    numbers = band_numbers(h, g, lines);
  }
  g->tile = tile;
  const int64_t up = frt__bf16_up(tile, FRT_BF16_ROWS);
  const int64_t pointers = FRT_MAX((int64_t)1, g->segments) * up * (int64_t)sizeof(void *);
  h->pointers = FRT_MAX(h->pointers, frt__bf16_bytes(pointers));
  // Behind the source's rows, a pixel of zeros.
  h->source = FRT_MAX(h->source, frt__bf16_bytes((in_place(h, g) ? 0 : numbers) * 2) +
                                   frt__bf16_bytes(frt__bf16_even(h->sc) * 2));
}

// --- reading ------------------------------------------------------------------------------------
static const void *pixel(const frt__bf16_windows *h, const frt__bf16_args *a, int64_t at)
{
  return (const char *)a->source + at * h->sc * (h->source_bf16 ? 2 : 4);
}

static frt_bf16_rows rows_at(const frt__bf16_windows *h, const frt__bf16_args *a, int64_t at,
                             int64_t rows)
{
  return (frt_bf16_rows){.load = a->load,
                         .x = pixel(h, a, at),
                         .bf16 = h->source_bf16,
                         .row = at,
                         .rows = rows,
                         .c = h->sc,
                         .n = h->sc,
                         .ldy = h->sc};
}

static void fetch_pixels(const frt__bf16_windows *h, const frt__bf16_grid *g,
                         const frt__bf16_args *a, int64_t row, int64_t rows, int64_t first,
                         int64_t n, const uint16_t **pointer, char *room)
{
  const frt_kernels *kernels = frt__kernels();
  const bool there = in_place(h, g);
  const int64_t ldy = frt__bf16_even(n);
  uint16_t *own = (uint16_t *)room;
  uint16_t *zero = (uint16_t *)(room + h->source - frt__bf16_bytes(frt__bf16_even(h->sc) * 2));
  memset(zero, 0, (size_t)frt__bf16_even(h->sc) * 2);
  const bool dense = g->h == h->sh && g->w == h->sw && h->stride[0] == 1 && h->stride[1] == 1 &&
                     g->y.from == 0 && g->x.from == 0;
  if (dense && !there) {
    frt_bf16_rows all = rows_at(h, a, row, rows);
    all.first = first;
    all.n = n;
    all.ldy = ldy;
    kernels->bf16_rows(&all, own);
  }
  int64_t photo = row / (g->h * g->w), y = row / g->w % g->h, x = row % g->w;
  for (int64_t r = 0; r < rows; r++) {
    const int64_t sy = y * h->stride[0] + g->y.from, sx = x * h->stride[1] + g->x.from;
    const int64_t at = (photo * h->sh + sy) * h->sw + sx;
    if (dense && !there) {
      pointer[r] = own + r * ldy;
    } else if (sy < 0 || sy >= h->sh || sx < 0 || sx >= h->sw) {
      pointer[r] = zero;
    } else if (there) {
      pointer[r] = (const uint16_t *)pixel(h, a, at) + first;
    } else {
      frt_bf16_rows one = rows_at(h, a, at, 1);
      one.first = first;
      one.n = n;
      one.ldy = ldy;
      kernels->bf16_rows(&one, own + r * ldy);
      pointer[r] = own + r * ldy;
    }
    if (++x == g->w) {
      x = 0;
      y = y + 1 == g->h ? 0 : y + 1;
      photo += y == 0;
    }
  }
}

// A line of the band, zero where it leaves the photo.
static void band_line(const frt__bf16_windows *h, const frt__bf16_grid *g, const frt__bf16_args *a,
                      int64_t photo, int64_t y, uint16_t *to)
{
  const int64_t width = band_width(h, g), c = h->sc;
  const int64_t left = FRT_MAX((int64_t)0, g->x.from);
  const int64_t right = FRT_MIN(h->sw, g->x.from + width);
  if (y < 0 || y >= h->sh || right <= left) {
    memset(to, 0, (size_t)(width * c) * 2);
    return;
  }
  const int64_t before = left - g->x.from;
  memset(to, 0, (size_t)(before * c) * 2);
  frt_bf16_rows all = rows_at(h, a, (photo * h->sh + y) * h->sw + left, right - left);
  if (!all.load) { // one long row
    all.c = all.n = all.ldy = (right - left) * c;
    all.rows = 1;
  }
  frt__kernels()->bf16_rows(&all, to + before * c);
  memset(to + (before + right - left) * c, 0, (size_t)((width - before - right + left) * c) * 2);
}

static void fetch_band(const frt__bf16_windows *h, const frt__bf16_grid *g, const frt__bf16_args *a,
                       int64_t row, int64_t rows, const uint16_t **pointer, uint16_t *band)
{
  const int64_t up = frt__bf16_up(rows, FRT_BF16_ROWS);
  const int64_t line = band_width(h, g) * h->sc, per = g->x.n / g->run;
  for (int64_t l = row / g->w, last = (row + rows) / g->w; l < last;) {
    const int64_t photo = l / g->h, first = l - photo * g->h;
    const int64_t n = FRT_MIN(g->h - first, last - l), lines = band_lines(h, g, n);
    for (int64_t i = 0; i < lines; i++) {
      band_line(h, g, a, photo, first * h->stride[0] + g->y.from + i, band + i * line);
    }
    for (int64_t s = 0; s < g->segments; s++) {
      const uint16_t **p = pointer + s * up + l * g->w - row;
      const uint16_t *from = band + s / per * g->y.step * line + s % per * g->x.step * h->sc;
      for (int64_t i = 0; i < n; i++, from += h->stride[0] * line) {
        for (int64_t x = 0; x < g->w; x++) {
          *p++ = from + x * h->stride[1] * h->sc;
        }
      }
    }
    band += lines * line;
    l += n;
  }
  band[0] = band[1] = 0; // read, and multiplied by zero, where a segment's length is odd
}

void frt__bf16_fetch(const frt__bf16_windows *h, const frt__bf16_grid *g, const frt__bf16_args *a,
                     int64_t row, int64_t rows, int64_t first, int64_t n, char *scratch)
{
  const uint16_t **pointer = (const uint16_t **)scratch;
  const int64_t up = frt__bf16_up(rows, FRT_BF16_ROWS);
  if (g->band) {
    fetch_band(h, g, a, row, rows, pointer, (uint16_t *)(scratch + h->pointers));
  } else {
    fetch_pixels(h, g, a, row, rows, first, n, pointer, scratch + h->pointers);
  }
  for (int64_t s = 0; s < g->segments; s++) {
    for (int64_t r = rows; r < up; r++) {
      pointer[s * up + r] = pointer[s * up + rows - 1];
    }
  }
}
