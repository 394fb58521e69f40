// onednn.c -- oneDNN 2.x and 3.x behind onednn.h. One engine and one stream for the process; every
// primitive takes its scratch from the plan; oneDNN's own cache shares compiled code between steps.
#include <dnnl.h>
#include <pthread.h>

#include "cpu/onednn.h"

#if DNNL_VERSION_MAJOR >= 3
#define DN3 1
#define MD(m) (m)
typedef dnnl_memory_desc_t own_md;        // ours, to be destroyed
typedef const_dnnl_memory_desc_t some_md; // borrowed
#else
#define DN3 0
#define MD(m) (&(m))
typedef dnnl_memory_desc_t own_md;
typedef const dnnl_memory_desc_t *some_md;
#endif

#define DN_TRY(expr)                                                                               \
  do {                                                                                             \
    dnnl_status_t d_ = (expr);                                                                     \
    FRT_CHECK(d_ == dnnl_success, d_ == dnnl_out_of_memory ? FRT_ENOMEM : FRT_EDEVICE,             \
              "oneDNN: status %d from %s", (int)d_, #expr);                                        \
  } while (0)

// oneDNN's generators end the process where they get no memory, so there is some before they start.
#define DN_ROOM(what)                                                                              \
  FRT_CHECK(frt__room((size_t)32 << 20), FRT_ENOMEM,                                               \
            "out of memory: no room for %s within the limits of this process (ulimit -v, -d)",     \
            what)

enum { A = 0, B = 1, BIAS = 2, Y = 3, SCRATCH = 4, N_SLOT = 5 };

struct frt_dn {
  dnnl_primitive_desc_t pd;
  dnnl_primitive_t prim;
  size_t own_scratch;       // of the primitive
  size_t packed;            // bytes of packed weights
  bool pack_out;            // the packed operand is the output (gradient of weights)
  own_md plain;             // descriptor of the weights as the plan keeps them; valid where packed
  dnnl_primitive_t reorder; // plain -> packed, or back
  dnnl_memory_t plain_mem, packed_mem;
  void *plain_at, *packed_at;
  int32_t n_arg;
  int32_t slot_arg[N_SLOT]; // index into arg, -1 none
  int32_t slot_query[N_SLOT];
  dnnl_exec_arg_t arg[N_SLOT];
  void *at[N_SLOT]; // where the memory object points
};

static dnnl_engine_t engine;
static dnnl_stream_t stream;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static dnnl_status_t engine_status;

static void engine_create(void)
{
  engine_status = dnnl_engine_create(&engine, dnnl_cpu, 0);
  if (engine_status == dnnl_success) {
    engine_status = dnnl_stream_create(&stream, engine, dnnl_stream_default_flags);
  }
}

static frt_status start(void)
{
  pthread_once(&once, engine_create);
  FRT_CHECK(engine_status == dnnl_success, FRT_EDEVICE, "oneDNN: no CPU engine (status %d)",
            (int)engine_status);
  return FRT_OK;
}

// --- memory descriptors -----------------------------------------------------------------------
static dnnl_status_t md_tag(own_md *out, int32_t n, const dnnl_dims_t dims, dnnl_format_tag_t tag)
{
#if DN3
  return dnnl_memory_desc_create_with_tag(out, n, dims, dnnl_f32, tag);
#else
  return dnnl_memory_desc_init_by_tag(out, n, dims, dnnl_f32, tag);
#endif
}

static dnnl_status_t md_strides(own_md *out, int32_t n, const dnnl_dims_t dims,
                                const dnnl_dims_t strides)
{
#if DN3
  return dnnl_memory_desc_create_with_strides(out, n, dims, dnnl_f32, strides);
#else
  return dnnl_memory_desc_init_by_strides(out, n, dims, dnnl_f32, strides);
#endif
}

static void md_free(own_md *m)
{
#if DN3
  if (*m) {
    dnnl_memory_desc_destroy(*m);
    *m = NULL;
  }
#else
  (void)m;
#endif
}

static some_md md_of(const frt_dn *d, dnnl_query_t what)
{
  return dnnl_primitive_desc_query_md(d->pd, what, 0);
}

// --- attributes ---------------------------------------------------------------------------------
static dnnl_status_t append_act(dnnl_post_ops_t ops, frt_act act)
{
  static const struct {
    dnnl_alg_kind_t alg;
    float alpha, beta;
  } by_act[] = {
    [FRT_ACT_SILU] = {dnnl_eltwise_swish,    1, 0},
    [FRT_ACT_RELU] = {dnnl_eltwise_relu,     0, 0},
    [FRT_ACT_RELU6] = {dnnl_eltwise_clip,     0, 6},
    [FRT_ACT_SIGMOID] = {dnnl_eltwise_logistic, 0, 0},
    [FRT_ACT_GELU] = {dnnl_eltwise_gelu_erf, 0, 0},
  };
#if DN3
  return dnnl_post_ops_append_eltwise(ops, by_act[act].alg, by_act[act].alpha, by_act[act].beta);
#else
  return dnnl_post_ops_append_eltwise(ops, 1.0f, by_act[act].alg, by_act[act].alpha,
                                      by_act[act].beta);
#endif
}

static dnnl_status_t attr_new(dnnl_primitive_attr_t *out, frt_act act)
{
  dnnl_post_ops_t ops = NULL;
  dnnl_status_t s = dnnl_primitive_attr_create(out);
  if (s == dnnl_success) {
    s = dnnl_primitive_attr_set_scratchpad_mode(*out, dnnl_scratchpad_mode_user);
  }
  if (s == dnnl_success && act != FRT_ACT_NONE) {
    s = dnnl_post_ops_create(&ops);
    if (s == dnnl_success) {
      s = append_act(ops, act);
    }
    if (s == dnnl_success) {
      s = dnnl_primitive_attr_set_post_ops(*out, ops);
    }
    if (ops) {
      dnnl_post_ops_destroy(ops);
    }
  }
  return s;
}

// --- describing ---------------------------------------------------------------------------------
typedef struct conv_mds {
  own_md x, w, b, y;
} conv_mds;

static dnnl_status_t conv_pd(dnnl_primitive_desc_t *pd, const frt_dn_conv *c, conv_mds *m,
                             dnnl_primitive_attr_t attr, dnnl_primitive_desc_t hint)
{
  dnnl_dims_t st = {c->stride[0], c->stride[1]}, left = {c->pad[0], c->pad[1]},
              right = {c->pad[2], c->pad[3]}, di = {c->dilation[0] - 1, c->dilation[1] - 1};
  const dnnl_alg_kind_t alg = dnnl_convolution_direct;
  some_md b = c->bias ? MD(m->b) : NULL;
#if DN3
  switch (c->kind) {
  case FRT_DN_CONV:
    return dnnl_convolution_forward_primitive_desc_create(
      pd, engine, dnnl_forward_training, alg, m->x, m->w, b, m->y, st, di, left, right, attr);
  case FRT_DN_GRAD_INPUT:
    return dnnl_convolution_backward_data_primitive_desc_create(pd, engine, alg, m->x, m->w, m->y,
                                                                st, di, left, right, hint, attr);
  default:
    return dnnl_convolution_backward_weights_primitive_desc_create(
      pd, engine, alg, m->x, m->w, NULL, m->y, st, di, left, right, hint, attr);
  }
#else
  dnnl_convolution_desc_t desc;
  dnnl_status_t s;
  switch (c->kind) {
  case FRT_DN_CONV:
    s = dnnl_dilated_convolution_forward_desc_init(&desc, dnnl_forward_training, alg, &m->x, &m->w,
                                                   b, &m->y, st, di, left, right);
    break;
  case FRT_DN_GRAD_INPUT:
    s = dnnl_dilated_convolution_backward_data_desc_init(&desc, alg, &m->x, &m->w, &m->y, st, di,
                                                         left, right);
    break;
  default:
    s = dnnl_dilated_convolution_backward_weights_desc_init(&desc, alg, &m->x, &m->w, NULL, &m->y,
                                                            st, di, left, right);
  }
  return s != dnnl_success ? s : dnnl_primitive_desc_create(pd, &desc, attr, engine, hint);
#endif
}

static dnnl_status_t conv_describe(frt_dn *d, const frt_dn_conv *c, conv_mds *m,
                                   dnnl_primitive_attr_t *attr, dnnl_primitive_desc_t *hint)
{
  dnnl_dims_t x = {c->n, c->c, c->h, c->w}, y = {c->n, c->o, c->oh, c->ow}, b = {c->o};
  dnnl_dims_t w = {c->o, c->c, c->kh, c->kw};
  dnnl_dims_t gw = {c->groups, c->o / c->groups, c->c / c->groups, c->kh, c->kw};
  const bool grouped = c->groups > 1;
  dnnl_status_t s = md_tag(&m->x, 4, x, dnnl_nhwc);
  if (s == dnnl_success) {
    s = md_tag(&m->y, 4, y, dnnl_nhwc);
  }
  if (s == dnnl_success) {
    s = md_tag(&m->w, grouped ? 5 : 4, grouped ? gw : w, dnnl_format_tag_any);
  }
  if (s == dnnl_success) {
    s = md_tag(&d->plain, grouped ? 5 : 4, grouped ? gw : w, grouped ? dnnl_goihw : dnnl_oihw);
  }
  if (s == dnnl_success && c->bias) {
    s = md_tag(&m->b, 1, b, dnnl_a);
  }
  if (s == dnnl_success) {
    s = attr_new(attr, c->act);
  }
  if (s == dnnl_success && c->kind != FRT_DN_CONV) {
    frt_dn_conv fwd = *c;
    fwd.kind = FRT_DN_CONV;
    s = conv_pd(hint, &fwd, m, NULL, NULL);
  }
  return s != dnnl_success ? s : conv_pd(&d->pd, c, m, *attr, *hint);
}

// What the primitive wants: its operands by slot, its scratch, its form of the weights.
static void slot(frt_dn *d, int32_t which, int32_t arg, dnnl_query_t query)
{
  d->slot_arg[which] = d->n_arg;
  d->slot_query[which] = (int32_t)query;
  d->arg[d->n_arg++].arg = arg;
}

static void describe_slots(frt_dn *d, frt_dn_kind kind, bool bias)
{
  static const struct {
    int32_t arg[4];
    dnnl_query_t query[4];
  } by_kind[] = {
    [FRT_DN_CONV] = {{DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_BIAS, DNNL_ARG_DST},
                     {dnnl_query_src_md, dnnl_query_weights_md, dnnl_query_weights_md,
                      dnnl_query_dst_md}                },
    [FRT_DN_GRAD_INPUT] = {{DNNL_ARG_DIFF_DST, DNNL_ARG_WEIGHTS, 0, DNNL_ARG_DIFF_SRC},
                     {dnnl_query_diff_dst_md, dnnl_query_weights_md, dnnl_query_weights_md,
                            dnnl_query_diff_src_md}     },
    [FRT_DN_GRAD_WEIGHT] = {{DNNL_ARG_SRC, DNNL_ARG_DIFF_DST, 0, DNNL_ARG_DIFF_WEIGHTS},
                     {dnnl_query_src_md, dnnl_query_diff_dst_md, dnnl_query_weights_md,
                             dnnl_query_diff_weights_md}},
  };
  for (int32_t i = 0; i < N_SLOT; i++) {
    d->slot_arg[i] = -1;
  }
  for (int32_t i = 0; i < 4; i++) {
    if (i != BIAS || bias) {
      slot(d, i, by_kind[kind].arg[i], by_kind[kind].query[i]);
    }
  }
  some_md pad = md_of(d, dnnl_query_scratchpad_md);
  d->own_scratch = (dnnl_memory_desc_get_size(pad) + 63) / 64 * 64;
  if (d->own_scratch > 0) {
    slot(d, SCRATCH, DNNL_ARG_SCRATCHPAD, dnnl_query_scratchpad_md);
  }
}

frt_status frt__dn_conv(frt_dn **out, const frt_dn_conv *c)
{
  *out = NULL;
  DN_ROOM("a kernel");
  FRT_TRY(start());
  frt_dn *d = frt__zalloc(sizeof *d);
  FRT_CHECK(d, FRT_ENOMEM, "out of memory: a convolution's descriptor");
  conv_mds m;
  dnnl_primitive_attr_t attr = NULL;
  dnnl_primitive_desc_t hint = NULL;
  memset(&m, 0, sizeof m);
  dnnl_status_t s = conv_describe(d, c, &m, &attr, &hint);
  if (attr) {
    dnnl_primitive_attr_destroy(attr);
  }
  if (hint) {
    dnnl_primitive_desc_destroy(hint);
  }
  md_free(&m.x);
  md_free(&m.w);
  md_free(&m.b);
  md_free(&m.y);
  if (s != dnnl_success) {
    frt__dn_free(d);
    return frt_error_set(s == dnnl_out_of_memory ? FRT_ENOMEM : FRT_EDEVICE,
                         "oneDNN: no convolution for these shapes (status %d)", (int)s);
  }
  describe_slots(d, c->kind, c->bias);
  const bool grad_weight = c->kind == FRT_DN_GRAD_WEIGHT;
  some_md wanted = md_of(d, grad_weight ? dnnl_query_diff_weights_md : dnnl_query_weights_md);
  d->pack_out = grad_weight;
  if (!dnnl_memory_desc_equal(wanted, MD(d->plain))) {
    d->packed = (dnnl_memory_desc_get_size(wanted) + 63) / 64 * 64;
  }
  *out = d;
  return FRT_OK;
}

static dnnl_status_t matmul_pd(frt_dn *d, own_md *a, own_md *b, own_md *y,
                               dnnl_primitive_attr_t attr)
{
#if DN3
  return dnnl_matmul_primitive_desc_create(&d->pd, engine, *a, *b, NULL, *y, attr);
#else
  dnnl_matmul_desc_t desc;
  dnnl_status_t s = dnnl_matmul_desc_init(&desc, a, b, NULL, y);
  return s != dnnl_success ? s : dnnl_primitive_desc_create(&d->pd, &desc, attr, engine, NULL);
#endif
}

// Dimensions and steps of one operand whose last two dimensions may lie swapped.
static dnnl_status_t matmul_md(own_md *out, int32_t n_batch, const int64_t *batch, int64_t rows,
                               int64_t cols, bool swapped)
{
  dnnl_dims_t dim = {0}, step = {0};
  int64_t at = rows * cols;
  for (int32_t i = n_batch - 1; i >= 0; i--) {
    dim[i] = batch[i];
    step[i] = at;
    at *= batch[i];
  }
  dim[n_batch] = rows;
  dim[n_batch + 1] = cols;
  step[n_batch] = swapped ? 1 : cols;
  step[n_batch + 1] = swapped ? rows : 1;
  return md_strides(out, n_batch + 2, dim, step);
}

frt_status frt__dn_matmul(frt_dn **out, const frt_dn_matmul *c)
{
  *out = NULL;
  DN_ROOM("a kernel");
  FRT_TRY(start());
  frt_dn *d = frt__zalloc(sizeof *d);
  FRT_CHECK(d, FRT_ENOMEM, "out of memory: a matrix product's descriptor");
  own_md a, b, y;
  int64_t batch[4];
  dnnl_primitive_attr_t attr = NULL;
  memset(&a, 0, sizeof a);
  memset(&b, 0, sizeof b);
  memset(&y, 0, sizeof y);
  for (int32_t i = 0; i < c->n_batch; i++) {
    batch[i] = FRT_MAX(c->a_batch[i], c->b_batch[i]);
  }
  dnnl_status_t s = matmul_md(&a, c->n_batch, c->a_batch, c->m, c->k, c->ta);
  if (s == dnnl_success) {
    s = matmul_md(&b, c->n_batch, c->b_batch, c->k, c->n, c->tb);
  }
  if (s == dnnl_success) {
    s = matmul_md(&y, c->n_batch, batch, c->m, c->n, false);
  }
  if (s == dnnl_success) {
    s = attr_new(&attr, FRT_ACT_NONE);
  }
  if (s == dnnl_success) {
    s = matmul_pd(d, &a, &b, &y, attr);
  }
  if (attr) {
    dnnl_primitive_attr_destroy(attr);
  }
  md_free(&a);
  md_free(&b);
  md_free(&y);
  if (s != dnnl_success) {
    frt__dn_free(d);
    return frt_error_set(s == dnnl_out_of_memory ? FRT_ENOMEM : FRT_EDEVICE,
                         "oneDNN: no matrix product for these shapes (status %d)", (int)s);
  }
  describe_slots(d, FRT_DN_CONV, false);
  *out = d;
  return FRT_OK;
}

// --- creating -----------------------------------------------------------------------------------
static frt_status ready_reorder(frt_dn *d, some_md packed)
{
  if (d->plain_mem) {
    return FRT_OK;
  }
  dnnl_primitive_desc_t pd = NULL;
  some_md from = d->pack_out ? packed : MD(d->plain), to = d->pack_out ? MD(d->plain) : packed;
  DN_TRY(dnnl_reorder_primitive_desc_create(&pd, from, engine, to, engine, NULL));
  dnnl_status_t s = d->reorder ? dnnl_success : dnnl_primitive_create(&d->reorder, pd);
  dnnl_primitive_desc_destroy(pd);
  FRT_CHECK(s == dnnl_success, s == dnnl_out_of_memory ? FRT_ENOMEM : FRT_EDEVICE,
            "oneDNN: no reorder of weights (status %d)", (int)s);
  DN_TRY(dnnl_memory_create(&d->plain_mem, MD(d->plain), engine, DNNL_MEMORY_NONE));
  return FRT_OK;
}

frt_status frt__dn_ready(frt_dn *d)
{
  if (!d->prim) {
    DN_ROOM("a kernel");
    DN_TRY(dnnl_primitive_create(&d->prim, d->pd));
  }
  for (int32_t i = 0; i < N_SLOT; i++) {
    if (d->slot_arg[i] < 0 || d->arg[d->slot_arg[i]].memory) {
      continue; // absent, or made by a call that failed later
    }
    some_md md = dnnl_primitive_desc_query_md(d->pd, (dnnl_query_t)d->slot_query[i], i == BIAS);
    dnnl_memory_t *m = &d->arg[d->slot_arg[i]].memory;
    if (d->packed > 0 && i == (d->pack_out ? Y : B)) {
      FRT_TRY(ready_reorder(d, md));
    }
    DN_TRY(dnnl_memory_create(m, md, engine, DNNL_MEMORY_NONE));
    if (d->packed > 0 && i == (d->pack_out ? Y : B)) {
      d->packed_mem = *m;
    }
  }
  return FRT_OK;
}

void frt__dn_free(frt_dn *d)
{
  if (!d) {
    return;
  }
  for (int32_t i = 0; i < d->n_arg; i++) {
    if (d->arg[i].memory) {
      dnnl_memory_destroy(d->arg[i].memory);
    }
  }
  if (d->plain_mem) {
    dnnl_memory_destroy(d->plain_mem);
  }
  if (d->reorder) {
    dnnl_primitive_destroy(d->reorder);
  }
  if (d->prim) {
    dnnl_primitive_destroy(d->prim);
  }
  if (d->pd) {
    dnnl_primitive_desc_destroy(d->pd);
  }
  md_free(&d->plain);
  frt__free(d);
}

size_t frt__dn_scratch(const frt_dn *d)
{
  return d->own_scratch + (d->pack_out ? d->packed : 0);
}

size_t frt__dn_packed(const frt_dn *d)
{
  return d->pack_out ? 0 : d->packed;
}

// --- running ------------------------------------------------------------------------------------
// 2.x writes a blocked form's padding when the handle is set: only when it moves, then.
static frt_status point(dnnl_memory_t m, void **at, const void *to)
{
  if (*at != to) {
    DN_TRY(dnnl_memory_set_data_handle(m, (void *)to));
    *at = (void *)to;
  }
  return FRT_OK;
}

static frt_status point_slot(frt_dn *d, int32_t which, const void *to)
{
  int32_t k = d->slot_arg[which];
  return k < 0 ? FRT_OK : point(d->arg[k].memory, &d->at[which], to);
}

static frt_status reorder(frt_dn *d)
{
  dnnl_exec_arg_t arg[2] = {
    {DNNL_ARG_FROM, d->pack_out ? d->packed_mem : d->plain_mem},
    {DNNL_ARG_TO,   d->pack_out ? d->plain_mem : d->packed_mem},
  };
  DN_TRY(dnnl_primitive_execute(d->reorder, stream, 2, arg));
  DN_TRY(dnnl_stream_wait(stream));
  return FRT_OK;
}

frt_status frt__dn_pack(frt_dn *d, const void *plain, void *packed)
{
  FRT_TRY(point(d->plain_mem, &d->plain_at, plain));
  FRT_TRY(point_slot(d, B, packed));
  return reorder(d);
}

frt_status frt__dn_run(frt_dn *d, const void *a, const void *b, const void *bias, void *y,
                       void *scratch)
{
  const bool unpack = d->pack_out && d->packed > 0;
  FRT_TRY(point_slot(d, A, a));
  FRT_TRY(point_slot(d, B, b));
  FRT_TRY(point_slot(d, BIAS, bias));
  FRT_TRY(point_slot(d, Y, unpack ? (char *)scratch + d->own_scratch : y));
  FRT_TRY(point_slot(d, SCRATCH, scratch));
  DN_TRY(dnnl_primitive_execute(d->prim, stream, d->n_arg, d->arg));
  DN_TRY(dnnl_stream_wait(stream));
  if (unpack) {
    FRT_TRY(point(d->plain_mem, &d->plain_at, y));
    return reorder(d);
  }
  return FRT_OK;
}

frt_status frt__dn_sgemm(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const float *a,
                         int64_t lda, const float *b, int64_t ldb, float beta, float *c,
                         int64_t ldc)
{
  DN_ROOM("a matrix product");
  DN_TRY(dnnl_sgemm(ta ? 'T' : 'N', tb ? 'T' : 'N', m, n, k, 1.0f, a, lda, b, ldb, beta, c, ldc));
  return FRT_OK;
}
