// colour.c -- colour operations on blocks of pixels that stay in the first cache: from bytes to
// floats, all operations, and on to bytes or to the batch. Everything but hue is Pillow's
// ImageEnhance in every bit.
#include "base/vec.h"
#include "image/kernels.h"

enum { BLOCK = 128 };

typedef struct block {
  vf r[BLOCK / FRT_VL], g[BLOCK / FRT_VL], b[BLOCK / FRT_VL];
} block;

// Pillow's blend: truncated inside 0 .. 255, clipped outside.
FRT_INLINE vf blend(vf from, vf to, vf factor)
{
  return v_trunc(v_min(v_max(from + factor * (to - from), v_zero()), v_set(255)));
}
// Pillow's 16-bit fixed point: all of its numbers fit a float's 24 bits.
FRT_INLINE vf grey(vf r, vf g, vf b)
{
  return v_trunc((r * 19595 + g * 38470 + b * 7471 + 32768) * (1.0f / 65536));
}

// --- operations ---------------------------------------------------------------------------------
FRT_INLINE void operation(int32_t kind, vf from, vf factor, block *p)
{
  for (int32_t i = 0; i < BLOCK / FRT_VL; i++) {
    vf r = p->r[i], g = p->g[i], b = p->b[i];
    if (kind != FRT__BLEND) {
      from = grey(r, g, b);
    }
    p->r[i] = kind == FRT__GREY ? from : blend(from, r, factor);
    p->g[i] = kind == FRT__GREY ? from : blend(from, g, factor);
    p->b[i] = kind == FRT__GREY ? from : blend(from, b, factor);
  }
}

// Turns the hue by `turn` sixths of a circle and keeps value and saturation: channel c of a colour
// of hue h (in sixths) is hi - (hi - lo) * clamp(min(k, 4 - k), 0, 1) with k = (n_c + h) mod 6, n =
// 5, 3, 1.
static void turn_hue(float turn, block *p)
{
  vf none = v_zero(), one = v_set(1);
  for (int32_t i = 0; i < BLOCK / FRT_VL; i++) {
    vf r = p->r[i], g = p->g[i], b = p->b[i];
    vf hi = v_max(v_max(r, g), b), lo = v_min(v_min(r, g), b), range = hi - lo;
    vf inv = 1 / v_select(range > none, range, one);
    vf of_r = (g - b) * inv, of_g = 2 + (b - r) * inv, of_b = 4 + (r - g) * inv;
    vf h = turn + v_select(hi == r, of_r, v_select(hi == g, of_g, of_b)) + 12; // never negative
    vf out[3];
    for (int32_t c = 0; c < 3; c++) {
      vf k = (float)(5 - 2 * c) + h;
      k -= 6 * v_trunc(k * (1.0f / 6));
      out[c] = v_trunc(hi - range * v_min(v_max(v_min(k, 4 - k), none), one) + 0.5f);
    }
    p->r[i] = out[0], p->g[i] = out[1], p->b[i] = out[2];
  }
}

static void operate(const frt__colour *c, block *p)
{
  for (const frt__colour_op *op = c->op; op < c->op + c->n_ops; op++) {
    vf factor = v_set(op->factor), from = v_set(op->from);
    switch (op->kind) {
    case FRT__BLEND:
      operation(FRT__BLEND, from, factor, p);
      break;
    case FRT__SATURATION:
      operation(FRT__SATURATION, from, factor, p);
      break;
    case FRT__GREY:
      operation(FRT__GREY, from, factor, p);
      break;
    default:
      turn_hue(op->factor, p);
    }
  }
}

// --- in and out ---------------------------------------------------------------------------------
FRT_INLINE void floats(const uint8_t *restrict p, vf *v)
{
  float *restrict x = (float *)v;
  for (int32_t i = 0; i < BLOCK; i++) {
    x[i] = p[i];
  }
}
FRT_INLINE void bytes(const vf *v, uint8_t *restrict p)
{
  const float *restrict x = (const float *)v;
  for (int32_t i = 0; i < BLOCK; i++) {
    p[i] = (uint8_t)(int32_t)x[i];
  }
}

static void load(const frt__colour *c, int64_t at, block *p)
{
  if (at + BLOCK <= c->n) {
    floats(c->plane[0] + at, p->r);
    floats(c->plane[1] + at, p->g);
    floats(c->plane[2] + at, p->b);
  } else {
    uint8_t some[3][BLOCK] = {0};
    for (int32_t k = 0; k < 3; k++) {
      memcpy(some[k], c->plane[k] + at, (size_t)(c->n - at));
    }
    floats(some[0], p->r);
    floats(some[1], p->g);
    floats(some[2], p->b);
  }
}

static void store(const frt__colour *c, int64_t at, const block *p)
{
  if (at + BLOCK <= c->n) {
    bytes(p->r, c->plane[0] + at);
    bytes(p->g, c->plane[1] + at);
    bytes(p->b, c->plane[2] + at);
  } else {
    uint8_t some[3][BLOCK];
    bytes(p->r, some[0]);
    bytes(p->g, some[1]);
    bytes(p->b, some[2]);
    for (int32_t k = 0; k < 3; k++) {
      memcpy(c->plane[k] + at, some[k], (size_t)(c->n - at));
    }
  }
}

static void from_table(const frt__normal *t, const block *p, float *restrict out)
{
  const float *r = (const float *)p->r, *g = (const float *)p->g, *b = (const float *)p->b;
  for (int32_t i = 0; i < BLOCK; i++) {
    out[3 * i] = t->table[0][(int32_t)r[i]];
    out[3 * i + 1] = t->table[1][(int32_t)g[i]];
    out[3 * i + 2] = t->table[2][(int32_t)b[i]];
  }
}

#ifdef __FMA__
// x / y as Markstein rounds it: nearly always right (frt__normal_make looks), 3 instructions.
FRT_INLINE float quotient(float x, float y, float inverse)
{
  float q = x * inverse;
  return __builtin_fmaf(__builtin_fmaf(-q, y, x), inverse, q);
}
FRT_INLINE float normal(float x, float mean, float std, float inverse)
{
  return quotient(quotient(x, 255, 1 / 255.0f) - mean, std, inverse);
}
static void computed(const frt__normal *t, const block *p, float *restrict out)
{
  const float *r = (const float *)p->r, *g = (const float *)p->g, *b = (const float *)p->b;
  float m0 = t->mean[0], m1 = t->mean[1], m2 = t->mean[2];
  float s0 = t->std[0], s1 = t->std[1], s2 = t->std[2];
  float i0 = 1 / s0, i1 = 1 / s1, i2 = 1 / s2;
  for (int32_t i = 0; i < BLOCK; i++) {
    out[3 * i] = normal(r[i], m0, s0, i0);
    out[3 * i + 1] = normal(g[i], m1, s1, i1);
    out[3 * i + 2] = normal(b[i], m2, s2, i2);
  }
}
#else
static void computed(const frt__normal *t, const block *p, float *out)
{
  from_table(t, p, out);
}
#endif

static void normalise(const frt__colour *c, int64_t at, const block *p)
{
  float some[3 * BLOCK], *out = at + BLOCK <= c->n ? c->nhwc + 3 * at : some;
  if (c->normal->exact) {
    computed(c->normal, p, out);
  } else {
    from_table(c->normal, p, out);
  }
  if (out == some) {
    memcpy(c->nhwc + 3 * at, some, (size_t)(c->n - at) * 3 * sizeof(float));
  }
}

FRT_SIMD void FRT_K(colour)(const frt__colour *c)
{
  block p;
  for (int64_t at = 0; at < c->n; at += BLOCK) {
    load(c, at, &p);
    operate(c, &p);
    if (c->nhwc) {
      normalise(c, at, &p);
    } else {
      store(c, at, &p);
    }
  }
}

// The sum of what grey is over the first m pixels.
static int32_t grey_sum(block *p, int32_t m)
{
  for (int32_t i = m; i < BLOCK; i++) {
    p->r[i / FRT_VL][i % FRT_VL] = p->g[i / FRT_VL][i % FRT_VL] = p->b[i / FRT_VL][i % FRT_VL] = 0;
  }
  vi sum = {0};
  for (int32_t i = 0; i < BLOCK / FRT_VL; i++) {
    sum += v_int(grey(p->r[i], p->g[i], p->b[i]));
  }
  int32_t all = 0;
  for (int32_t i = 0; i < FRT_VL; i++) {
    all += sum[i];
  }
  return all;
}

// colour into the planes; the sum of what grey is then.
FRT_SIMD int64_t FRT_K(colour_sum)(const frt__colour *c)
{
  block p;
  int64_t sum = 0;
  for (int64_t at = 0; at < c->n; at += BLOCK) {
    load(c, at, &p);
    operate(c, &p);
    if (c->n_ops > 0) {
      store(c, at, &p);
    }
    sum += grey_sum(&p, (int32_t)FRT_MIN(c->n - at, (int64_t)BLOCK));
  }
  return sum;
}
