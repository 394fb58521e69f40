// var.c -- variables: what outlives a graph. Reading, writing, assigning.
#include "ir/graph.h"

#define G frt__graph

frt_status frt__var(frt_ref ref, int32_t *out)
{
  uint64_t bits = (uint64_t)ref;
  int32_t index = (int32_t)(bits & 0x3fffff);
  *out = index;
  FRT_CHECK(frt__names_var(ref), FRT_EARG, "expected a variable, got a computed tensor");
  FRT_CHECK(index < G.n_var && G.var[index].used && G.var[index].gen == (bits >> 22 & 0x3ffff),
            FRT_ESTATE, "stale tensor handle: its variable has been freed");
  return FRT_OK;
}

static frt_status var_new(const frt_shape *shape, int32_t kind, const char *name, int32_t *index)
{
  FRT_CHECK(shape->ndim >= 0 && shape->ndim <= FRT_MAX_DIM, FRT_ESHAPE,
            "tensor: must have at most %d dimensions, got %d", FRT_MAX_DIM, shape->ndim);
  FRT_CHECK(shape->dtype >= FRT_F32 && shape->dtype <= FRT_F16, FRT_EARG, "tensor: no dtype %d",
            shape->dtype);
  double total = 1;
  for (int32_t i = 0; i < shape->ndim; i++) {
    FRT_CHECK(shape->dim[i] > 0, FRT_ESHAPE, "tensor: dimensions must be positive, got %s",
              frt__shape_text(shape));
    total *= (double)shape->dim[i];
  }
  FRT_CHECK(total < 1e15, FRT_ENOMEM, "out of memory: a tensor of shape %s",
            frt__shape_text(shape));
  int32_t at = G.n_unused > 0 ? G.free_var[G.n_unused - 1] : G.n_var;
  FRT_CHECK(at < FRT_MAX_HANDLE, FRT_ENOMEM, "out of memory: more than %d live variables",
            FRT_MAX_HANDLE);
  uint32_t gen = at < G.n_var ? G.var[at].gen : 0;
  FRT_TRY(frt__grow(&G.var, &G.cap_var, at + 1, sizeof *G.var));
  // Room to give every place back, so that freeing cannot fail.
  FRT_TRY(frt__grow(&G.free_var, &G.cap_free_var, at + 1, sizeof *G.free_var));
  FRT_TRY(frt__grow(&G.pending, &G.cap_pending, at + 1, sizeof *G.pending));
  char *copy = NULL;
  if (name && *name && !(copy = frt__strdup(name))) {
    return frt_error_set(FRT_ENOMEM, "out of memory: variable '%s'", name);
  }
  gen = (gen + 1) & 0x3ffff;
  G.var[at] = (frt_var){
    .shape = *shape,
    .kind = (uint8_t)kind,
    .used = true,
    .name = copy,
    .gen = gen + (gen == 0),
    .version = ++G.clock,
    .leaf = -1,
    .current = {-1, 0}
  };
  G.n_unused -= at < G.n_var;
  G.n_var = FRT_MAX(G.n_var, at + 1);
  *index = at;
  return FRT_OK;
}

frt_status frt_var_new(const frt_shape *shape, int32_t kind, const char *name, frt_ref *out)
{
  int32_t at = -1;
  FRT_TRY(var_new(shape, kind, name, &at));
  *out = frt__pack(at, G.var[at].gen, FRT_OUT_VAR);
  return FRT_OK;
}

// The caller's bytes, on the host.
static frt_buffer borrowed(const frt_shape *shape, void *data)
{
  return (frt_buffer){
    .space = data ? &frt__host_memory : NULL, .at = data, .bytes = frt__bytes(shape)};
}

frt_status frt_var_wrap(const frt_shape *shape, void *data, int32_t channels_last, frt_ref *out)
{
  int32_t at = -1;
  FRT_CHECK(!channels_last || shape->ndim == 4, FRT_ESHAPE,
            "tensor: channels-last data must be [N, C, H, W], got %s", frt__shape_text(shape));
  FRT_TRY(var_new(shape, FRT_VAR_INPUT, NULL, &at));
  G.var[at].wrapped = true;
  G.var[at].channels_last = channels_last != 0;
  G.var[at].data = borrowed(shape, data);
  *out = frt__pack(at, G.var[at].gen, FRT_OUT_VAR);
  return FRT_OK;
}

// The bytes have changed: readers recorded from now on read another version.
static void moved(frt_var *v)
{
  v->version = ++G.clock;
  v->leaf = -1;
}

frt_status frt_var_rebind(frt_ref var, void *data)
{
  int32_t at;
  FRT_TRY(frt__var(var, &at));
  FRT_CHECK(G.var[at].wrapped, FRT_EARG, "rebind: the tensor owns its data");
  G.var[at].data = borrowed(&G.var[at].shape, data);
  G.var[at].gone = data == NULL;
  moved(&G.var[at]);
  return FRT_OK;
}

void frt__var_drop(int32_t at)
{
  frt_var *v = &G.var[at];
  for (int32_t i = 0; i < G.n_pending; i++) {
    if (G.pending[i] == at) {
      memmove(&G.pending[i], &G.pending[i + 1], sizeof *G.pending * (size_t)(G.n_pending - i - 1));
      G.n_pending--;
      break;
    }
  }
  if (!v->wrapped) {
    frt__buffer_free(&v->data);
  }
  frt__free(v->name);
  G.free_var[G.n_unused++] = at;
  *v = (frt_var){
    .gen = v->gen, .leaf = -1, .current = {-1, 0},
            .version = ++G.clock
  };
}

void frt_var_free(frt_ref var)
{
  int32_t at;
  if (frt__var(var, &at) != FRT_OK) {
    return;
  }
  if (G.var[at].leaf >= 0 && !G.var[at].wrapped) {
    G.var[at].released = true; // recorded nodes may read it: the sweep that frees them drops it
  } else {                     // borrowed bytes go now, and readers are stale
    frt__var_drop(at);
  }
}

frt_status frt_var_requires_grad(frt_ref var, int32_t on)
{
  int32_t at;
  FRT_TRY(frt__var(var, &at));
  FRT_CHECK(!on || frt__is_real(G.var[at].shape.dtype), FRT_EARG,
            "requires_grad: needs a float tensor, got %s", frt__dtype_name(G.var[at].shape.dtype));
  G.var[at].requires_grad = on != 0;
  return FRT_OK;
}

int32_t frt_is_var(frt_ref t)
{
  return frt__names_var(t);
}

frt_status frt_assign(frt_ref var, frt_ref value)
{
  int32_t at;
  frt_link l;
  FRT_TRY(frt__var(var, &at));
  FRT_TRY(frt__link(value, &l));
  const frt_shape *s = frt__link_shape(l);
  frt_var *v = &G.var[at];
  FRT_CHECK(frt__shape_equal(s, &v->shape) && s->dtype == v->shape.dtype, FRT_ESHAPE,
            "assign: '%s' must be given %s %s, got %s %s", v->name ? v->name : "tensor",
            frt__dtype_name(v->shape.dtype), frt__shape_text(&v->shape), frt__dtype_name(s->dtype),
            frt__shape_text(s));
  FRT_CHECK(!v->wrapped, FRT_EARG, "assign: the tensor's data is borrowed");
  FRT_CHECK(!v->channels_last, FRT_EARG, "assign: the tensor's data is a photo's");
  if (v->current.node < 0) {
    G.pending[G.n_pending++] = at; // room was made when the variable was
  }
  v->current = l;
  return FRT_OK;
}

int32_t frt_pending(void)
{
  return G.n_pending;
}

void frt_forget_pending(void)
{
  for (int32_t i = 0; i < G.n_pending; i++) {
    G.var[G.pending[i]].current.node = -1;
  }
  G.n_pending = 0;
}

void frt__drop_pending(const bool *drop)
{
  const char *name = NULL;
  int32_t kept = 0, n = G.n_pending;
  for (int32_t i = 0; drop && i < n; i++) {
    frt_var *v = &G.var[G.pending[i]];
    if (!drop[i]) {
      G.pending[kept++] = G.pending[i];
      continue;
    }
    v->current.node = -1;
    name = name ? name : v->name ? v->name : "tensor";
  }
  if (!name) {
    return;
  }
  G.n_pending = kept;
  if (n - kept == 1) {
    frt_error_set(FRT_ESTATE, "%s; the assignment of '%s' is dropped", frt_error_last(), name);
  } else {
    frt_error_set(FRT_ESTATE, "%s; the assignments of '%s' and %d more are dropped",
                  frt_error_last(), name, n - kept - 1);
  }
}

frt_status frt__var_known(const frt_var *v)
{
  FRT_CHECK(v->data.space || !v->wrapped, FRT_ESTATE,
            "values can't be looked at while the step is planned");
  return FRT_OK;
}

frt_status frt_var_own(frt_ref var)
{
  int32_t at;
  FRT_TRY(frt__var(var, &at));
  frt_var *v = &G.var[at];
  FRT_CHECK(v->wrapped && v->data.space, FRT_EARG, "own: the tensor has no borrowed data");
  frt_buffer own;
  FRT_TRY(frt__buffer_new(&own, v->data.space, v->data.bytes, v->name ? v->name : "a tensor"));
  frt_status status = frt__buffer_copy(&own, &v->data);
  if (status != FRT_OK) {
    frt__buffer_free(&own);
    return status;
  }
  v->data = own;
  v->wrapped = false;
  return FRT_OK;
}

frt_status frt__var_touch(frt_var *v)
{
  if (v->data.space) {
    return FRT_OK;
  }
  FRT_TRY(frt__var_known(v));
  FRT_TRY(frt__buffer_new(&v->data, &frt__host_memory, frt__bytes(&v->shape),
                          v->name ? v->name : "a tensor"));
  return frt__buffer_fill(&v->data, 0);
}

frt_status frt__var_copy(const frt_var *v, int64_t at, int64_t n, void *dst, const void *src)
{
  const size_t size = frt__dtype_size(v->shape.dtype), from = (size_t)at * size;
  if (!v->channels_last) {
    return dst ? frt__buffer_read(&v->data, from, dst, (size_t)n * size)
               : frt__buffer_write(&v->data, from, src, (size_t)n * size);
  }
  FRT_CHECK(frt__on_host(&v->data), FRT_EARG, "a photo's bytes lie on the host");
  const int64_t c = v->shape.dim[1], hw = v->shape.dim[2] * v->shape.dim[3];
  for (int64_t i = 0; i < n; i++) {
    const int64_t p = at + i, to = (p / (c * hw) * hw + p % hw) * c + p / hw % c;
    char *mine = (char *)v->data.at + (size_t)to * size;
    memcpy(dst ? (char *)dst + (size_t)i * size : mine,
           dst ? mine : (const char *)src + (size_t)i * size, size);
  }
  return FRT_OK;
}

// The variable of a range of elements that may be read or written now.
static frt_status range_of(const char *what, frt_ref var, int64_t from, int64_t n, frt_var **v)
{
  int32_t at;
  FRT_TRY(frt__var(var, &at));
  *v = &G.var[at];
  const int64_t numel = frt__numel(&(*v)->shape);
  FRT_CHECK(from >= 0 && n >= 0 && from <= numel - n, FRT_ESHAPE,
            "%s: %s has %lld elements, got %lld from %lld on", what, frt__shape_text(&(*v)->shape),
            (long long)numel, (long long)n, (long long)from);
  FRT_CHECK((*v)->current.node < 0, FRT_ESTATE, "%s: '%s' has a pending assignment", what,
            (*v)->name ? (*v)->name : "tensor");
  FRT_CHECK(!(*v)->gone, FRT_ESTATE, "%s: %s", what, FRT_BATCH_GONE);
  return frt__var_touch(*v);
}

frt_status frt_var_read(frt_ref var, int64_t at, int64_t n, void *dst)
{
  frt_var *v;
  FRT_TRY(range_of("read", var, at, n, &v));
  FRT_CHECK(!v->torn, FRT_ESTATE, "read: variable '%s' was torn by an interrupted write",
            v->name ? v->name : "?");
  return frt__var_copy(v, at, n, dst, NULL);
}

frt_status frt_var_write(frt_ref var, int64_t at, int64_t n, const void *src)
{
  frt_var *v;
  FRT_TRY(range_of("write", var, at, n, &v));
  FRT_TRY(frt__var_copy(v, at, n, NULL, src));
  v->mended = at == 0 ? n : at == v->mended ? at + n : 0;
  v->torn = v->torn && v->mended < frt__numel(&v->shape);
  moved(v);
  return FRT_OK;
}

frt_status frt_var_swap(frt_ref a, frt_ref b)
{
  int32_t i, j;
  FRT_TRY(frt__var(a, &i));
  FRT_TRY(frt__var(b, &j));
  frt_var *v = &G.var[i], *w = &G.var[j];
  FRT_CHECK(frt__shape_equal(&v->shape, &w->shape) && v->shape.dtype == w->shape.dtype, FRT_ESHAPE,
            "swap: '%s' must be given %s %s, got %s %s", v->name ? v->name : "tensor",
            frt__dtype_name(v->shape.dtype), frt__shape_text(&v->shape),
            frt__dtype_name(w->shape.dtype), frt__shape_text(&w->shape));
  FRT_CHECK(!v->wrapped && !w->wrapped, FRT_EARG, "swap: the tensor's data is borrowed");
  FRT_CHECK(v->channels_last == w->channels_last, FRT_EARG, "swap: the tensor's data is a photo's");
  FRT_CHECK(v->current.node < 0 && w->current.node < 0, FRT_ESTATE,
            "swap: '%s' has a pending assignment", v->name ? v->name : "tensor");
  frt_var old = *v;
  v->data = w->data;
  v->version = w->version;
  v->torn = w->torn;
  w->data = old.data;
  w->version = old.version;
  w->torn = old.torn;
  v->leaf = w->leaf = -1;
  return FRT_OK;
}

const void *frt_var_data(frt_ref var)
{
  int32_t at;
  if (frt__var(var, &at) != FRT_OK || G.var[at].channels_last || G.var[at].current.node >= 0 ||
      G.var[at].torn || frt__var_touch(&G.var[at]) != FRT_OK || !frt__on_host(&G.var[at].data)) {
    return NULL;
  }
  return G.var[at].data.at;
}
