// render.c -- the pixels of a view: one resample of the part that was read, then colour; and the
// way from a file to a view: open, look at, read, render.
#include <math.h>

#include "image/source.h"

static void fill(uint8_t *planes, int64_t n, const int32_t colour[3])
{
  for (int32_t c = 0; c < 3; c++) {
    memset(planes + c * n, colour[c], (size_t)n);
  }
}

// One axis of an upright view: outputs first .. last-1 lie on the photo, from .. to of it.
typedef struct span {
  int32_t first, last;
  double from, to;
  bool mirror;
} span;

static span span_of(double scale, double shift, int32_t n, double lo, double hi)
{
  span s = {.mirror = scale < 0};
  double start = s.mirror ? shift + scale * n : shift, size = fabs(scale);
  double first = ceil((lo - start) / size - 0.5 - 1e-9),
         last = ceil((hi - start) / size - 0.5 - 1e-9);
  s.first = (int32_t)fmin(fmax(first, 0), n);
  s.last = (int32_t)fmin(fmax(last, s.first), n);
  s.from = start + s.first * size;
  s.to = start + s.last * size;
  return s;
}

static frt_status render_upright(frt__scratch *s, const frt__geometry *g, int32_t n, frt__rect part,
                                 const frt__pixels *px, const int32_t colour[3])
{
  span x = span_of(g->m[0], g->m[2], n, g->clip.x0, g->clip.x1);
  span y = span_of(g->m[4], g->m[5], n, g->clip.y0, g->clip.y1);
  if (x.last - x.first < n || y.last - y.first < n) {
    fill(s->view.p, (int64_t)n * n, colour);
  }
  if (x.last == x.first || y.last == y.first) {
    return FRT_OK;
  }
  int32_t left = x.mirror ? n - x.last : x.first, top = y.mirror ? n - y.last : y.first;
  frt__resize r = {
    .src = *px,
    .box = {x.from - part.x, y.from - part.y, x.to - part.x, y.to - part.y},
    .dst = s->view.p + (size_t)top * (size_t)n + (size_t)left,
    .ow = x.last - x.first,
    .oh = y.last - y.first,
    .dst_stride = (size_t)n,
    .plane = (size_t)n * (size_t)n,
    .filter = g->filter,
    .mirror_x = x.mirror,
    .mirror_y = y.mirror,
  };
  return frt__resample(s, &r);
}

// Turned or sheared: first an upright antialiased reduction where the view is coarser than the
// photo, then one bilinear reading.
static frt_status render_turned(frt__scratch *s, const frt__geometry *g, int32_t n, frt__rect part,
                                const frt__pixels *px, const int32_t colour[3])
{
  frt__warp w = {.src = *px, .dst = s->view.p, .ow = n, .oh = n};
  double fx = fmax(frt__view_density_x(g), 1), fy = fmax(frt__view_density_y(g), 1);
  if (fx > 1.01 || fy > 1.01) {
    frt__pixels small = {.w = FRT_MAX((int32_t)ceil(px->w / fx), 1),
                         .h = FRT_MAX((int32_t)ceil(px->h / fy), 1)};
    small.stride = (size_t)small.w * 3;
    FRT_TRY(frt__buffer_need(&s->small, small.stride * (size_t)small.h));
    small.rgb = s->small.p;
    frt__resize r = {
      .src = *px,
      .box = {0, 0, px->w, px->h},
      .dst = s->small.p,
      .ow = small.w,
      .oh = small.h,
      .dst_stride = small.stride,
      .filter = FRT__BILINEAR
    };
    FRT_TRY(frt__resample(s, &r));
    w.src = small;
  }
  double qx = (double)w.src.w / px->w, qy = (double)w.src.h / px->h;
  w.inside = (frt__box){(g->clip.x0 - part.x) * qx, (g->clip.y0 - part.y) * qy,
                        (g->clip.x1 - part.x) * qx, (g->clip.y1 - part.y) * qy};
  const double *m = g->m;
  const double moved[6] = {m[0] * qx, m[1] * qx, (m[2] - part.x) * qx,
                           m[3] * qy, m[4] * qy, (m[5] - part.y) * qy};
  memcpy(w.m, moved, sizeof moved);
  for (int32_t c = 0; c < 3; c++) {
    w.fill[c] = (uint8_t)colour[c];
  }
  frt__photo()->warp(&w);
  return FRT_OK;
}

// torchvision's ColorJitter: the four in random order, each by its own factor.
static void jitter(frt__colours *list, const double *p, frt__rng *r)
{
  int32_t order[4] = {0, 1, 2, 3};
  for (int32_t i = 3; i > 0; i--) {
    int32_t k = frt__rng_below(r, i + 1), was = order[i];
    order[i] = order[k];
    order[k] = was;
  }
  double v[4];
  for (int32_t i = 0; i < 4; i++) {
    v[i] = frt__rng_between(r, p[2 * i], p[2 * i + 1]);
  }
  static const int32_t kinds[4] = {FRT__BLEND, FRT__CONTRAST, FRT__SATURATION, FRT__HUE};
  for (int32_t i = 0; i < 4; i++) {
    int32_t k = order[i];
    double nothing = k == 3 ? 0 : 1;
    if (p[2 * k] != nothing || p[2 * k + 1] != nothing) {
      frt__colours_add(list, kinds[k], k == 3 ? 6 * v[k] : v[k], 0); // brightness: from black
    }
  }
}

static void colours_of(const frt_view *view, const frt__key *key, frt__colours *list)
{
  list->n = 0;
  for (int32_t i = 0; i < view->n_augment; i++) {
    const frt_augment *a = view->augment + i;
    frt__rng r = frt__rng_at(key, (uint32_t)i);
    if (a->kind == FRT_AUG_JITTER) {
      jitter(list, a->param, &r);
    } else if (a->kind == FRT_AUG_GRAYSCALE && frt__rng_unit(&r) < a->param[0]) {
      frt__colours_add(list, FRT__GREY, 0, 0);
    }
  }
}

// Normalised to nhwc, where given, else planes of bytes in s->view.
static frt_status render(frt__scratch *s, const frt_view *view, const frt__key *key,
                         const frt__geometry *g, frt__rect part, const frt__pixels *px,
                         const frt__normal *normal, float *nhwc)
{
  int32_t n = view->size;
  FRT_TRY(frt__buffer_need(&s->view, (size_t)n * (size_t)n * 3));
  if (part.w < 1 || part.h < 1) {
    fill(s->view.p, (int64_t)n * n, view->fill);
  } else if (frt__view_upright(g)) {
    FRT_TRY(render_upright(s, g, n, part, px, view->fill));
  } else {
    FRT_TRY(render_turned(s, g, n, part, px, view->fill));
  }
  frt__colours list;
  colours_of(view, key, &list);
  frt__colours_run(&list, s->view.p, (int64_t)n * n, normal, nhwc);
  return FRT_OK;
}

// --- entry points -----------------------------------------------------------------------------
static frt_status view_of(frt__source *f, const frt_view *view, const frt__normal *normal,
                          const frt__key *key, float *nhwc)
{
  frt__geometry g = frt__view_geometry(view, key, f->header.w, f->header.h);
  int32_t shrink = frt__view_shrink(view, &g, &f->header);
  if (shrink > 1) {
    FRT_TRY(frt__open_smaller(f, shrink));
    frt__view_smaller(&g, &f->header, shrink);
  }
  frt__rect part = frt__view_part(&g);
  frt__pixels px;
  FRT_TRY(frt__read(f, part, &px));
  return render(f->s, view, key, &g, part, &px, normal, nhwc);
}

frt_status frt__view_decode(frt__scratch *s, const frt_view *view, const frt__normal *normal,
                            const char *path, const frt__key *key, float *nhwc)
{
  frt__source f;
  FRT_TRY(frt__open(&f, s, path));
  frt_status status = view_of(&f, view, normal, key, nhwc);
  frt__close(&f);
  return status;
}

frt_status frt_view_pixels(const frt_view *view, const frt_photo *photo, int64_t seed,
                           int64_t epoch, int64_t sample, uint8_t *rgb)
{
  FRT_TRY(frt__view_check(view));
  FRT_CHECK(photo->w >= 1 && photo->h >= 1, FRT_EARG, "data: photo must have pixels, got %d x %d",
            photo->w, photo->h);
  frt__key key = {seed, epoch, sample};
  frt__scratch s = {0};
  frt__geometry g = frt__view_geometry(view, &key, photo->w, photo->h);
  frt__rect part = frt__view_part(&g);
  size_t row = (size_t)part.w * 3;
  frt_status status = frt__buffer_need(&s.rgb, row * (size_t)part.h);
  if (status == FRT_OK) {
    for (int32_t y = 0; y < part.h; y++) {
      const uint8_t *from =
        photo->rgb + ((size_t)(part.y + y) * (size_t)photo->w + (size_t)part.x) * 3;
      memcpy(s.rgb.p + row * (size_t)y, from, row);
    }
    frt__pixels px = {s.rgb.p, part.w, part.h, row};
    status = render(&s, view, &key, &g, part, &px, NULL, NULL);
  }
  int64_t n = (int64_t)view->size * view->size;
  for (int64_t i = 0; status == FRT_OK && i < 3 * n; i++) {
    rgb[i] = s.view.p[i % 3 * n + i / 3];
  }
  frt__scratch_free(&s);
  return status;
}

frt_status frt_view_load(const frt_view *view, const char *path, int64_t seed, int64_t epoch,
                         int64_t sample, float *nhwc)
{
  FRT_TRY(frt__view_check(view));
  frt__key key = {seed, epoch, sample};
  frt__scratch s = {0};
  frt__normal normal;
  frt__normal_make(&normal, view->mean, view->std);
  frt_status status = frt__view_decode(&s, view, &normal, path, &key, nhwc);
  frt__scratch_free(&s);
  return status;
}
