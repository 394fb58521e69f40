// conv.c -- a convolution, its gradient by the input and by the weights, in one of these ways: a
// matrix product (1x1), own kernels (depthwise; 3x3 by Winograd), a oneDNN primitive (the rest).
#include "ops/conv/conv.h"
#include "cpu/conv/conv_state.h"

typedef frt__conv conv;

static bool is_f32_4d(const frt_value *v)
{
  return v && v->shape.dtype == FRT_F32 && v->shape.ndim == 4 && frt__numel(&v->shape) > 0;
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
    .act = kind == FRT_DN_CONV ? (frt_act)a[FRT_CONV_ACT] : FRT_ACT_NONE,
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
    .groups = (int64_t)a[FRT_CONV_GROUPS],
    .stride = {(int64_t)a[FRT_CONV_STRIDE],  (int64_t)a[FRT_CONV_STRIDE + 1]},
    .pad = {(int64_t)a[FRT_CONV_PAD],     (int64_t)a[FRT_CONV_PAD + 1],    (int64_t)a[FRT_CONV_PAD + 2],
               (int64_t)a[FRT_CONV_PAD + 3]},
    .dilation = {(int64_t)a[FRT_CONV_DILATION], (int64_t)a[FRT_CONV_DILATION + 1]                               },
  };
}

// Reads each pixel of x by itself.
static bool one_tap(const frt_dn_conv *c)
{
  return c->kh == 1 && c->kw == 1 && !c->pad[0] && !c->pad[1] && !c->pad[2] && !c->pad[3];
}

// The rule is fixed, from shapes alone, so that a run is the same everywhere. Measured on AVX-512
// over the layers of EfficientNet-B4 and ResNet-50 (README.md): Winograd takes 3x3 where it has
// enough tiles, own products the other forward ones; oneDNN's sgemm on plain weights is the fastest
// for 1x1 by the input and by the weights, on the gathered windows of larger filters too. Gradients
// by the input of stride 2 and layers on few channels (a photo's) are left to oneDNN's primitives.
static frt__conv_way choose(const frt_dn_conv *c)
{
  if (c->groups > 1 && c->groups == c->c && c->groups == c->o) {
    const bool own = c->act <= FRT_ACT_RELU6 && c->kh <= FRT_DW_MAX_KERNEL &&
                     c->kw <= FRT_DW_MAX_KERNEL && c->stride[0] <= FRT_DW_MAX_STRIDE &&
                     c->stride[1] <= FRT_DW_MAX_STRIDE;
    return own ? FRT__DEPTHWISE : FRT__ONEDNN;
  }
  if (frt__conv_winograd_can(c, false)) {
    return FRT__WINOGRAD;
  }
  if (frt__conv_dense_can(c)) {
    return FRT__DENSE;
  }
  if (!frt__conv_one_pixel(c)) {
    const bool windows =
      c->kind == FRT_DN_GRAD_WEIGHT && c->groups == 1 && c->c >= 16 && c->o >= 16;
    return windows ? FRT__WINDOWS : FRT__ONEDNN;
  }
  return FRT__GEMM;
}

static bool is_half(const frt_step *s)
{
  return frt__bf16(s->in[0]) || frt__bf16(s->in[1]) || frt__bf16(s->out[0]);
}

bool frt__conv_can(const frt_step *s, frt_dn_kind kind)
{
  if (!is_f32_4d(s->in[0]) || !is_f32_4d(s->in[1]) || !is_f32_4d(s->out[0])) {
    return false;
  }
  const frt_value *b = kind == FRT_DN_CONV && s->n_in > 2 ? s->in[2] : NULL;
  if (is_half(s)) {
    const frt_dn_conv c = numbers(s, kind);
    if (c.groups > 1 && choose(&c) != FRT__DEPTHWISE) {
      return false;
    }
  }
  return !b || (b->shape.dtype == FRT_F32 && b->shape.ndim == 1);
}

// A fused step takes batch norm, activation and gate into the load of x, y's statistics into its
// own pass: by products or the own kernel, whatever a plain step of these shapes would take.
static bool fused(const frt_step *s)
{
  return s->op == &frt_fused_conv2d || s->op == &frt_fused_conv2d_grad_weight;
}

static frt__conv_way choose_for(const frt_step *s, const frt_dn_conv *c)
{
  if (is_half(s) && c->groups == 1) {
    return frt__conv_winograd_can(c, true) ? FRT__WINOGRAD : FRT__HALF;
  }
  const frt__conv_way way = choose(c);
  return fused(s) && frt__conv_one_pixel(c) && way != FRT__DENSE ? FRT__GEMM : way;
}

static int32_t loads_at(frt_dn_kind kind)
{
  return kind == FRT_DN_CONV ? FRT_CONV_LOAD : FRT_CONV_WEIGHT_LOAD;
}

bool frt__conv_can_fuse(const frt_step *s, frt_dn_kind kind)
{
  const int32_t loads = loads_at(kind);
  if (!frt__conv_can(s, kind)) {
    return false;
  }
  for (int32_t i = loads; i < s->n_in; i++) {
    if (s->in[i] && s->in[i]->shape.dtype != FRT_F32) {
      return false;
    }
  }
  const frt_dn_conv c = numbers(s, kind);
  const frt__conv_way way = choose_for(s, &c);
  const frt_value *gate = s->in[loads + FRT_LOAD_GATE];
  const int32_t act_in = (int32_t)s->attr[FRT_FUSED_CONV_LOAD_ACT];
  if (way == FRT__ONEDNN || (way == FRT__WINDOWS && act_in == FRT_ACT_SILU) ||
      (s->n_out > 1 && c.act != FRT_ACT_NONE)) {
    return false;
  }
  // Own products and Winograd take the sum with a map of y's shape before the activation.
  if (kind == FRT_DN_CONV && s->in[FRT_CONV_RESIDUAL] &&
      ((way != FRT__DENSE && way != FRT__WINOGRAD) || is_half(s) || s->n_out > 1)) {
    return false;
  }
  // Only rows as they lie can be computed as they are read.
  if (way == FRT__DENSE && !frt__conv_one_pixel(&c) && (s->in[loads + FRT_LOAD_MEAN] || gate)) {
    return false;
  }
  // A pass for the statistics, or at evaluation for the gate, costs less than leaving the
  // primitive.
  if (way != FRT__HALF && !s->in[loads + FRT_LOAD_MEAN] && (!gate || c.bias) &&
      choose(&c) == FRT__ONEDNN) {
    return false;
  }
  const frt_shape *g = gate ? &gate->shape : NULL;
  const bool gates = way == FRT__GEMM || (way == FRT__HALF && one_tap(&c)) ||
                     (way == FRT__DENSE && frt__conv_one_pixel(&c));
  return !g || (gates && g->ndim == 4 && g->dim[0] == c.n && g->dim[1] == c.c && g->dim[2] == 1 &&
                g->dim[3] == 1);
}

static void read_fused(const frt_step *s, conv *v)
{
  const int32_t loads = loads_at(v->c.kind);
  const double *a = s->attr + FRT_FUSED_CONV_LOAD_ACT;
  v->residual = v->c.kind == FRT_DN_CONV && s->in[FRT_CONV_RESIDUAL];
  v->loads = s->in[loads + FRT_LOAD_MEAN] || s->in[loads + FRT_LOAD_GATE] ? loads : 0;
  v->act_in = (int32_t)a[0];
  v->counts = s->n_out > 1;
  v->counted = v->counts || a[1] > 0 || a[2] > 0; // eps, momentum
  v->bn = (frt_bn){
    .m = v->c.n * v->c.oh * v->c.ow, .c = v->c.o, .eps = (float)a[1], .momentum = (float)a[2]};
}

frt_status frt__conv_plan(frt_step *s, frt_dn_kind kind)
{
  conv *v = frt__zalloc(sizeof *v);
  FRT_CHECK(v, FRT_ENOMEM, "out of memory: a convolution's state");
  s->state = v;
  v->c = numbers(s, kind);
  v->way = choose_for(s, &v->c);
  if (fused(s)) {
    read_fused(s, v);
  }
  static const char *const label[] = {
    NULL,           "onednn gemm", "onednn gemm windows", "own depthwise", "own bf16",
    "own winograd", "own dense"};
  s->label = v->way == FRT__WINOGRAD && is_half(s) ? "own winograd bf16" : label[v->way];
  const frt_dn_conv *c = &v->c;
  switch (v->way) {
  case FRT__GEMM:
  case FRT__WINDOWS:
    s->note = s->note && s->note[0] ? s->note : "matrix product";
    v->parts = v->counts ? frt_threads() : 0;
    s->scratch = frt__conv_gemm_scratch(v);
    return FRT_OK;
  case FRT__DEPTHWISE:
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
      .half_x = frt__bf16(kind == FRT_DN_GRAD_INPUT ? s->out[0] : s->in[0]),
      .half_y = frt__bf16(kind == FRT_DN_CONV          ? s->out[0]
                          : kind == FRT_DN_GRAD_WEIGHT ? s->in[1]
                                                       : s->in[0]),
    };
    v->parts = v->counts ? frt__kernels()->depthwise_team(&v->dw) : 0;
    s->scratch = kind == FRT_DN_GRAD_WEIGHT
                   ? frt__kernels()->depthwise_weight_scratch(&v->dw)
                   : frt__kernels()->depthwise_scratch(&v->dw, kind == FRT_DN_GRAD_INPUT) +
                       frt__conv_counts(v);
    return FRT_OK;
  case FRT__HALF:
    v->parts = v->counts ? frt_threads() : 0;
    FRT_TRY(frt__conv_half_plan(s));
    s->packed = v->half.packed_bytes;
    return FRT_OK;
  case FRT__WINOGRAD:
    frt__conv_winograd_plan(v, s);
    s->scratch = frt__conv_winograd_scratch(v);
    s->packed = v->packed_bytes;
    return FRT_OK;
  case FRT__DENSE:
    frt__conv_dense_plan(v);
    s->scratch = frt__conv_dense_scratch(v);
    s->packed = v->packed_bytes;
    return FRT_OK;
  default:
    FRT_TRY(frt__dn_conv(&v->dn, c));
    s->scratch = frt__dn_scratch(v->dn);
    s->packed = frt__dn_packed(v->dn);
    return FRT_OK;
  }
}

frt_status frt__conv_ready(frt_step *s)
{
  conv *v = s->state;
  if (v->way == FRT__HALF) {
    return frt__half_ready(&v->half);
  }
  if (v->way == FRT__ONEDNN) {
    FRT_TRY(frt__dn_ready(v->dn));
    v->packed_bytes = frt__dn_packed(v->dn);
  }
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
    frt__half_free(&v->half);
    frt__block_free(v->packed, v->packed_bytes);
    frt__free(v);
    s->state = NULL;
  }
}

static void run_depthwise(const conv *v, void *const *in, void *const *out, char *scratch)
{
  const frt_kernels *k = frt__kernels();
  frt_load room;
  const frt_load *load = frt__conv_load(v, in, &room);
  const size_t counts = frt__conv_counts(v);
  double *moments = counts > 0 ? (double *)scratch : NULL;
  switch (v->c.kind) {
  case FRT_DN_CONV:
    if (moments) {
      memset(moments, 0, counts);
    }
    k->depthwise(&v->dw, load, in[0], in[1], v->c.bias ? in[2] : NULL, out[0], moments,
                 scratch + counts);
    frt__conv_finish_counts(v, moments, in, out);
    break;
  case FRT_DN_GRAD_INPUT:
    k->depthwise_grad_input(&v->dw, in[0], in[1], out[0], scratch);
    break;
  default:
    k->depthwise_grad_weight(&v->dw, load, in[0], in[1], out[0], scratch);
  }
}

static size_t room_for(size_t bytes)
{
  return (bytes + 63) / 64 * 64; // what follows is aligned
}

size_t frt__conv_pass_scratch(const frt__conv *v, size_t own, size_t packed)
{
  return room_for(frt__conv_counts(v)) + own + (frt__conv_keeps(v) ? 0 : packed);
}

void frt__conv_begin(const frt__conv *v, const void *packed, void *const *in, char *scratch,
                     size_t own, frt__conv_pack_fn *pack, frt__conv_pass *pass)
{
  const size_t counts = room_for(frt__conv_counts(v));
  *pass = (frt__conv_pass){.packed = packed,
                           .bias = v->c.bias ? in[2] : NULL,
                           .residual = v->residual ? in[FRT_CONV_RESIDUAL] : NULL,
                           .moments = v->counts ? (double *)scratch : NULL,
                           .scratch = scratch + counts};
  pass->load = frt__conv_load(v, in, &pass->room);
  if (pass->moments) {
    memset(pass->moments, 0, counts);
  }
  if (!packed) {
    void *to = scratch + counts + own;
    pack(v, in[1], to);
    pass->packed = to;
  }
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
    if (v->way == FRT__WINOGRAD) {
      frt__conv_winograd_pack(v, w, v->packed);
    } else if (v->way == FRT__DENSE) {
      frt__conv_dense_pack(v, w, v->packed);
    } else {
      FRT_TRY(frt__dn_pack(v->dn, w, v->packed));
    }
    v->version = version;
    v->from = w;
  }
  *out = v->packed;
  return FRT_OK;
}

frt_status frt__conv_run(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  const conv *v = s->state;
  if (v->way == FRT__DEPTHWISE) {
    run_depthwise(v, in, out, scratch);
    return FRT_OK;
  }
  if (v->way == FRT__HALF) {
    return frt__conv_half(s, in, out, scratch);
  }
  if (v->way == FRT__GEMM || v->way == FRT__WINDOWS) {
    return frt__conv_gemm(v, in, out, scratch);
  }
  const void *w = in[1];
  if (v->c.kind != FRT_DN_GRAD_WEIGHT) {
    FRT_TRY(packed_weights(s, in[1], &w));
  }
  if (v->way == FRT__WINOGRAD) {
    frt__conv_winograd(v, v->packed ? w : NULL, in, out, scratch);
    return FRT_OK;
  }
  if (v->way == FRT__DENSE) {
    frt__conv_dense(v, v->packed ? w : NULL, in, out, scratch);
    return FRT_OK;
  }
  return frt__dn_run(v->dn, in[0], w, v->c.bias ? in[2] : NULL, out[0], scratch);
}
