// shadow.c -- a backend that finds every shortcut on this machine: plain-C kernels behind a device
// whose memory the host can't touch. A plug-in as any other, linked with nothing of the library.
//
// Its memory is one reserved range that nobody may read or write but while a job runs or bytes are
// copied in or out. Values lie at other alignments than the CPU's, maps of some ops channels-last,
// nothing in place. Jobs are queued and run when they are waited for. A job is captured with its
// addresses: `captures` counts how often they were others than before, `jobs` how many ran.
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "device/backend.h"

static const frt_services *core;

enum { ALIGNMENT = 512, SLACK = 256 };
static const size_t RESERVED = (size_t)64 << 30;

// --- memory -------------------------------------------------------------------------------------
// Blocks in the order of their addresses; gaps between them are free. All of it is open or closed.
typedef struct block {
  size_t at, bytes;
  struct block *next;
} block;

typedef struct region {
  char *base;
  size_t top; // the highest end of a block there ever was
  block *first;
  int32_t open;
} region;
static region memory;

static size_t rounded(size_t bytes)
{
  return (bytes + SLACK + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static frt_status protect(bool open)
{
  memory.open += open ? 1 : -1;
  if (memory.top == 0 || memory.open > (open ? 1 : 0)) {
    return FRT_OK;
  }
  if (mprotect(memory.base, memory.top, open ? PROT_READ | PROT_WRITE : PROT_NONE) != 0) {
    return core->error_set(FRT_EDEVICE, "shadow: its memory can't be opened");
  }
  return FRT_OK;
}

static frt_status shadow_alloc(void *owner, size_t bytes, void **at)
{
  (void)owner;
  const size_t want = rounded(bytes), page = 4096;
  size_t from = 0;
  block **link = &memory.first;
  while (*link && (*link)->at - from < want) {
    from = (*link)->at + (*link)->bytes;
    link = &(*link)->next;
  }
  block *made = core->alloc(sizeof *made);
  if (!made || from + want > RESERVED) {
    core->free(made);
    return core->error_set(FRT_ENOMEM, "out of memory: shadow");
  }
  *made = (block){.at = from, .bytes = want, .next = *link};
  *link = made;
  if (from + want > memory.top) {
    const size_t top = (from + want + page - 1) / page * page;
    mprotect(memory.base + memory.top, top - memory.top,
             memory.open > 0 ? PROT_READ | PROT_WRITE : PROT_NONE);
    memory.top = top;
  }
  *at = memory.base + from;
  return FRT_OK;
}

static void shadow_free(void *owner, void *at, size_t bytes)
{
  (void)owner, (void)bytes;
  for (block **link = &memory.first; *link; link = &(*link)->next) {
    if (memory.base + (*link)->at == at) {
      block *gone = *link;
      *link = gone->next;
      core->free(gone);
      return;
    }
  }
}

static frt_status move(void *dst, const void *src, size_t bytes)
{
  FRT_TRY(protect(true));
  memcpy(dst, src, bytes);
  return protect(false);
}
static frt_status upload(void *owner, void *at, const void *src, size_t bytes)
{
  (void)owner;
  return move(at, src, bytes);
}
static frt_status download(void *owner, void *dst, const void *at, size_t bytes)
{
  (void)owner;
  return move(dst, at, bytes);
}
static frt_status fill(void *owner, void *at, int byte, size_t bytes)
{
  (void)owner;
  FRT_TRY(protect(true));
  memset(at, byte, bytes);
  return protect(false);
}

static frt_memory_space space = {.name = "shadow",
                                 .alloc = shadow_alloc,
                                 .free = shadow_free,
                                 .upload = upload,
                                 .download = download,
                                 .copy = upload,
                                 .fill = fill};

// --- kernels ------------------------------------------------------------------------------------
// Ops whose 4-D operands are taken channels-last, and those of their operands that stay plain.
static const struct {
  const char *op;
  uint32_t plain_in;
} last[] = {
  {"conv2d",              2},
  {"conv2d_grad_input",   2},
  {"max_pool2d",          0},
  {"max_pool2d_grad",     0},
  {"avg_pool2d",          0},
  {"avg_pool2d_grad",     0},
  {"batch_norm",          0},
  {"batch_norm_train",    0},
  {"batch_norm_grad",     0},
  {"silu",                0},
  {"silu_grad",           0},
  {"interpolate",         0},
  {"adaptive_avg_pool2d", 0},
  {"mul",                 0},
  {"relu",                0},
};

// The bytes of an operand in the reference's order; `back`: from there.
static void reorder(const frt_value *v, const char *from, char *to, bool back)
{
  const int64_t *dim = v->shape.dim, hw = dim[2] * dim[3];
  const size_t item = frt__item_bytes(v);
  for (int64_t n = 0; n < dim[0]; n++) {
    for (int64_t c = 0; c < dim[1]; c++) {
      for (int64_t i = 0; i < hw; i++) {
        const size_t plain = (size_t)((n * dim[1] + c) * hw + i) * item;
        const size_t other = (size_t)((n * hw + i) * dim[1] + c) * item;
        memcpy(to + (back ? other : plain), from + (back ? plain : other), item);
      }
    }
  }
}

static bool is_last(const frt_value *v)
{
  return v && v->layout == FRT_CHANNELS_LAST && v->shape.ndim == 4;
}

static frt_status plan(frt_step *s)
{
  s->scratch = 0;
  for (int32_t k = 0; k < s->n_in + s->n_out; k++) {
    const frt_value *v = k < s->n_in ? s->in[k] : s->out[k - s->n_in];
    s->scratch += is_last(v) ? rounded(frt__value_bytes(v)) : 0;
  }
  return FRT_OK;
}

static frt_status run_last(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  void *args[64];
  char *room = scratch;
  if (s->n_in + s->n_out > 64) {
    return core->error_set(FRT_EDEVICE, "shadow: %s has too many operands", s->op->name);
  }
  for (int32_t k = 0; k < s->n_in + s->n_out; k++) {
    const bool input = k < s->n_in;
    const frt_value *v = input ? s->in[k] : s->out[k - s->n_in];
    args[k] = input ? in[k] : out[k - s->n_in];
    if (is_last(v)) {
      if (input) {
        reorder(v, in[k], room, false);
      }
      args[k] = room;
      room += rounded(frt__value_bytes(v));
    }
  }
  FRT_TRY(core->reference(s->op)->run(s, args, args + s->n_in, NULL));
  for (int32_t k = 0; k < s->n_out; k++) {
    if (is_last(s->out[k])) {
      reorder(s->out[k], args[s->n_in + k], out[k], true);
    }
  }
  return FRT_OK;
}

enum { KERNELS = 32 };
static frt_kernel made[KERNELS];
static const frt_op *made_for[KERNELS];
static int32_t n_made;

static const frt_kernel *kernel(frt_device *d, const frt_op *op)
{
  (void)d;
  const frt_kernel *plain = core->reference(op);
  for (int32_t i = 0; i < n_made; i++) {
    if (made_for[i] == op) {
      return &made[i];
    }
  }
  for (int32_t i = 0; plain && i < FRT_COUNT(last) && n_made < KERNELS; i++) {
    if (strcmp(last[i].op, op->name) == 0) {
      made[n_made] = *plain;
      made[n_made].name = "shadow";
      made[n_made].channels_last = true;
      made[n_made].plain_in = last[i].plain_in;
      made[n_made].plan = plan;
      made[n_made].run = run_last;
      made_for[n_made] = op;
      return &made[n_made++];
    }
  }
  return plain;
}

// --- running ------------------------------------------------------------------------------------
// A job that waits, and what it was captured with: of each list of steps the addresses it saw.
typedef struct capture {
  frt_step *const *step;
  uint64_t addresses;
} capture;
static capture *captures;
static int32_t n_captures, cap_captures;
static int64_t n_jobs, n_captured;
static uint64_t queued;

static uint64_t mix(uint64_t h, uint64_t word)
{
  return (h ^ word) * 0x9e3779b97f4a7c15u;
}

static void capture_job(const frt_job *job)
{
  uint64_t h = 1;
  for (int32_t i = 0; i < job->n; i++) {
    const frt_step *s = job->step[i];
    for (int32_t k = 0; k < s->n_in + s->n_out; k++) {
      h = mix(h, (uint64_t)(uintptr_t)s->args[k]);
    }
    h = mix(h, (uint64_t)(uintptr_t)(s->scratch > 0 ? s->room : NULL));
  }
  for (int32_t i = 0; i < n_captures; i++) {
    if (captures[i].step == job->step) {
      n_captured += captures[i].addresses != h;
      captures[i].addresses = h;
      return;
    }
  }
  n_captured++;
  if (n_captures == cap_captures) {
    capture *more = realloc(captures, sizeof *more * (size_t)(cap_captures = 2 * cap_captures + 8));
    if (!more) {
      return;
    }
    captures = more;
  }
  captures[n_captures++] = (capture){job->step, h};
}

static frt_status run(frt_device *d, frt_job *job, uint64_t *ticket)
{
  (void)d;
  capture_job(job);
  *ticket = ++queued;
  return FRT_OK;
}

static frt_status wait_job(frt_device *d, uint64_t ticket, frt_job *job)
{
  (void)d;
  if (ticket != queued) {
    return core->error_set(FRT_EDEVICE, "shadow: jobs are waited for in order");
  }
  n_jobs++;
  FRT_TRY(protect(true));
  frt_status status = core->run_in_order(job);
  frt_status closed = protect(false);
  return status != FRT_OK ? status : closed;
}

static void drop(frt_device *d, frt_step *const *step, int32_t n)
{
  (void)d, (void)n;
  for (int32_t i = 0; i < n_captures; i++) {
    if (captures[i].step == step) {
      captures[i--] = captures[--n_captures];
    }
  }
}

// --- the rest -----------------------------------------------------------------------------------
static frt_status open_shadow(frt_device *d, const char *description)
{
  (void)description;
  if (!memory.base) {
    void *base =
      mmap(NULL, RESERVED, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) {
      return core->error_set(FRT_ENOMEM, "shadow: no room for its addresses");
    }
    memory.base = base;
  }
  space.owner = d;
  d->space = &space;
  return FRT_OK;
}

static void info(frt_device *d, frt_device_info *out)
{
  (void)d;
  out->memory = out->free_bytes = -1;
  memcpy(out->banner, "plain C out of the host's reach", 32);
}

static const char *get(frt_device *d, const char *key)
{
  static char text[24];
  (void)d;
  const bool jobs = strcmp(key, "jobs") == 0;
  snprintf(text, sizeof text, "%lld", (long long)(jobs ? n_jobs : n_captured));
  return jobs || strcmp(key, "captures") == 0 ? text : NULL;
}

static uint32_t stores_now(frt_device *d)
{
  (void)d;
  return 1u << FRT_STORE_OWN;
}

static const frt_lowering lowerings[] = {FRT_LOWER_END};

static const frt_backend backend = {
  .abi = FRT_BACKEND_ABI,
  .name = "shadow",
  .flags = FRT_CAPTURES,
  .alignment = ALIGNMENT,
  .slack = SLACK,
  .no_bf16 = "the plain-C ops know no bf16",
  .lowerings = lowerings,
  .open = open_shadow,
  .info = info,
  .get = get,
  .stores_now = stores_now,
  .kernel = kernel,
  .run = run,
  .wait = wait_job,
  .drop = drop,
};

const frt_backend *foodrt_backend(const frt_services *services);
__attribute__((visibility("default"))) const frt_backend *
foodrt_backend(const frt_services *services)
{
  core = services;
  return services->abi == FRT_BACKEND_ABI ? &backend : NULL;
}
