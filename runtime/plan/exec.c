// exec.c -- realize: find or make the plan, bind its slots, run its steps, hand out what was asked
// for.
#include <math.h>
#include <stdio.h>

#include "plan/plan.h"

#define G frt__graph

frt_plan_t *frt__addressed;
static frt_plan_t *last_run;
static int32_t profiling, poison;
// The process's one arena: as large as the largest plan that ran.
static void *arena;
static size_t arena_bytes;

void frt_profile(int32_t on)
{
  profiling = on;
}

void frt_poison(int32_t on)
{
  poison = on;
}

void frt_check_finite(int32_t on)
{
  G.finite = on != 0;
}

frt_status frt_backend(const char *name)
{
  bool reference = strcmp(name, "reference") == 0;
  FRT_CHECK(reference || strcmp(name, "cpu") == 0, FRT_EARG,
            "backend: must be 'cpu' or 'reference', got '%s'", name);
  G.reference = reference;
  return FRT_OK;
}

const char *frt_backend_name(void)
{
  return G.reference ? "reference" : "cpu";
}

int64_t frt__arena_bytes(void)
{
  return (int64_t)arena_bytes;
}

static frt_status hold_arena(size_t bytes)
{
  if (bytes <= arena_bytes) {
    return FRT_OK;
  }
  frt_status status = frt__block_grow(&arena, arena_bytes, bytes, "the intermediates of a step");
  arena_bytes = status == FRT_OK ? bytes : 0;
  return status;
}

// --- before the first run
// ---------------------------------------------------------------------------
static frt_status make_ready(frt_plan_t *p)
{
  if (p->ready) {
    return FRT_OK;
  }
  for (int32_t v = 0; v < p->n_value; v++) {
    if (p->value[v].place == FRT_AT_DERIVED && !p->derived[v]) {
      FRT_TRY(frt__block_new(&p->derived[v], p->value[v].bytes, "derived weights"));
    }
  }
  for (int32_t i = 0; i < p->n_step; i++) {
    frt_step *s = &p->step[i].s;
    if (s->kernel->ready && !p->step[i].ready) {
      frt_status status = s->kernel->ready(s);
      if (status != FRT_OK) {
        frt__blame(frt__origin_now(p->step[i].origin));
        return status;
      }
      p->step[i].ready = true;
    }
  }
  p->ready = true;
  return FRT_OK;
}

static void put_number(void *at, int32_t dtype, double number)
{
  switch (dtype) {
  case FRT_F64:
    memcpy(at, &number, 8);
    break;
  case FRT_I32:
    memcpy(at, &(int32_t){(int32_t)number}, 4);
    break;
  default:
    memcpy(at, &(float){(float)number}, 4);
  }
}

// --- binding
// ------------------------------------------------------------------------------------------
static frt_status bind_slot(frt_plan_t *p, int32_t v, const frt_binding *b)
{
  const frt_slot *s = &p->slot[p->value[v].index];
  if (s->kind == FRT_NODE_VAR) {
    frt_var *var = &G.var[b->var];
    FRT_CHECK(!var->torn || !s->read, FRT_ESTATE,
              "variable '%s' was torn by an interrupted write: load or write it again",
              var->name ? var->name : "?");
    FRT_TRY(frt__var_touch(var));
    p->at[v] = var->data;
  } else if (s->kind == FRT_NODE_SCALAR) {
    p->at[v] = &p->number[v];
    put_number(p->at[v], s->shape.dtype, b->scalar);
  } else {
    p->at[v] = G.node[b->link.node]->value[b->link.out].data;
  }
  return FRT_OK;
}

static frt_status bind(frt_plan_t *p, const frt_binding *b, const frt_link *outs)
{
  for (int32_t v = 0; v < p->n_value; v++) {
    frt_pvalue *x = &p->value[v];
    switch (x->place) {
    case FRT_AT_SLOT:
      FRT_TRY(bind_slot(p, v, &b[x->index]));
      break;
    case FRT_AT_CONST:
      p->at[v] = &p->number[v];
      put_number(p->at[v], x->v.shape.dtype, x->number);
      break;
    case FRT_AT_ARENA:
      p->at[v] = (char *)arena + x->offset;
      break;
    case FRT_AT_OUTPUT:
      p->at[v] = G.node[outs[x->index].node]->value[outs[x->index].out].data;
      break;
    case FRT_AT_DERIVED:
      p->at[v] = p->derived[v];
      break;
    default:
      break;
    }
  }
  for (int32_t v = 0; v < p->n_value; v++) {
    if (p->value[v].place == FRT_AT_ALIAS) {
      p->at[v] = p->at[frt__root(p, v)];
    }
  }
  return FRT_OK;
}

// Which bytes an operand will be, as a number that never repeats; 0: nobody knows.
static uint64_t version_of(const frt_plan_t *p, int32_t v, const frt_binding *b)
{
  const frt_pvalue *x = &p->value[frt__root(p, v)];
  if (x->place == FRT_AT_SLOT) {
    const frt_slot *s = &p->slot[x->index];
    bool stable = s->kind == FRT_NODE_VAR && s->var_kind == FRT_VAR_STATE;
    return stable ? G.var[b[x->index].var].version : 0;
  }
  return x->place == FRT_AT_DERIVED ? p->setup_version : x->place == FRT_AT_CONST ? 1 : 0;
}

// The versions of all variables that derived values come from, as one number.
static uint64_t setup_key(const frt_plan_t *p, const frt_binding *b)
{
  uint64_t h = 0;
  for (int32_t i = 0; i < p->n_step; i++) {
    const frt_pstep *s = &p->step[i];
    for (int32_t k = 0; s->setup && k < s->s.n_in; k++) {
      const frt_pvalue *x = s->in[k] >= 0 ? &p->value[frt__root(p, s->in[k])] : NULL;
      if (x && x->place == FRT_AT_SLOT) {
        h = frt__hash(h, &G.var[b[x->index].var].version, sizeof(uint64_t));
      }
    }
  }
  return h;
}

// --- running
// --------------------------------------------------------------------------------------------
// Number i of a map, which may be stored as bf16.
static float number_at(const frt_value *v, const void *at, int64_t i)
{
  float x;
  if (!v->half) {
    return ((const float *)at)[i];
  }
  const uint32_t bits = (uint32_t)((const uint16_t *)at)[i] << 16;
  memcpy(&x, &bits, sizeof x);
  return x;
}

static frt_status check_finite(const frt_plan_t *p, const frt_pstep *s)
{
  for (int32_t k = 0; k < s->s.n_out; k++) {
    const frt_value *v = s->out[k] >= 0 ? &p->value[s->out[k]].v : NULL;
    const int64_t n = v && v->shape.dtype == FRT_F32 ? frt__numel(&v->shape) : 0;
    for (int64_t i = 0; i < n; i++) {
      const float x = number_at(v, p->at[s->out[k]], i);
      if (!isfinite(x)) {
        frt_origin o = frt__origin_now(s->origin);
        frt__blame(o);
        return frt_error_set(
          FRT_EDATA, "%s: output %d %s holds %g%s%s", s->s.program ? s->s.note : s->s.op->name,
          k + 1, frt__shape_text(&v->shape), (double)x, o.scope ? " in " : "", frt__text(o.scope));
      }
    }
  }
  return FRT_OK;
}

// Whether one of the steps [from, to) writes `value`.
static bool is_made(const frt_plan_t *p, int32_t value, int32_t from, int32_t to)
{
  for (int32_t i = from; i < to; i++) {
    for (int32_t k = 0; k < p->step[i].s.n_out; k++) {
      int32_t v = p->step[i].out[k];
      if (v >= 0 && frt__root(p, v) == frt__root(p, value)) {
        return true;
      }
    }
  }
  return false;
}

// Whether update `i` may run, as far as its settings are known before step `now`.
static frt_status check_update(const frt_plan_t *p, int32_t i, int32_t now)
{
  const frt_pstep *s = &p->step[i];
  const frt_op *op = s->s.op;
  double setting[FRT_MAX_SETTING] = {0};
  if (!(op->flags & FRT_UPDATE) || !op->update.check) {
    return FRT_OK;
  }
  for (int32_t k = 0; k < op->update.first; k++) {
    const void *at = p->args[s->args + k];
    if (is_made(p, s->in[k], now, i)) {
      return FRT_OK;
    }
    setting[k] = s->s.in[k]->shape.dtype == FRT_F64 ? *(const double *)at : *(const float *)at;
  }
  frt_status status = op->update.check(op, setting);
  if (status != FRT_OK) {
    frt__blame(frt__origin_now(s->origin));
  }
  return status;
}

// Before step `now`, the first that writes a variable, all updates are asked; each again before it
// runs. *failed: the one that refuses.
static frt_status check_updates(const frt_plan_t *p, int32_t now, bool first, int32_t *failed)
{
  for (*failed = now; *failed < (first ? p->n_step : now + 1); ++*failed) {
    FRT_TRY(check_update(p, *failed, now));
  }
  *failed = now;
  return FRT_OK;
}

static frt_status run_step(frt_plan_t *p, int32_t i)
{
  frt_pstep *s = &p->step[i];
  void **args = p->args + s->args;
  double start = profiling ? frt__clock() : 0;
  frt_status status =
    s->s.kernel->run(&s->s, args, args + s->s.n_in, (char *)arena + s->scratch_at);
  if (status != FRT_OK) {
    frt__blame(frt__origin_now(s->origin));
    return status;
  }
  if (profiling) {
    s->seconds += frt__clock() - start;
    s->timed++;
  }
  return G.finite && !s->setup ? check_finite(p, s) : FRT_OK;
}

// at->written: steps that may have written variables are among the first so many (0: none has);
// at->failed: the step that did, of a failure.
typedef struct progress {
  int32_t written, failed;
} progress;

static frt_status run_steps(frt_plan_t *p, const frt_binding *b, progress *at)
{
  if (poison && arena) {
    memset(arena, 0xff, arena_bytes);
  }
  uint64_t wanted = p->n_setup > 0 ? setup_key(p, b) : 0;
  bool setup = p->n_setup > 0 && (!p->setup_done || wanted != p->setup_key);
  if (setup) {
    p->setup_version = ++G.clock;
    p->setup_done = false; // until every step has run: a failure leaves mixed data behind
  }
  for (int32_t i = 0; i < p->n_args; i++) {
    int32_t v = p->arg_value[i];
    p->args[i] = v >= 0 ? p->at[v] : NULL;
    p->arg_version[i] = v >= 0 ? version_of(p, v, b) : 0;
  }
  for (int32_t i = 0; i < p->n_step; i++) {
    if (p->step[i].setup && !setup) {
      continue;
    }
    if (p->step[i].writes) {
      FRT_TRY(check_updates(p, i, at->written == 0, &at->failed));
      at->written = i + 1;
    }
    at->failed = i;
    FRT_TRY(run_step(p, i));
  }
  p->setup_key = wanted;
  p->setup_done = true;
  p->runs++;
  return FRT_OK;
}

static void moved(int32_t var, bool torn)
{
  frt_var *v = &G.var[var];
  v->version = ++G.clock;
  v->leaf = -1;
  v->current.node = -1;
  v->torn = torn;
}

static void committed(void)
{
  for (int32_t i = 0; i < G.n_pending; i++) {
    moved(G.pending[i], false);
  }
  G.n_pending = 0;
}

// After a failure: variables that steps have written are torn, what has not been written still
// waits. Assignments that follow from the step that failed are dropped where it would fail again.
static void tear(frt_plan_t *p, const progress *at, frt_status status)
{
  bool *bad = frt__zalloc(sizeof *bad * (size_t)(p->n_value + 1));
  bool again = status == FRT_EDATA || status == FRT_EARG || status == FRT_ESHAPE;
  for (int32_t i = at->failed; bad && again && i < p->n_step; i++) {
    const frt_pstep *s = &p->step[i];
    bool any = i == at->failed;
    for (int32_t k = 0; k < s->s.n_in && !any; k++) {
      any = s->in[k] >= 0 && bad[frt__root(p, s->in[k])];
    }
    for (int32_t k = 0; any && k < s->s.n_out; k++) {
      if (s->out[k] >= 0) {
        bad[frt__root(p, s->out[k])] = true;
      }
    }
  }
  bool *drop = frt__zalloc(sizeof *drop * (size_t)(G.n_pending + 1));
  int32_t n = 0;
  for (int32_t i = 0; i < G.n_pending; i++) {
    const int32_t target = p->slot[p->assign[i].slot].value, var = G.pending[i];
    bool touched = false;
    for (int32_t k = 0; k < at->written && !touched; k++) {
      touched = p->step[k].writes && is_made(p, target, k, k + 1);
    }
    if (touched) {
      moved(var, true);
      continue;
    }
    if (drop) {
      drop[n] = bad && bad[frt__root(p, p->assign[i].value)];
    }
    G.pending[n++] = var;
  }
  G.n_pending = n;
  frt__drop_pending(drop);
  frt__free(drop);
  frt__free(bad);
}

static void take_back(const frt_link *outs, int32_t n)
{
  for (int32_t i = 0; i < n; i++) {
    frt_result *r = &G.node[outs[i].node]->value[outs[i].out];
    frt__block_free(r->data, r->bytes);
    *r = (frt_result){0};
  }
}

static void renew(frt_origin *o)
{
  const int32_t walk = o->walk;
  *o = frt__origin_now(*o);
  o->walk = walk;
}
// A plan serves many recordings; explain speaks of the latest, whose nodes may be gone by then.
static void relabel(frt_plan_t *p)
{
  for (int32_t i = 0; i < p->n_step; i++) {
    renew(&p->step[i].origin);
  }
  for (int32_t i = 0; i < p->n_missed; i++) {
    renew(&p->missed[i].origin);
    renew(&p->missed[i].by_origin);
  }
}

static frt_status run_plan(const frt_link *outs, int32_t n)
{
  frt_plan_t *p;
  frt_binding *b;
  FRT_TRY(frt__plan_compile(n, outs, true, &p, &b));
  if (profiling) {
    relabel(p);
  }
  FRT_TRY(make_ready(p));
  FRT_TRY(hold_arena(p->arena));
  for (int32_t i = 0; i < n; i++) {
    frt_status status = frt__result_new(G.node[outs[i].node], outs[i].out);
    if (status != FRT_OK) {
      take_back(outs, i);
      return status;
    }
  }
  frt_status status = bind(p, b, outs);
  if (status == FRT_OK) {
    progress at = {0, 0};
    status = run_steps(p, b, &at);
    if (status != FRT_OK) {
      tear(p, &at, status);
    }
  }
  if (status != FRT_OK) {
    take_back(outs, n);
    return status;
  }
  committed();
  last_run = p;
  return FRT_OK;
}

// Outputs a plan has to make: no leaves, nothing that has a value, nothing twice.
static frt_status to_make(int32_t n, const frt_ref *outs, frt_link *links, int32_t *n_links)
{
  *n_links = 0;
  for (int32_t i = 0; i < n; i++) {
    frt_link l;
    FRT_TRY(frt__link(outs[i], &l));
    bool skip = G.node[l.node]->kind != FRT_NODE_OP || frt__link_has_value(l);
    for (int32_t k = 0; k < *n_links && !skip; k++) {
      skip = links[k].node == l.node && links[k].out == l.out;
    }
    if (!skip) {
      links[(*n_links)++] = l;
    }
  }
  return FRT_OK;
}

frt_status frt_realize(int32_t n, const frt_ref *outs)
{
  frt_link *links = frt__alloc(sizeof *links * (size_t)(n + 1));
  FRT_CHECK(links, FRT_ENOMEM, "out of memory: realize");
  int32_t n_links;
  frt__blame((frt_origin){0});
  frt_status status = to_make(n, outs, links, &n_links);
  if (status == FRT_OK && (n_links > 0 || G.n_pending > 0)) {
    status = run_plan(links, n_links);
    if (status == FRT_ESTATE) {
      frt__drop_stale();
    }
  }
  frt__free(links);
  return status;
}

frt_status frt_plan(int32_t n, const frt_ref *outs, int32_t with_pending)
{
  frt_link *links = frt__alloc(sizeof *links * (size_t)(n + 1));
  FRT_CHECK(links, FRT_ENOMEM, "out of memory: plan");
  int32_t n_links;
  frt_binding *b;
  frt__blame((frt_origin){0});
  frt_status status = to_make(n, outs, links, &n_links);
  if (status == FRT_OK) {
    status = frt__plan_compile(n_links, links, with_pending != 0, &frt__addressed, &b);
    if (status == FRT_OK) {
      relabel(frt__addressed);
    }
  }
  frt__free(links);
  return status;
}

void frt_plan_last(void)
{
  frt__addressed = last_run;
}

void frt__plan_gone(const frt_plan_t *p)
{
  frt__addressed = frt__addressed == p ? NULL : frt__addressed;
  last_run = last_run == p ? NULL : last_run;
}

// --- reading
// ----------------------------------------------------------------------------------------------
static void from_channels_last(const frt_shape *s, const char *src, char *dst, size_t size)
{
  int64_t n = s->dim[0], c = s->dim[1], hw = s->dim[2] * s->dim[3];
  for (int64_t i = 0; i < n; i++) {
    for (int64_t k = 0; k < c; k++) {
      for (int64_t j = 0; j < hw; j++) {
        memcpy(dst + ((i * c + k) * hw + j) * (int64_t)size,
               src + ((i * hw + j) * c + k) * (int64_t)size, size);
      }
    }
  }
}

frt_status frt_read(frt_ref t, void *dst, size_t bytes)
{
  frt_link l;
  FRT_TRY(frt__link(t, &l));
  const frt_shape *s = frt__link_shape(l);
  FRT_CHECK(bytes == frt__bytes(s), FRT_ESHAPE, "read: %s %s has %zu bytes, got room for %zu",
            frt__dtype_name(s->dtype), frt__shape_text(s), frt__bytes(s), bytes);
  if (G.node[l.node]->kind == FRT_NODE_OP && !frt__link_has_value(l)) {
    FRT_TRY(frt_realize(1, &t));
    FRT_TRY(frt__link(t, &l)); // an assignment may have been carried out
  }
  const frt_node *n = G.node[l.node];
  if (n->kind == FRT_NODE_SCALAR) {
    put_number(dst, n->shape[0].dtype, n->scalar);
  } else if (n->kind == FRT_NODE_VAR) {
    frt_var *v = &G.var[n->var];
    FRT_CHECK(v->version == n->version, FRT_ESTATE, "read: variable '%s' has changed since",
              v->name ? v->name : "?");
    FRT_CHECK(!v->torn, FRT_ESTATE, "read: variable '%s' was torn by an interrupted write",
              v->name ? v->name : "?");
    FRT_TRY(frt__var_touch(v));
    if (v->channels_last) {
      from_channels_last(&v->shape, v->data, dst, frt__dtype_size(v->shape.dtype));
    } else {
      memcpy(dst, v->data, bytes);
    }
  } else {
    memcpy(dst, n->value[l.out].data, bytes);
  }
  return FRT_OK;
}

frt_status frt_item(frt_ref t, double *out)
{
  frt_shape s;
  FRT_TRY(frt_info(t, &s));
  FRT_CHECK(frt__numel(&s) == 1, FRT_ESHAPE, "item: the tensor must hold one number, got %s",
            frt__shape_text(&s));
  char bytes[8];
  FRT_TRY(frt_read(t, bytes, frt__dtype_size(s.dtype)));
  switch (s.dtype) {
  case FRT_F32: {
    float v;
    memcpy(&v, bytes, 4);
    *out = (double)v;
    break;
  }
  case FRT_F64:
    memcpy(out, bytes, 8);
    break;
  case FRT_I32: {
    int32_t v;
    memcpy(&v, bytes, 4);
    *out = v;
    break;
  }
  case FRT_U8:
    *out = (uint8_t)bytes[0];
    break;
  default:
    return frt_error_set(FRT_EARG, "item: a %s tensor cannot be read as a number",
                         frt__dtype_name(s.dtype));
  }
  return FRT_OK;
}
