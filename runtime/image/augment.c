// augment.c -- from a photo to what the network sees: all geometry is composed into one matrix and
// resampled once, then colour. Draws are keyed by (seed, epoch, sample, place in the list).
#include <math.h>

#include "image.h"

// Maps the canvas (what the ops so far would have made) to the photo, both in pixels with the
// corner at 0: photo = m * (x, y, 1).
typedef struct geometry {
  double m[6];
  double w, h;   // of the canvas
  frt__box clip; // of the photo: what may be read; a crop hides the rest
  double pw, ph; // of the photo
  int32_t filter;
} geometry;

// m = m * n: n maps the new canvas to the old one.
static void compose(geometry *g, const double n[6], double w, double h)
{
  const double *m = g->m;
  double r[6] = {
    m[0] * n[0] + m[1] * n[3], m[0] * n[1] + m[1] * n[4], m[0] * n[2] + m[1] * n[5] + m[2],
    m[3] * n[0] + m[4] * n[3], m[3] * n[1] + m[4] * n[4], m[3] * n[2] + m[4] * n[5] + m[5],
  };
  memcpy(g->m, r, sizeof r);
  g->w = w, g->h = h;
}

static bool upright(const geometry *g)
{
  return g->m[1] == 0 && g->m[3] == 0;
}

// The photo's part under the canvas rectangle x0 .. x1, y0 .. y1.
static frt__box under(const geometry *g, double x0, double y0, double x1, double y1)
{
  double x[2] = {x0, x1}, y[2] = {y0, y1};
  frt__box b = {INFINITY, INFINITY, -INFINITY, -INFINITY};
  for (int32_t i = 0; i < 4; i++) {
    double u = g->m[0] * x[i & 1] + g->m[1] * y[i >> 1] + g->m[2];
    double v = g->m[3] * x[i & 1] + g->m[4] * y[i >> 1] + g->m[5];
    b.x0 = fmin(b.x0, u), b.x1 = fmax(b.x1, u);
    b.y0 = fmin(b.y0, v), b.y1 = fmax(b.y1, v);
  }
  return b;
}

static frt__box common(frt__box a, frt__box b)
{
  return (frt__box){fmax(a.x0, b.x0), fmax(a.y0, b.y0), fmin(a.x1, b.x1), fmin(a.y1, b.y1)};
}

// --- geometric ops ----------------------------------------------------------------------------
static void scale_to(geometry *g, double w, double h)
{
  const double n[6] = {g->w / w, 0, 0, 0, g->h / h, 0};
  compose(g, n, w, h);
}

static void resize(geometry *g, int32_t size, int32_t edge)
{
  double shorter = fmin(g->w, g->h), longer = fmax(g->w, g->h);
  if (edge == 2) {
    scale_to(g, size, size);
    return;
  }
  // torchvision's Resize rounds the longer edge down, timm's ResizeKeepRatio the shorter to nearest
  double s = edge == 0 ? size : fmax(rint(shorter / (longer / size)), 1);
  double l = edge == 0 ? floor(size * longer / shorter) : size;
  scale_to(g, g->w <= g->h ? s : l, g->w <= g->h ? l : s);
}

static double crop_start(double have, int32_t want)
{
  return have >= want ? rint((have - want) / 2) : -floor((want - have) / 2);
}

static void center_crop(geometry *g, int32_t size)
{
  const double n[6] = {1, 0, crop_start(g->w, size), 0, 1, crop_start(g->h, size)};
  compose(g, n, size, size);
}

// torchvision's RandomResizedCrop: ten tries, then the largest central part of a permitted ratio.
static void random_crop(geometry *g, const double *p, int32_t size, frt__rng *r)
{
  double W = floor(g->w), H = floor(g->h), w = 0, h = 0, x = 0, y = 0;
  bool found = false;
  for (int32_t i = 0; i < 10 && !found; i++) {
    double area = W * H * frt__rng_between(r, p[0], p[1]);
    double ratio = exp(frt__rng_between(r, log(p[2]), log(p[3])));
    w = rint(sqrt(area * ratio));
    h = rint(sqrt(area / ratio));
    found = w >= 1 && w <= W && h >= 1 && h <= H;
  }
  if (found) {
    y = frt__rng_below(r, (int32_t)(H - h) + 1);
    x = frt__rng_below(r, (int32_t)(W - w) + 1);
  } else {
    w = W, h = H;
    if (W / H < p[2]) {
      h = fmin(fmax(rint(W / p[2]), 1), H);
    } else if (W / H > p[3]) {
      w = fmin(fmax(rint(H * p[3]), 1), W);
    }
    x = floor((W - w) / 2);
    y = floor((H - h) / 2);
  }
  if (upright(g)) {
    g->clip = common(g->clip, under(g, x, y, x + w, y + h));
  }
  const double n[6] = {w / size, 0, x, 0, h / size, y};
  compose(g, n, size, size);
}

static void flip(geometry *g, bool x, bool y)
{
  const double n[6] = {x ? -1 : 1, 0, x ? g->w : 0, 0, y ? -1 : 1, y ? g->h : 0};
  compose(g, n, g->w, g->h);
}

// torchvision's affine about the middle: rotate(angle) * shear(x, y) * scale, then the shift. Where
// a crop came before, the photo's own pixels beyond it come into view, not the fill.
static void affine(geometry *g, const double *p, frt__rng *r)
{
  const double turn = 3.14159265358979323846 / 180;
  double angle = frt__rng_between(r, p[0], p[1]) * turn;
  double tx = rint(frt__rng_between(r, -p[2] * g->w, p[2] * g->w));
  double ty = rint(frt__rng_between(r, -p[3] * g->h, p[3] * g->h));
  double scale = frt__rng_between(r, p[4], p[5]);
  double sx = frt__rng_between(r, p[6], p[7]) * turn, sy = frt__rng_between(r, p[8], p[9]) * turn;
  double a = cos(angle - sy) / cos(sy), b = -a * tan(sx) - sin(angle);
  double c = sin(angle - sy) / cos(sy), d = -c * tan(sx) + cos(angle);
  double cx = g->w / 2, cy = g->h / 2;
  double n[6] = {d / scale, -b / scale, 0, -c / scale, a / scale, 0};
  n[2] = cx - n[0] * (cx + tx) - n[1] * (cy + ty);
  n[5] = cy - n[3] * (cx + tx) - n[4] * (cy + ty);
  g->clip = (frt__box){0, 0, g->pw, g->ph};
  compose(g, n, g->w, g->h);
}

static geometry geometry_of(const frt_view *view, const frt__key *key, double w, double h)
{
  geometry g = {
    .m = {1,  0, 0, 0, 1, 0},
      .w = w, .h = h, .clip = {0, 0,  w,   h  },
      .pw = w, .ph = h
  };
  for (int32_t i = 0; i < view->n_augment; i++) {
    const frt_augment *a = view->augment + i;
    const double *p = a->param;
    int32_t size = p[0] > 0 ? (int32_t)p[0] : view->size;
    frt__rng r = frt__rng_at(key, (uint32_t)i);
    switch (a->kind) {
    case FRT_AUG_RESIZE:
      resize(&g, size, (int32_t)p[1]);
      g.filter = a->interpolation;
      break;
    case FRT_AUG_CENTER_CROP:
      center_crop(&g, size);
      break;
    case FRT_AUG_CROP:
      random_crop(&g, p, view->size, &r);
      g.filter = a->interpolation;
      break;
    case FRT_AUG_FLIP:
    case FRT_AUG_VFLIP:
      if (frt__rng_unit(&r) < p[0]) {
        flip(&g, a->kind == FRT_AUG_FLIP, a->kind == FRT_AUG_VFLIP);
      }
      break;
    case FRT_AUG_AFFINE:
      affine(&g, p, &r);
      break;
    default:
      break;
    }
  }
  if (g.w != view->size || g.h != view->size) {
    resize(&g, view->size, 0);
    center_crop(&g, view->size);
  }
  return g;
}

// Photo pixels per canvas pixel along the photo's x and y.
static double density_x(const geometry *g)
{
  return hypot(g->m[0], g->m[1]);
}

static double density_y(const geometry *g)
{
  return hypot(g->m[3], g->m[4]);
}

// The part of the photo that rendering reads, with the reach of its filters.
static frt__rect part_of(const geometry *g)
{
  double reach_x = 3 * fmax(density_x(g), 1) + 2, reach_y = 3 * fmax(density_y(g), 1) + 2;
  frt__box b = under(g, 0, 0, g->w, g->h);
  b = (frt__box){b.x0 - reach_x, b.y0 - reach_y, b.x1 + reach_x, b.y1 + reach_y};
  b = common(common(b, g->clip), (frt__box){0, 0, g->pw, g->ph});
  if (!(b.x1 > b.x0 && b.y1 > b.y0)) {
    return (frt__rect){0};
  }
  frt__rect r = {.x = (int32_t)floor(b.x0 + 1e-6), .y = (int32_t)floor(b.y0 + 1e-6)};
  r.w = (int32_t)fmin(ceil(b.x1 - 1e-6), g->pw) - r.x;
  r.h = (int32_t)fmin(ceil(b.y1 - 1e-6), g->ph) - r.y;
  return r;
}

// --- rendering --------------------------------------------------------------------------------
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

static frt_status render_upright(frt__scratch *s, const geometry *g, int32_t n, frt__rect part,
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
static frt_status render_turned(frt__scratch *s, const geometry *g, int32_t n, frt__rect part,
                                const frt__pixels *px, const int32_t colour[3])
{
  frt__warp w = {.src = *px, .dst = s->view.p, .ow = n, .oh = n};
  double fx = fmax(density_x(g), 1), fy = fmax(density_y(g), 1);
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
                         const geometry *g, frt__rect part, const frt__pixels *px,
                         const frt__normal *normal, float *nhwc)
{
  int32_t n = view->size;
  FRT_TRY(frt__buffer_need(&s->view, (size_t)n * (size_t)n * 3));
  if (part.w < 1 || part.h < 1) {
    fill(s->view.p, (int64_t)n * n, view->fill);
  } else if (upright(g)) {
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
typedef struct choice {
  const frt_view *view;
  const frt__key *key;
  geometry g;
  frt__rect part;
} choice;

// The geometry on a photo decoded at 1/k: w x h pixels, the last of which (in the file's order) may
// lie partly beyond the photo.
static void shrink_geometry(geometry *g, const frt__header *h, double k)
{
  double x = h->mirror_x ? h->w - g->pw / k : 0, y = h->mirror_y ? h->h - g->ph / k : 0;
  for (int32_t i = 0; i < 6; i++) {
    g->m[i] /= k;
  }
  g->m[2] += x;
  g->m[5] += y;
  g->clip =
    (frt__box){g->clip.x0 / k + x, g->clip.y0 / k + y, g->clip.x1 / k + x, g->clip.y1 / k + y};
  g->pw = h->w, g->ph = h->h;
}

static frt_status choose(void *ctx, const frt__header *h, frt__rect *part, int32_t *shrink)
{
  choice *c = ctx;
  if (*shrink > 1) {
    shrink_geometry(&c->g, h, *shrink);
  } else {
    c->g = geometry_of(c->view, c->key, h->w, h->h);
    double finest = fmin(density_x(&c->g), density_y(&c->g));
    if (c->view->shrink && h->is_jpeg) {
      while (*shrink < 8 && finest >= 2 * *shrink) {
        *shrink *= 2;
      }
    }
  }
  *part = c->part = part_of(&c->g);
  return FRT_OK;
}

frt_status frt__view_decode(frt__scratch *s, const frt_view *view, const frt__normal *normal,
                            const char *path, const frt__key *key, float *nhwc)
{
  choice c = {.view = view, .key = key};
  frt__header header = {0};
  frt__pixels px;
  FRT_TRY(frt__decode(s, path, choose, &c, &header, &px));
  return render(s, view, key, &c.g, c.part, &px, normal, nhwc);
}

frt_status frt__view_check(const frt_view *view)
{
  FRT_CHECK(view->size >= 1 && view->size <= 4096, FRT_EARG, "data: size must be 1 to 4096, got %d",
            view->size);
  FRT_CHECK(view->n_augment >= 0 && view->n_augment <= FRT__MAX_AUGMENT, FRT_EARG,
            "data: at most %d augments, got %d", FRT__MAX_AUGMENT, view->n_augment);
  for (int32_t i = 0; i < view->n_augment; i++) {
    int32_t filter = view->augment[i].interpolation;
    FRT_CHECK(filter >= FRT__BILINEAR && filter <= FRT__NEAREST, FRT_EARG,
              "data: interpolation must be 0 to 3, got %d", filter);
  }
  for (int32_t c = 0; c < 3; c++) {
    FRT_CHECK(view->std[c] > 0, FRT_EARG, "data: std must be positive, got %g", view->std[c]);
    FRT_CHECK(view->fill[c] >= 0 && view->fill[c] <= 255, FRT_EARG,
              "data: fill must be 0 to 255, got %d", view->fill[c]);
  }
  return FRT_OK;
}

frt_status frt_view_pixels(const frt_view *view, const frt_photo *photo, int64_t seed,
                           int64_t epoch, int64_t sample, uint8_t *rgb)
{
  FRT_TRY(frt__view_check(view));
  FRT_CHECK(photo->w >= 1 && photo->h >= 1, FRT_EARG, "data: photo must have pixels, got %d x %d",
            photo->w, photo->h);
  frt__key key = {seed, epoch, sample};
  frt__scratch s = {0};
  geometry g = geometry_of(view, &key, photo->w, photo->h);
  frt__rect part = part_of(&g);
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
