// conv.c -- a convolution, its gradient by the input and by the weights, in one of three ways: a
// matrix product (1x1), an own kernel (depthwise), a oneDNN primitive (everything else).
#include "cpu/conv.h"
#include "cpu/kernels/kernels.h"
#include "cpu/move.h"

// Rows of a tile, columns a tiled result may have, numbers of a thread's part of bias and
// activation.
enum { TILE = 1024, NARROW = 384, PART = 16384 };

typedef enum way { WAY_ONEDNN, WAY_GEMM, WAY_DEPTHWISE } way;

typedef struct conv {
  way way;
  frt_dn_conv c;
  frt_depthwise dw;
  frt_dn *dn;
  void *packed; // weights as the primitive wants them, or NULL
  size_t packed_bytes;
  const void *from; // the plain weights `packed` was made of, and which version of them
  uint64_t version; // 0: not made yet
} conv;

static bool is_f32_4d(const frt_value *v)
{
  return v && v->shape.dtype == FRT_F32 && v->shape.ndim == 4 && frt__numel(&v->shape) > 0;
}

bool frt__conv_can(const frt_step *s, frt_dn_kind kind)
{
  if (!is_f32_4d(s->in[0]) || !is_f32_4d(s->in[1]) || !is_f32_4d(s->out[0])) {
    return false;
  }
  const frt_value *b = kind == FRT_DN_CONV && s->n_in > 2 ? s->in[2] : NULL;
  return !b || (b->shape.dtype == FRT_F32 && b->shape.ndim == 1);
}

static frt_dn_conv numbers(const frt_step *s, frt_dn_kind kind)
{
  const frt_value *x = kind == FRT_DN_GRAD_INPUT ? s->out[0] : s->in[0];
  const frt_value *w = kind == FRT_DN_GRAD_WEIGHT ? s->out[0] : s->in[1];
  const frt_value *y = kind == FRT_DN_CONV          ? s->out[0]
                       : kind == FRT_DN_GRAD_WEIGHT ? s->in[1]
                                                    : s->in[0];
  const double *a = s->attr;
  return (frt_dn_conv){
    .kind = kind,
    .act = kind == FRT_DN_CONV ? (frt_act)a[9] : FRT_ACT_NONE,
    .bias = kind == FRT_DN_CONV && s->n_in > 2 && s->in[2],
    .n = x->shape.dim[0],
    .c = x->shape.dim[1],
    .h = x->shape.dim[2],
    .w = x->shape.dim[3],
    .o = y->shape.dim[1],
    .oh = y->shape.dim[2],
    .ow = y->shape.dim[3],
    .kh = w->shape.dim[2],
    .kw = w->shape.dim[3],
    .groups = (int64_t)a[8],
    .stride = {(int64_t)a[0],  (int64_t)a[1]},
    .pad = {(int64_t)a[2],  (int64_t)a[3], (int64_t)a[4], (int64_t)a[5]},
    .dilation = {(int64_t)a[6], (int64_t)a[7]             },
  };
}

// The rule is fixed, from shapes alone, so that a run is the same everywhere. Measured on AVX-512
// over the layers of EfficientNet-B4 and ResNet-50: oneDNN's sgemm on plain weights is as fast as
// its 1x1 convolutions on packed ones, within 3 %, where the map is 1 x 1 it is 4 to 10 times
// faster, and for gradients by weights 10 to 30 %. It loses 8 to 15 % where many channels become
// fewer.
static way choose(const frt_dn_conv *c)
{
  const int64_t rows = c->n * c->oh * c->ow;
  if (c->groups > 1 && c->groups == c->c && c->groups == c->o) {
    const bool own = c->act <= FRT_ACT_RELU6 && c->kh <= FRT_DW_MAX_KERNEL &&
                     c->kw <= FRT_DW_MAX_KERNEL && c->stride[0] <= FRT_DW_MAX_STRIDE &&
                     c->stride[1] <= FRT_DW_MAX_STRIDE;
    return own ? WAY_DEPTHWISE : WAY_ONEDNN;
  }
  if (c->groups != 1 || c->kh != 1 || c->kw != 1 || c->stride[0] != 1 || c->stride[1] != 1 ||
      c->pad[0] != 0 || c->pad[1] != 0 || c->pad[2] != 0 || c->pad[3] != 0) {
    return WAY_ONEDNN;
  }
  const bool narrows = c->kind == FRT_DN_CONV && c->c >= 256 && c->o < c->c && rows >= 1024;
  return narrows && c->act == FRT_ACT_NONE ? WAY_ONEDNN : WAY_GEMM;
}

// dw = dy^T x is made as (x^T dy)^T where O > C: sgemm wants the longer side in its inner loop,
// which is worth 15 to 30 % once the sum is long enough to pay for turning the result.
static bool turned(const frt_dn_conv *c)
{
  return c->kind == FRT_DN_GRAD_WEIGHT && c->o > c->c && c->n * c->oh * c->ow >= 1024;
}

frt_status frt__conv_plan(frt_step *s, frt_dn_kind kind)
{
  conv *v = frt__zalloc(sizeof *v);
  FRT_CHECK(v, FRT_ENOMEM, "out of memory: a convolution's state");
  s->state = v;
  v->c = numbers(s, kind);
  v->way = choose(&v->c);
  s->label = v->way == WAY_DEPTHWISE ? "own depthwise" : v->way == WAY_GEMM ? "onednn gemm" : NULL;
  const frt_dn_conv *c = &v->c;
  switch (v->way) {
  case WAY_GEMM:
    s->note = s->note && s->note[0] ? s->note : "matrix product";
    s->scratch = turned(c) ? sizeof(float) * (size_t)(c->o * c->c) : 0;
    return FRT_OK;
  case WAY_DEPTHWISE:
    s->note = s->note && s->note[0] ? s->note : "own depthwise";
    v->dw = (frt_depthwise){
      .n = c->n,
      .c = c->c,
      .h = c->h,
      .w = c->w,
      .ho = c->oh,
      .wo = c->ow,
      .kh = (int32_t)c->kh,
      .kw = (int32_t)c->kw,
      .stride_h = (int32_t)c->stride[0],
      .stride_w = (int32_t)c->stride[1],
      .dil_h = (int32_t)c->dilation[0],
      .dil_w = (int32_t)c->dilation[1],
      .top = (int32_t)c->pad[0],
      .left = (int32_t)c->pad[1],
      .act = (int32_t)c->act,
    };
    s->scratch = frt__kernels()->depthwise_scratch(&v->dw, (int32_t)kind);
    return FRT_OK;
  default:
    FRT_TRY(frt__dn_conv(&v->dn, c));
    s->scratch = frt__dn_scratch(v->dn);
    return FRT_OK;
  }
}

frt_status frt__conv_ready(frt_step *s)
{
  conv *v = s->state;
  if (v->way != WAY_ONEDNN) {
    return FRT_OK;
  }
  FRT_TRY(frt__dn_ready(v->dn));
  v->packed_bytes = frt__dn_packed(v->dn);
  if (v->packed_bytes > 0 && !v->packed) {
    FRT_TRY(frt__block_new(&v->packed, v->packed_bytes, "packed weights of a convolution"));
  }
  return FRT_OK;
}

void frt__conv_free(frt_step *s)
{
  conv *v = s->state;
  if (v) {
    frt__dn_free(v->dn);
    frt__block_free(v->packed, v->packed_bytes);
    frt__free(v);
    s->state = NULL;
  }
}

static void run_depthwise(const conv *v, void *const *in, void *const *out, void *scratch)
{
  const frt_kernels *k = frt__kernels();
  switch (v->c.kind) {
  case FRT_DN_CONV:
    k->depthwise(&v->dw, in[0], in[1], v->c.bias ? in[2] : NULL, out[0], scratch);
    break;
  case FRT_DN_GRAD_INPUT:
    k->depthwise_grad_input(&v->dw, in[0], in[1], out[0], scratch);
    break;
  default:
    k->depthwise_grad_weight(&v->dw, in[0], in[1], out[0], scratch);
  }
}

// y = act(x w^T + bias), x [rows, C], w [O, C]. Narrow results go in tiles, so that bias and
// activation find them in the cache: each tile is one thread's product.
static frt_status run_forward(const conv *v, const float *x, const float *w, const float *bias,
                              float *y)
{
  const frt_dn_conv *c = &v->c;
  const frt_kernels *k = frt__kernels();
  const int64_t rows = c->n * c->oh * c->ow, n_in = c->c, n_out = c->o;
  const bool plain = !bias && c->act == FRT_ACT_NONE, tiled = !plain && n_out <= NARROW;
  const int64_t n_tile = (rows + TILE - 1) / TILE;
  if (!tiled || n_tile < frt_threads()) {
    FRT_TRY(frt__dn_sgemm(false, true, rows, n_out, n_in, x, n_in, w, n_in, 0.0f, y, n_out));
    const int64_t part = FRT_MAX((int64_t)1, PART / n_out);
#pragma omp parallel for schedule(static) if (rows > part)
    for (int64_t r = 0; r < (plain ? 0 : rows); r += part) {
      k->bias_act(y + r * n_out, FRT_MIN(part, rows - r), n_out, bias, (int32_t)c->act);
    }
    return FRT_OK;
  }
  int32_t failed = 0;
#pragma omp parallel for schedule(static) reduction(+ : failed)
  for (int64_t i = 0; i < n_tile; i++) {
    const int64_t r = i * TILE, m = FRT_MIN(TILE, rows - r);
    float *tile = y + r * n_out;
    failed += frt__dn_sgemm(false, true, m, n_out, n_in, x + r * n_in, n_in, w, n_in, 0.0f, tile,
                            n_out) != FRT_OK;
    k->bias_act(tile, m, n_out, bias, (int32_t)c->act);
  }
  FRT_CHECK(failed == 0, FRT_EDEVICE, "conv2d: oneDNN's matrix product failed");
  return FRT_OK;
}

// dx = dy w, dw = dy^T x.
static frt_status run_gemm(const conv *v, void *const *in, void *const *out, float *scratch)
{
  const frt_dn_conv *c = &v->c;
  const int64_t rows = c->n * c->oh * c->ow;
  float *y = out[0];
  if (c->kind == FRT_DN_CONV) {
    return run_forward(v, in[0], in[1], c->bias ? in[2] : NULL, y);
  }
  if (c->kind == FRT_DN_GRAD_INPUT) {
    return frt__dn_sgemm(false, false, rows, c->c, c->o, in[0], c->o, in[1], c->c, 0.0f, y, c->c);
  }
  if (!turned(c)) {
    return frt__dn_sgemm(true, false, c->o, c->c, rows, in[1], c->o, in[0], c->c, 0.0f, y, c->c);
  }
  FRT_TRY(
    frt__dn_sgemm(true, false, c->c, c->o, rows, in[0], c->c, in[1], c->o, 0.0f, scratch, c->o));
  frt__move(
    (frt_move){
      .ndim = 2, .dim = {c->o, c->c},
           .from = {1,    c->o},
           .to = {c->c, 1   }
  },
    sizeof(float), scratch, y);
  return FRT_OK;
}

// The packed copy of the weights, made again only when they may have changed.
static frt_status packed_weights(const frt_step *s, const void *w, const void **out)
{
  conv *v = s->state;
  *out = w;
  if (!v->packed) {
    return FRT_OK;
  }
  uint64_t version = s->in_version ? s->in_version[1] : 0;
  if (version == 0 || version != v->version || w != v->from) {
    v->version = 0;
    FRT_TRY(frt__dn_pack(v->dn, w, v->packed));
    v->version = version;
    v->from = w;
  }
  *out = v->packed;
  return FRT_OK;
}

frt_status frt__conv_run(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  const conv *v = s->state;
  if (v->way == WAY_DEPTHWISE) {
    run_depthwise(v, in, out, scratch);
    return FRT_OK;
  }
  if (v->way == WAY_GEMM) {
    return run_gemm(v, in, out, scratch);
  }
  const void *b = in[1];
  if (v->c.kind != FRT_DN_GRAD_WEIGHT) {
    FRT_TRY(packed_weights(s, in[1], &b));
  }
  return frt__dn_run(v->dn, in[0], b, v->c.bias ? in[2] : NULL, out[0], scratch);
}
