// conv.c -- a convolution, its gradient by the input and by the weights, each in one of several
// variants: a matrix product (1x1), own kernels (depthwise; 3x3 by Winograd; dense products), a
// oneDNN primitive (the rest).
#include "cpu/conv/conv.h"
#include "ops/conv/conv.h"

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

frt_conv_shape frt__conv_shape(const frt_dn_conv *c, const frt_step *s)
{
  const bool back = c->kind == FRT_DN_GRAD_INPUT && c->groups == 1;
  const frt_value *x = c->kind == FRT_DN_GRAD_INPUT && !back ? s->out[0] : s->in[0];
  const frt_value *y = c->kind == FRT_DN_GRAD_WEIGHT    ? s->in[1]
                       : c->kind == FRT_DN_CONV || back ? s->out[0]
                                                        : s->in[0];
  return (frt_conv_shape){
    .n = c->n,
    .c = back ? c->o : c->c,
    .h = back ? c->oh : c->h,
    .w = back ? c->ow : c->w,
    .o = back ? c->c : c->o,
    .oh = back ? c->h : c->oh,
    .ow = back ? c->w : c->ow,
    .kh = (int32_t)c->kh,
    .kw = (int32_t)c->kw,
    .stride_h = (int32_t)c->stride[0],
    .stride_w = (int32_t)c->stride[1],
    .dil_h = (int32_t)c->dilation[0],
    .dil_w = (int32_t)c->dilation[1],
    .top = (int32_t)(back ? (c->kh - 1) * c->dilation[0] - c->pad[0] : c->pad[0]),
    .left = (int32_t)(back ? (c->kw - 1) * c->dilation[1] - c->pad[1] : c->pad[1]),
    .act = (int32_t)c->act,
    .bf16 = frt__bf16(x) || frt__bf16(y),
    .bf16_x = frt__bf16(x),
    .bf16_y = frt__bf16(y),
  };
}

// --- depthwise -----------------------------------------------------------------------------------
static bool can_depthwise(const frt_dn_conv *c, bool bf16)
{
  (void)bf16;
  return c->groups > 1 && c->groups == c->c && c->groups == c->o && c->act <= FRT_ACT_RELU6 &&
         c->kh <= FRT_DW_MAX_KERNEL && c->kw <= FRT_DW_MAX_KERNEL &&
         c->stride[0] <= FRT_DW_MAX_STRIDE && c->stride[1] <= FRT_DW_MAX_STRIDE;
}

static uint32_t takes_depthwise(const frt_dn_conv *c, bool bf16)
{
  (void)c, (void)bf16;
  return FRT__LOAD | FRT__STATS;
}

static frt_status plan_depthwise(frt_step *s)
{
  const frt_kernels *k = frt__kernels();
  frt__conv *v = s->state;
  const frt_dn_kind kind = v->c.kind;
  v->shape = frt__conv_shape(&v->c, s);
  v->parts = v->counts ? k->depthwise_team(&v->shape) : 0;
  s->scratch = kind == FRT_DN_GRAD_WEIGHT
                 ? k->depthwise_weight_scratch(&v->shape)
                 : k->depthwise_scratch(&v->shape, kind == FRT_DN_GRAD_INPUT) + frt__conv_counts(v);
  return FRT_OK;
}

static frt_status run_depthwise(const frt_step *s, const void *packed, void *const *in,
                                void *const *out, void *scratch)
{
  (void)packed;
  const frt__conv *v = s->state;
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
    k->depthwise(&v->shape, load, in[0], in[1], v->c.bias ? in[2] : NULL, out[0], moments,
                 (char *)scratch + counts);
    frt__conv_finish_counts(v, moments, in, out);
    break;
  case FRT_DN_GRAD_INPUT:
    k->depthwise_grad_input(&v->shape, in[0], in[1], out[0], scratch);
    break;
  default:
    k->depthwise_grad_weight(&v->shape, load, in[0], in[1], out[0], scratch);
  }
  return FRT_OK;
}

static const frt__conv_variant depthwise = {
  .name = "own depthwise",
  .note = "own depthwise",
  .can = can_depthwise,
  .takes = takes_depthwise,
  .plan = plan_depthwise,
  .run = run_depthwise,
};

// --- oneDNN's primitive --------------------------------------------------------------------------
static bool can_onednn(const frt_dn_conv *c, bool bf16)
{
  (void)c;
  return !bf16;
}

static frt_status plan_onednn(frt_step *s)
{
  frt__conv *v = s->state;
  FRT_TRY(frt__dn_conv(&v->dn, &v->c));
  s->scratch = frt__dn_scratch(v->dn);
  s->packed = frt__dn_packed(v->dn);
  return FRT_OK;
}

static frt_status ready_onednn(frt__conv *v)
{
  FRT_TRY(frt__dn_ready(v->dn));
  v->packed_bytes = frt__dn_packed(v->dn);
  return FRT_OK;
}

static frt_status pack_onednn(const frt__conv *v, const float *w, void *packed)
{
  return frt__dn_pack(v->dn, w, packed);
}

static frt_status run_onednn(const frt_step *s, const void *packed, void *const *in,
                             void *const *out, void *scratch)
{
  const frt__conv *v = s->state;
  return frt__dn_run(v->dn, in[0], packed ? packed : in[1], v->c.bias ? in[2] : NULL, out[0],
                     scratch);
}

static void free_onednn(frt__conv *v)
{
  frt__dn_free(v->dn);
}

static const frt__conv_variant onednn = {
  .can = can_onednn,
  .plan = plan_onednn,
  .ready = ready_onednn,
  .pack = pack_onednn,
  .run = run_onednn,
  .free = free_onednn,
};

// --- the choice ----------------------------------------------------------------------------------
// The first that can. The order is fixed, and `can` goes by shapes alone, so that a run is the same
// everywhere. Measured on AVX-512 over the layers of EfficientNet-B4 and ResNet-50 (README.md):
// Winograd takes 3x3 where it has enough tiles, own products the other forward ones; oneDNN's sgemm
// on plain weights is the fastest for 1x1 by the input and by the weights, on the gathered windows
// of larger filters too. Gradients by the input of stride 2 and layers on few channels (a photo's)
// are left to oneDNN's primitives.
static const frt__conv_variant *const variants[] = {
  &depthwise,      &frt__conv_winograd, &frt__conv_bf16, &frt__conv_dense,
  &frt__conv_gemm, &frt__conv_windows,  &onednn,
};

static const frt__conv_variant *choose(const frt_dn_conv *c, bool bf16)
{
  for (int32_t i = 0; i < FRT_COUNT(variants); i++) {
    if (variants[i]->can(c, bf16)) {
      return variants[i];
    }
  }
  return NULL;
}

static bool is_bf16(const frt_step *s)
{
  return frt__bf16(s->in[0]) || frt__bf16(s->in[1]) || frt__bf16(s->out[0]);
}

static bool can(const frt_step *s, frt_dn_kind kind)
{
  if (!is_f32_4d(s->in[0]) || !is_f32_4d(s->in[1]) || !is_f32_4d(s->out[0])) {
    return false;
  }
  const frt_value *b = kind == FRT_DN_CONV && s->n_in > 2 ? s->in[2] : NULL;
  const frt_dn_conv c = numbers(s, kind);
  return (!b || (b->shape.dtype == FRT_F32 && b->shape.ndim == 1)) && choose(&c, is_bf16(s));
}

// --- fused steps: what stands before and after the convolution in its own pass
// --------------------
static bool fused(const frt_step *s)
{
  return s->op == &frt_op_fused_conv2d || s->op == &frt_op_fused_conv2d_grad_weight;
}

static int32_t loads_at(frt_dn_kind kind)
{
  return kind == FRT_DN_CONV ? FRT_CONV_LOAD : FRT_CONV_WEIGHT_LOAD;
}

static uint32_t wants(const frt_step *s, frt_dn_kind kind)
{
  const int32_t loads = loads_at(kind);
  return (s->in[loads + FRT_LOAD_MEAN] ? FRT__LOAD : 0) |
         (s->in[loads + FRT_LOAD_GATE] ? FRT__GATE : 0) |
         (kind == FRT_DN_CONV && s->in[FRT_CONV_RESIDUAL] ? FRT__RESIDUAL : 0) |
         (s->n_out > 1 ? FRT__STATS : 0);
}

static bool can_fuse(const frt_step *s, frt_dn_kind kind)
{
  const int32_t loads = loads_at(kind);
  if (!can(s, kind)) {
    return false;
  }
  for (int32_t i = loads; i < s->n_in; i++) {
    if (s->in[i] && s->in[i]->shape.dtype != FRT_F32) {
      return false;
    }
  }
  const frt_dn_conv c = numbers(s, kind);
  const bool bf16 = is_bf16(s);
  const frt__conv_variant *v = choose(&c, bf16);
  const uint32_t asked = wants(s, kind);
  if (!v->takes || (asked & ~v->takes(&c, bf16)) ||
      (asked & FRT__STATS && (c.act != FRT_ACT_NONE || asked & FRT__RESIDUAL))) {
    return false;
  }
  // A pass for the statistics, or at evaluation for the gate, costs less than leaving oneDNN's
  // primitive.
  if (v != &frt__conv_bf16 && !(asked & FRT__LOAD) && (!(asked & FRT__GATE) || c.bias) &&
      choose(&c, false) == &onednn) {
    return false;
  }
  if (v == &frt__conv_windows && s->attr[FRT_FUSED_CONV_LOAD_ACT] == FRT_ACT_SILU) {
    return false; // its windows overlap: each number would be computed several times
  }
  const frt_value *gate = s->in[loads + FRT_LOAD_GATE];
  const frt_shape *g = gate ? &gate->shape : NULL;
  return !g ||
         (g->ndim == 4 && g->dim[0] == c.n && g->dim[1] == c.c && g->dim[2] == 1 && g->dim[3] == 1);
}

static void read_fused(const frt_step *s, frt__conv *v)
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

// --- the kernels ---------------------------------------------------------------------------------
static frt_status plan(frt_step *s, frt_dn_kind kind)
{
  frt__conv *v = frt__zalloc(sizeof *v);
  FRT_CHECK(v, FRT_ENOMEM, "out of memory: a convolution's state");
  const bool bf16 = is_bf16(s);
  s->state = v;
  v->c = numbers(s, kind);
  v->variant = choose(&v->c, bf16);
  if (fused(s)) {
    read_fused(s, v);
  }
  s->label = bf16 && v->variant->name_bf16 ? v->variant->name_bf16 : v->variant->name;
  s->note = s->note && s->note[0] ? s->note : v->variant->note;
  FRT_TRY(v->variant->plan(s));
  s->packed = FRT_MAX(s->packed, v->packed_bytes);
  return FRT_OK;
}

static frt_status ready(frt_step *s)
{
  frt__conv *v = s->state;
  if (v->variant->ready) {
    FRT_TRY(v->variant->ready(v));
  }
  if (v->packed_bytes > 0 && !v->packed) {
    FRT_TRY(frt__block_new(&v->packed, v->packed_bytes, "packed weights of a convolution"));
  }
  return FRT_OK;
}

static void drop(frt_step *s)
{
  frt__conv *v = s->state;
  if (v) {
    if (v->variant->free) {
      v->variant->free(v);
    }
    frt__block_free(v->packed, v->packed_bytes);
    frt__free(v);
    s->state = NULL;
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

frt_status frt__conv_begin(const frt__conv *v, const void *packed, void *const *in, char *scratch,
                           size_t own, frt__conv_pass *pass)
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
    FRT_TRY(v->variant->pack(v, in[1], to));
    pass->packed = to;
  }
  return FRT_OK;
}

// The packed copy of the weights, made again only when they may have changed; NULL: none is kept.
static frt_status packed_weights(const frt_step *s, const void *w, const void **out)
{
  frt__conv *v = s->state;
  *out = v->packed;
  if (!v->packed) {
    return FRT_OK;
  }
  const uint64_t version = s->in_version ? s->in_version[1] : 0;
  if (version == 0 || version != v->version || w != v->from) {
    v->version = 0;
    FRT_TRY(v->variant->pack(v, w, v->packed));
    v->version = version;
    v->from = w;
  }
  return FRT_OK;
}

static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  const frt__conv *v = s->state;
  const void *packed = NULL;
  if (v->c.kind != FRT_DN_GRAD_WEIGHT) {
    FRT_TRY(packed_weights(s, in[1], &packed));
  }
  return v->variant->run(s, packed, in, out, scratch);
}

#define CONV(id, kind, may)                                                                        \
  static bool can_##id(const frt_step *s)                                                          \
  {                                                                                                \
    return may(s, kind);                                                                           \
  }                                                                                                \
  static frt_status plan_##id(frt_step *s)                                                         \
  {                                                                                                \
    return plan(s, kind);                                                                          \
  }
#define CONV_FIELDS(id)                                                                            \
  .name = "onednn", .channels_last = true, .can = can_##id, .plan = plan_##id, .ready = ready,     \
  .run = run, .free = drop, .product = true
CONV(conv2d, FRT_DN_CONV, can)
CONV(conv2d_grad_input, FRT_DN_GRAD_INPUT, can)
CONV(conv2d_grad_weight, FRT_DN_GRAD_WEIGHT, can)
CONV(fused_conv2d, FRT_DN_CONV, can_fuse)
CONV(fused_conv2d_grad_weight, FRT_DN_GRAD_WEIGHT, can_fuse)

// clang-format off
FRT_KERNEL(conv2d) = {
  CONV_FIELDS(conv2d),
  .plain_in = 6, // weights and bias
  .bf16_in = 1,
  .bf16_out = 1,
};
FRT_KERNEL(conv2d_grad_input) = {
  CONV_FIELDS(conv2d_grad_input),
  .plain_in = 2, // weights
  .bf16_in = 1,
  .bf16_out = 1,
};
FRT_KERNEL(conv2d_grad_weight) = {
  CONV_FIELDS(conv2d_grad_weight),
  .plain_out = 1, // weights
  .bf16_in = 3,
};
FRT_KERNEL(fused_conv2d) = {
  CONV_FIELDS(fused_conv2d),
  .plain_in = 6, // weights and bias
  .bf16_in = 1,
  .bf16_out = 1,
};
FRT_KERNEL(fused_conv2d_grad_weight) = {
  CONV_FIELDS(fused_conv2d_grad_weight),
  .plain_out = 1, // weights
  .bf16_in = 3,
};
// clang-format on
