// reference.c -- the backend that runs every op in plain C: the judge of all others. Its kernels
// are offered to any backend with host memory, and are the CPU's where it has none of its own.
#include "device/backend.h"

typedef struct refcall {
  frt_call c;
  frt_status (*forward)(const frt_call *c);
  const frt_shape *shape[];
} refcall;

static frt_status ready(frt_step *s)
{
  refcall *r = frt__zalloc(sizeof *r + sizeof r->shape[0] * (size_t)(s->n_in + s->n_out));
  FRT_CHECK(r, FRT_ENOMEM, "out of memory: %s", s->op->name);
  for (int32_t i = 0; i < s->n_in; i++) {
    r->shape[i] = s->in[i] ? &s->in[i]->shape : NULL;
  }
  for (int32_t k = 0; k < s->n_out; k++) {
    r->shape[s->n_in + k] = &s->out[k]->shape;
  }
  r->c = (frt_call){
    .n_in = s->n_in, .n_out = s->n_out, .xs = r->shape, .ys = r->shape + s->n_in, .attr = s->attr};
  int32_t made = s->n_out > 0 ? s->out[0]->shape.dtype : FRT_F32;
  int32_t read = s->n_in > 0 && s->in[0] ? s->in[0]->shape.dtype : FRT_F32;
  bool wide = made == FRT_F64 || (!frt__is_real(made) && read == FRT_F64);
  r->forward = s->op->forward;
  for (int32_t i = 0; wide && i < frt_op_table_len; i++) {
    if (frt_op_table[i] == s->op) {
      r->forward = frt_op_table64[i]->forward;
    }
  }
  s->state = r;
  return FRT_OK;
}

static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  (void)scratch;
  frt_call c = ((const refcall *)s->state)->c;
  c.x = (const void *const *)in;
  c.y = out;
  return ((const refcall *)s->state)->forward(&c);
}

static void drop(frt_step *s)
{
  frt__free(s->state);
  s->state = NULL;
}

const frt_kernel frt__reference = {.name = "reference", .ready = ready, .run = run, .free = drop};

// --- what moves values --------------------------------------------------------------------------
static frt_status copy(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  (void)scratch;
  memcpy(out[0], in[0], frt__value_bytes(s->in[0]));
  return FRT_OK;
}

// From N C H W to N H W C or back.
static frt_status layout(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  (void)scratch;
  const int64_t *dim = s->in[0]->shape.dim, hw = dim[2] * dim[3];
  const bool to_last = s->out[0]->layout == FRT_CHANNELS_LAST;
  const int64_t rows = to_last ? dim[1] : hw, columns = to_last ? hw : dim[1];
  const size_t item = frt__item_bytes(s->in[0]);
  for (int64_t n = 0; n < dim[0]; n++) {
    const char *x = (const char *)in[0] + (size_t)(n * rows * columns) * item;
    char *y = (char *)out[0] + (size_t)(n * rows * columns) * item;
    for (int64_t i = 0; i < rows; i++) {
      for (int64_t j = 0; j < columns; j++) {
        memcpy(y + (size_t)(j * rows + i) * item, x + (size_t)(i * columns + j) * item, item);
      }
    }
  }
  return FRT_OK;
}

static const frt_kernel copy_kernel = {.name = "reference", .any_layout = true, .run = copy};
static const frt_kernel layout_kernel = {.name = "reference", .any_layout = true, .run = layout};

const frt_kernel *frt__reference_kernel(const frt_op *op)
{
  return op == &frt_fused_copy     ? &copy_kernel
         : op == &frt_fused_layout ? &layout_kernel
         : op->forward             ? &frt__reference
                                   : NULL;
}

// --- the backend --------------------------------------------------------------------------------
static const frt_kernel *kernel(frt_device *d, const frt_op *op)
{
  (void)d;
  return frt__reference_kernel(op);
}

static uint32_t stores_now(frt_device *d)
{
  (void)d;
  return 1u << FRT_STORE_OWN;
}

static void info(frt_device *d, frt_device_info *out)
{
  (void)d;
  out->memory = out->free_bytes = -1;
  memcpy(out->banner, "plain C", 8);
}

static frt_status run_job(frt_device *d, frt_job *job, uint64_t *ticket)
{
  (void)d;
  *ticket = 0;
  return frt__run_in_order(job);
}

const frt_backend frt__backend_reference = {
  .abi = FRT_BACKEND_ABI,
  .name = "reference",
  .flags = FRT_HOST_MEMORY,
  .alignment = 64,
  .slack = 64,
  .no_bf16 = "the plain-C ops know no bf16",
  .info = info,
  .stores_now = stores_now,
  .kernel = kernel,
  .run = run_job,
};
