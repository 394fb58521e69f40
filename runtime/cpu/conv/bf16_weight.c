// bf16_weight.c -- the gradient of a product by its weights, dw[o, windows] = dy^T windows, from
// bf16 maps: both sides are packed as pairs of rows, tile by tile. Where dw is small, each thread
// keeps sums of its own over its rows; where it is large, threads share its columns.
#include "cpu/conv/bf16.h"
#include "cpu/move/move.h"

// Rows of a tile; numbers of dw up to which each thread keeps sums of its own; of a thread's part.
enum { MOST = 512, SUMS = 64 << 10, PART = 16384, WIDEST = 48 };

static int64_t depth_of(const frt__bf16_windows *h)
{
  return h->grid->segments * h->grid->k;
}
static size_t left_bytes(const frt__bf16_windows *h)
{
  return frt__bf16_bytes(frt__bf16_even(h->grid->tile) * frt__bf16_up(h->n, 16) * 2);
}
static size_t right_bytes(const frt__bf16_windows *h)
{
  return frt__bf16_bytes(frt__bf16_even(h->grid->tile) * WIDEST * 2);
}
static size_t each_bytes(const frt__bf16_windows *h)
{
  return h->pointers + h->source + left_bytes(h) + right_bytes(h);
}

// Sums are made where they are wanted.
static bool in_out(const frt__bf16_windows *h)
{
  return h->by_columns && h->taps == 1 && h->n % FRT_BF16_ROWS == 0;
}

size_t frt__bf16_weight_plan(frt__bf16_windows *h)
{
  h->pointers = h->source = 0;
  h->by_columns = h->n * depth_of(h) > SUMS;
  // The more sums, the longer each should be; a thread's columns go by one panel at a time.
  frt__bf16_tiles(h, h->grid, h->by_columns ? 0 : 2 * h->n, MOST);
  h->sums = frt__bf16_bytes(frt__bf16_up(h->n, FRT_BF16_ROWS) * depth_of(h) * 4);
  const size_t sums = in_out(h) ? 0 : h->by_columns ? 1 : (size_t)frt_threads();
  return (size_t)frt_threads() * each_bytes(h) + sums * h->sums;
}

// Panels [job, end) of all segments' columns.
typedef struct jobs {
  int64_t panels, job, end; // panels of a segment
} jobs;

// Adds rows [row, row + rows) to the panels of `w`; begin: they start the sums.
static void tile(const frt__bf16_windows *h, bool dy_bf16, const frt__bf16_args *a, const jobs *w,
                 int64_t row, int64_t rows, bool begin, char *scratch, float *sum)
{
  const frt_kernels *kernels = frt__kernels();
  const frt__bf16_grid *g = h->grid;
  const uint16_t *const *pointer = (const uint16_t *const *)scratch;
  uint16_t *left = (uint16_t *)(scratch + h->pointers + h->source);
  uint16_t *right = (uint16_t *)(scratch + h->pointers + h->source + left_bytes(h));
  const int64_t up = frt__bf16_up(rows, FRT_BF16_ROWS);
  // Of pixels read one by one only the columns that are needed.
  const int64_t first = g->band ? 0 : frt__bf16_panel_at(g->k, w->job);
  const int64_t last = g->band ? h->sc : frt__bf16_panel_at(g->k, w->end);
  frt__bf16_fetch(h, g, a, row, rows, first, last - first, scratch);
  kernels->bf16_pack(&(frt_bf16_pack){.x = (const char *)a->w + row * h->n * (dy_bf16 ? 2 : 4),
                                      .ld = h->n,
                                      .k = rows,
                                      .n = h->n,
                                      .bf16 = dy_bf16,
                                      .left = true},
                     left);
  // The next rows are asked for meanwhile; x's only where they follow one another and all columns
  // are wanted.
  const int64_t jobs = w->end - w->job, item = h->source_bf16 ? 2 : 4, dy_item = dy_bf16 ? 2 : 4;
  const int64_t all = frt__bf16_total(h, g), ahead = FRT_MIN(g->tile, all - row - rows);
  const bool dense = !g->band && all == h->photos * h->sh * h->sw && last - first == h->sc;
  const char *next_x = (const char *)a->source + (dense ? (row + rows) * h->sc * item : 0);
  const char *next_dy = (const char *)a->w + (row + rows) * h->n * dy_item;
  const int64_t x_bytes = dense ? frt__bf16_ahead(ahead * h->sc * item) : 0,
                dy_bytes = frt__bf16_ahead(ahead * h->n * dy_item);
  for (int64_t i = w->job; i < w->end; i++) {
    const int64_t segment = i / w->panels, j = frt__bf16_panel_at(g->k, i % w->panels);
    const int64_t n = frt__bf16_panel_at(g->k, i % w->panels + 1) - j;
    kernels->bf16_pack(&(frt_bf16_pack){.row = (const void *const *)pointer + segment * up,
                                        .first = j - first,
                                        .k = rows,
                                        .n = n,
                                        .bf16 = true},
                       right);
    kernels->bf16_product(&(frt_bf16_product){
      .rows = h->n,
      .n = n,
      .k = frt__bf16_even(rows),
      .segments = 1,
      .a_pairs = left,
      .b = right,
      .c = sum + segment * g->k + j,
      .read = {next_x + x_bytes * (i - w->job) / jobs, next_dy + dy_bytes * (i - w->job) / jobs},
      .read_bytes = {x_bytes / jobs,                         dy_bytes / jobs                         },
      .ldc = depth_of(h),
      .add = !begin
    });
  }
}

static void multiply(const frt__bf16_windows *h, bool dy_bf16, const frt__bf16_args *a, char *sums)
{
  const frt__bf16_grid *g = h->grid;
  const int32_t threads = frt_threads();
  const int64_t rows = frt__bf16_total(h, g), panels = frt__bf16_panels(g->k),
                n_job = g->segments * panels;
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int32_t t = 0; t < threads; t++) {
    char *scratch = a->scratch + (size_t)t * each_bytes(h);
    jobs w = {.panels = panels, .end = n_job};
    float *sum = (float *)(sums + (h->by_columns ? 0 : (size_t)t * h->sums));
    int64_t from = 0, to = rows;
    if (h->by_columns) {
      w.job = n_job * t / threads;
      w.end = n_job * (t + 1) / threads;
    } else {
      frt__bf16_share(rows, g->tile, t, threads, &from, &to);
    }
    for (int64_t r = from; r < to && w.job < w.end; r += g->tile) {
      tile(h, dy_bf16, a, &w, r, FRT_MIN(g->tile, to - r), r == from, scratch, sum);
    }
    if (from == to) {
      memset(sum, 0, h->sums);
    }
  }
}

void frt__bf16_weight(const frt__bf16_windows *h, bool dy_bf16, const frt__bf16_args *a)
{
  const int64_t n = h->n * depth_of(h), c = h->sc;
  const int32_t threads = frt_threads(), parts = h->by_columns ? 1 : threads;
  char *sums = in_out(h) ? a->out : a->scratch + (size_t)threads * each_bytes(h);
  multiply(h, dy_bf16, a, sums);
  float *to = h->taps == 1 ? a->out : (float *)sums;
#pragma omp parallel for num_threads(threads) schedule(static) if (n > PART)
  for (int64_t i = 0; i < (to == (float *)sums && parts == 1 ? 0 : n); i++) {
    float s = ((const float *)sums)[i];
    for (int32_t t = 1; t < parts; t++) {
      s += ((const float *)(sums + (size_t)t * h->sums))[i];
    }
    to[i] = s;
  }
  if (h->taps > 1) {
    frt__move(
      (frt_move){
        .ndim = 3,
        .dim = {h->n,        c,       h->taps},
        .from = {h->taps * c, 1,       c      },
        .to = {h->taps * c, h->taps, 1      }
    },
      sizeof(float), sums, a->out);
  }
}
