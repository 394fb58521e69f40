// view.c -- what a view shows of a photo: all geometry of the list of augments is composed into one
// matrix. Draws are keyed by (seed, epoch, sample, place in the list). No pixel is touched here.
#include <math.h>

#include "image/image.h"

// m = m * n: n maps the new canvas to the old one.
static void compose(frt__geometry *g, const double n[6], double w, double h)
{
  const double *m = g->m;
  double r[6] = {
    m[0] * n[0] + m[1] * n[3], m[0] * n[1] + m[1] * n[4], m[0] * n[2] + m[1] * n[5] + m[2],
    m[3] * n[0] + m[4] * n[3], m[3] * n[1] + m[4] * n[4], m[3] * n[2] + m[4] * n[5] + m[5],
  };
  memcpy(g->m, r, sizeof r);
  g->w = w, g->h = h;
}

bool frt__view_upright(const frt__geometry *g)
{
  return g->m[1] == 0 && g->m[3] == 0;
}

// The photo's part under the canvas rectangle x0 .. x1, y0 .. y1.
static frt__box under(const frt__geometry *g, double x0, double y0, double x1, double y1)
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
static void scale_to(frt__geometry *g, double w, double h)
{
  const double n[6] = {g->w / w, 0, 0, 0, g->h / h, 0};
  compose(g, n, w, h);
}

static void resize(frt__geometry *g, int32_t size, int32_t edge)
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

static void center_crop(frt__geometry *g, int32_t size)
{
  const double n[6] = {1, 0, crop_start(g->w, size), 0, 1, crop_start(g->h, size)};
  compose(g, n, size, size);
}

// torchvision's RandomResizedCrop: ten tries, then the largest central part of a permitted ratio.
static void random_crop(frt__geometry *g, const double *p, int32_t size, frt__rng *r)
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
  if (frt__view_upright(g)) {
    g->clip = common(g->clip, under(g, x, y, x + w, y + h));
  }
  const double n[6] = {w / size, 0, x, 0, h / size, y};
  compose(g, n, size, size);
}

static void flip(frt__geometry *g, bool x, bool y)
{
  const double n[6] = {x ? -1 : 1, 0, x ? g->w : 0, 0, y ? -1 : 1, y ? g->h : 0};
  compose(g, n, g->w, g->h);
}

// torchvision's affine about the middle: rotate(angle) * shear(x, y) * scale, then the shift. Where
// a crop came before, the photo's own pixels beyond it come into view, not the fill.
static void affine(frt__geometry *g, const double *p, frt__rng *r)
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

frt__geometry frt__view_geometry(const frt_view *view, const frt__key *key, double w, double h)
{
  frt__geometry g = {
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

double frt__view_density_x(const frt__geometry *g)
{
  return hypot(g->m[0], g->m[1]);
}

double frt__view_density_y(const frt__geometry *g)
{
  return hypot(g->m[3], g->m[4]);
}

// With the reach of the filters.
frt__rect frt__view_part(const frt__geometry *g)
{
  double reach_x = 3 * fmax(frt__view_density_x(g), 1) + 2,
         reach_y = 3 * fmax(frt__view_density_y(g), 1) + 2;
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

// --- decoding small -----------------------------------------------------------------------------
int32_t frt__view_shrink(const frt_view *view, const frt__geometry *g, const frt__header *h)
{
  double finest = fmin(frt__view_density_x(g), frt__view_density_y(g));
  int32_t shrink = 1;
  while (view->shrink && h->is_jpeg && shrink < 8 && finest >= 2 * shrink) {
    shrink *= 2;
  }
  return shrink;
}

// The last pixel of what is decoded at 1/k (in the file's order) may lie partly beyond the photo.
void frt__view_smaller(frt__geometry *g, const frt__header *h, double k)
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

// --- what may be asked for ----------------------------------------------------------------------
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
