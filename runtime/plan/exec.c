// exec.c -- realize: find or make the plan, bind its slots, run its steps, hand out what was asked
// for.
#include <math.h>
#include <stdio.h>

#include "plan/plan.h"

#define G frt__graph

frt_plan *frt__addressed;
static frt_plan *last_run;
static int32_t profiling, poison;
// The process's one arena: as large as the largest plan that ran.
static frt_buffer arena;

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

int64_t frt__arena_bytes(void)
{
  return (int64_t)arena.bytes;
}

static frt_status hold_arena(size_t bytes)
{
  const frt_memory_space *space = frt__device()->space;
  if (arena.space && arena.space != space) {
    frt__buffer_free(&arena);
  }
  if (bytes <= arena.bytes) {
    return FRT_OK;
  }
  return arena.space ? frt__buffer_grow(&arena, bytes, "the intermediates of a step")
                     : frt__buffer_new(&arena, space, bytes, "the intermediates of a step");
}

// --- before the first run
// ---------------------------------------------------------------------------
static frt_status make_ready(frt_plan *p)
{
  if (p->ready) {
    return FRT_OK;
  }
  for (int32_t v = 0; v < p->n_value; v++) {
    if (p->value[v].place == FRT_AT_DERIVED && !p->own[v].space) {
      FRT_TRY(frt__buffer_new(&p->own[v], p->device->space, p->value[v].bytes, "derived weights"));
    }
  }
  if (p->device->space != &frt__host_memory && !p->numbers.space) {
    const size_t bytes = sizeof *p->number * (size_t)(p->n_value + 1);
    FRT_TRY(frt__buffer_new(&p->numbers, p->device->space, bytes, "the numbers of a step"));
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

void frt__put_number(void *at, int32_t dtype, double number)
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
// Where number v of a plan lies: a double's room each, on the host or copied to the device.
static void *number_at(frt_plan *p, int32_t v)
{
  return p->numbers.space ? (void *)((double *)p->numbers.at + v) : &p->number[v];
}

// Whether borrowed inputs and outputs have a fixed place of the plan's own on the device.
static bool stages(const frt_plan *p)
{
  return p->device->space != &frt__host_memory || (p->device->backend->flags & FRT_CAPTURES);
}

static frt_status own_buffer(frt_plan *p, int32_t v, const char *what)
{
  return p->own[v].space ? FRT_OK
                         : frt__buffer_new(&p->own[v], p->device->space, p->value[v].bytes, what);
}

static frt_status bind_slot(frt_plan *p, int32_t v, const frt_binding *b)
{
  const frt_slot *s = &p->slot[p->value[v].index];
  if (s->kind == FRT_NODE_VAR) {
    frt_var *var = &G.var[b->var];
    FRT_CHECK(!var->torn || !s->read, FRT_ESTATE,
              "variable '%s' was torn by an interrupted write: load or write it again",
              var->name ? var->name : "?");
    FRT_TRY(frt__var_touch(var));
    if (var->wrapped && stages(p)) {
      FRT_TRY(own_buffer(p, v, "an input of a step"));
      FRT_TRY(frt__buffer_write(&p->own[v], 0, var->data.at, var->data.bytes));
      p->at[v] = p->own[v].at;
      return FRT_OK;
    }
    FRT_TRY(frt__buffer_move(&var->data, p->device->space, var->name ? var->name : "a tensor"));
    p->at[v] = var->data.at;
  } else if (s->kind == FRT_NODE_SCALAR) {
    frt__put_number(&p->number[v], s->shape.dtype, b->scalar);
    p->at[v] = number_at(p, v);
  } else {
    frt_buffer *result = &G.node[b->link.node]->value[b->link.out];
    FRT_TRY(frt__buffer_move(result, p->device->space, "a result"));
    p->at[v] = result->at;
  }
  return FRT_OK;
}

static frt_status bind(frt_plan *p, const frt_binding *b, const frt_link *outs)
{
  for (int32_t v = 0; v < p->n_value; v++) {
    frt_pvalue *x = &p->value[v];
    switch (x->place) {
    case FRT_AT_SLOT:
      FRT_TRY(bind_slot(p, v, &b[x->index]));
      break;
    case FRT_AT_CONST:
      frt__put_number(&p->number[v], x->v.shape.dtype, x->number);
      p->at[v] = number_at(p, v);
      break;
    case FRT_AT_ARENA:
      p->at[v] = (char *)arena.at + x->offset;
      break;
    case FRT_AT_OUTPUT:
      p->at[v] = G.node[outs[x->index].node]->value[outs[x->index].out].at;
      if (p->device->backend->flags & FRT_CAPTURES) {
        FRT_TRY(own_buffer(p, v, "an output of a step"));
        p->at[v] = p->own[v].at;
      }
      break;
    case FRT_AT_DERIVED:
      p->at[v] = p->own[v].at;
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
  return p->numbers.space ? frt__buffer_write(&p->numbers, 0, p->number, p->numbers.bytes) : FRT_OK;
}

// Which bytes an operand will be, as a number that never repeats; 0: nobody knows.
static uint64_t version_of(const frt_plan *p, int32_t v, const frt_binding *b)
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
static uint64_t setup_key(const frt_plan *p, const frt_binding *b)
{
  uint64_t h = 0;
  for (int32_t i = 0; i < p->n_step; i++) {
    const frt_pstep *s = &p->step[i];
    for (int32_t k = 0; s->s.setup && k < s->s.n_in; k++) {
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
static float map_number(const frt_value *v, const void *at, int64_t i)
{
  float x;
  if (!frt__bf16(v)) {
    return ((const float *)at)[i];
  }
  const uint32_t bits = (uint32_t)((const uint16_t *)at)[i] << 16;
  memcpy(&x, &bits, sizeof x);
  return x;
}

static frt_status check_value(const frt_plan *p, const frt_pstep *s, int32_t k, const void *at)
{
  const frt_value *v = &p->value[s->out[k]].v;
  const int64_t n = frt__numel(&v->shape);
  for (int64_t i = 0; i < n; i++) {
    const float x = map_number(v, at, i);
    if (!isfinite(x)) {
      frt_origin o = frt__origin_now(s->origin);
      frt__blame(o);
      return frt_error_set(
        FRT_EDATA, "%s: output %d %s holds %g%s%s", s->s.program ? s->s.note : s->s.op->name, k + 1,
        frt__shape_text(&v->shape), (double)x, o.scope ? " in " : "", frt__text(o.scope));
    }
  }
  return FRT_OK;
}

// A run of a plan. written: steps that may have written variables are among the first so many (0:
// none has); failed: the step that did, of a failure.
typedef struct progress {
  frt_plan *p;
  int32_t written, failed;
} progress;

// What a debugging run does after each step of the main part.
static frt_status check_finite(void *arg, int32_t step)
{
  const frt_plan *p = ((const progress *)arg)->p;
  const frt_pstep *s = (const frt_pstep *)p->main[step];
  for (int32_t k = 0; k < s->s.n_out; k++) {
    const frt_value *v = s->out[k] >= 0 ? &p->value[s->out[k]].v : NULL;
    if (!v || v->shape.dtype != FRT_F32) {
      continue;
    }
    const frt_buffer there = {
      .space = p->device->space, .at = p->at[s->out[k]], .bytes = frt__value_bytes(v)};
    if (frt__on_host(&there)) {
      FRT_TRY(check_value(p, s, k, there.at));
      continue;
    }
    void *copy = frt__alloc(there.bytes + 1);
    FRT_CHECK(copy, FRT_ENOMEM, "out of memory: looking for numbers that are not finite");
    frt_status status = frt__buffer_read(&there, 0, copy, there.bytes);
    status = status == FRT_OK ? check_value(p, s, k, copy) : status;
    frt__free(copy);
    FRT_TRY(status);
  }
  return FRT_OK;
}

// Whether one of the steps [from, to) writes `value`.
static bool is_made(const frt_plan *p, int32_t value, int32_t from, int32_t to)
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
static frt_status check_update(const frt_plan *p, int32_t i, int32_t now)
{
  const frt_pstep *s = &p->step[i];
  const frt_op *op = s->s.op;
  double setting[FRT_MAX_SETTING] = {0};
  if (!(op->flags & FRT_UPDATE) || !op->update.check) {
    return FRT_OK;
  }
  for (int32_t k = 0; k < op->update.first; k++) {
    if (is_made(p, s->in[k], now, i)) {
      return FRT_OK;
    }
    const size_t bytes = frt__value_bytes(s->s.in[k]);
    const frt_buffer there = {
      .space = p->device->space, .at = p->args[s->args + k], .bytes = bytes};
    float narrow;
    const bool wide = s->s.in[k]->shape.dtype == FRT_F64;
    FRT_TRY(frt__buffer_read(&there, 0, wide ? (void *)&setting[k] : &narrow, bytes));
    setting[k] = wide ? setting[k] : (double)narrow;
  }
  frt_status status = op->update.check(op, setting);
  if (status != FRT_OK) {
    frt__blame(frt__origin_now(s->origin));
  }
  return status;
}

// Before the first step that writes a variable all updates are asked; each again before it runs.
static frt_status before_write(void *arg, int32_t step)
{
  progress *at = arg;
  frt_plan *p = at->p;
  const int32_t now = (int32_t)((const frt_pstep *)p->main[step] - p->step);
  const int32_t end = at->written == 0 ? p->n_step : now + 1;
  for (at->failed = now; at->failed < end; at->failed++) {
    FRT_TRY(check_update(p, at->failed, now));
  }
  at->failed = -1;
  at->written = now + 1;
  return FRT_OK;
}

// Runs one part of the plan to its end.
static frt_status run_part(frt_plan *p, bool setup, progress *at)
{
  frt_step *const *steps = setup ? p->setup : p->main;
  frt_job job = {.step = steps,
                 .n = setup ? p->n_setup : p->n_step - p->n_setup,
                 .before_write = before_write,
                 .after = G.finite && !setup ? check_finite : NULL,
                 .arg = at,
                 .failed = -1,
                 .seconds = profiling ? p->seconds + (setup ? 0 : p->n_setup) : NULL};
  frt_device *d = p->device;
  uint64_t ticket = 0;
  at->failed = -1;
  if (d->backend->wait) { // nobody can look between its steps: what is known is asked beforehand
    for (int32_t i = 0; i < p->n_step && !setup; i++) {
      at->failed = i;
      FRT_TRY(check_update(p, i, 0));
    }
    at->failed = -1;
    job.before_write = NULL;
  }
  frt_status status = d->backend->run(d, &job, &ticket);
  if (status == FRT_OK && d->backend->wait) {
    status = d->backend->wait(d, ticket, &job);
  }
  if (status != FRT_OK && at->failed < 0 && job.failed >= 0) {
    const frt_pstep *s = (const frt_pstep *)steps[job.failed];
    at->failed = (int32_t)(s - p->step);
    frt__blame(frt__origin_now(s->origin));
    if (d->backend->wait) { // updates refuse with FRT_EDATA before they write
      const bool wrote = status != FRT_EDATA || job.done > job.failed;
      const int32_t before =
        job.done > 0 ? (int32_t)((const frt_pstep *)steps[job.done - 1] - p->step) : -1;
      at->written = job.refused ? before + 1 : at->failed + wrote;
    }
  }
  at->failed = FRT_MAX(at->failed, 0);
  return status;
}

static frt_status run_steps(frt_plan *p, const frt_binding *b, progress *at)
{
  if (poison && arena.space) {
    FRT_TRY(frt__buffer_fill(&arena, 0xff));
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
    p->step[i].s.room = (char *)arena.at + p->step[i].scratch_at;
  }
  if (setup) {
    FRT_TRY(run_part(p, true, at));
    p->timed_setup += profiling != 0;
  }
  FRT_TRY(run_part(p, false, at));
  p->timed += profiling != 0;
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
static void tear(frt_plan *p, const progress *at, frt_status status)
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
      touched = p->step[k].s.writes && is_made(p, target, k, k + 1);
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
    frt__buffer_free(&G.node[outs[i].node]->value[outs[i].out]);
  }
}

static void renew(frt_origin *o)
{
  const int32_t walk = o->walk;
  *o = frt__origin_now(*o);
  o->walk = walk;
}
// A plan serves many recordings; explain speaks of the latest, whose nodes may be gone by then.
static void relabel(frt_plan *p)
{
  for (int32_t i = 0; i < p->n_step; i++) {
    renew(&p->step[i].origin);
  }
  for (int32_t i = 0; i < p->n_missed; i++) {
    renew(&p->missed[i].origin);
    renew(&p->missed[i].by_origin);
  }
}

// Before anything is made ready or memory is taken for what can't be run.
static frt_status check_known(const frt_plan *p, const frt_binding *b)
{
  for (int32_t s = 0; s < p->n_slot; s++) {
    if (p->slot[s].kind == FRT_NODE_VAR) {
      FRT_TRY(frt__var_known(&G.var[b[s].var]));
    }
  }
  return FRT_OK;
}

static frt_status run_plan(const frt_link *outs, int32_t n)
{
  frt_plan *p;
  frt_binding *b;
  FRT_TRY(frt__plan_compile(n, outs, true, &p, &b));
  FRT_TRY(check_known(p, b));
  if (profiling) {
    relabel(p);
  }
  FRT_TRY(make_ready(p));
  FRT_TRY(hold_arena(p->arena));
  for (int32_t i = 0; i < n; i++) {
    frt_status status = frt__result_new(G.node[outs[i].node], outs[i].out, p->device->space);
    if (status != FRT_OK) {
      take_back(outs, i);
      return status;
    }
  }
  frt_status status = bind(p, b, outs);
  if (status == FRT_OK) {
    progress at = {.p = p};
    status = run_steps(p, b, &at);
    if (status != FRT_OK) {
      tear(p, &at, status);
    }
  }
  if (p->device->backend->flags & FRT_CAPTURES) {
    for (int32_t i = 0; i < n && status == FRT_OK; i++) {
      status = frt__buffer_copy(&G.node[outs[i].node]->value[outs[i].out], &p->own[p->output[i]]);
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

frt_status frt_plan_make(int32_t n, const frt_ref *outs, int32_t with_pending)
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

void frt__plan_gone(const frt_plan *p)
{
  frt__addressed = frt__addressed == p ? NULL : frt__addressed;
  last_run = last_run == p ? NULL : last_run;
}
