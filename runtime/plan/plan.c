// plan.c -- from recorded nodes to a plan: the canonical key, the cache, and the plan's own graph
// that the passes rewrite.
#include "plan/plan.h"

#include <stdlib.h>

#define G frt__graph

// --- the key: the graph's structure as words --------------------------------------------------
// Variables, scalars and realized outputs are slots numbered in order of first use; their values
// are not part of it.
static uint64_t *key;
static int32_t n_key, cap_key;
static frt_binding *bindings;
static frt_slot *slots;
static int32_t n_slots, cap_bindings, cap_slots;

static frt_status put(uint64_t word)
{
  FRT_TRY(frt__grow(&key, &cap_key, n_key + 1, sizeof *key));
  key[n_key++] = word;
  return FRT_OK;
}

static frt_status put_shape(const frt_shape *s)
{
  FRT_TRY(put((uint64_t)s->ndim << 8 | (uint64_t)s->dtype));
  for (int32_t i = 0; i < s->ndim; i++) {
    FRT_TRY(put((uint64_t)s->dim[i]));
  }
  return FRT_OK;
}

static frt_status slot_new(const frt_slot *s, const frt_binding *b)
{
  FRT_TRY(frt__grow(&slots, &cap_slots, n_slots + 1, sizeof *slots));
  FRT_TRY(frt__grow(&bindings, &cap_bindings, n_slots + 1, sizeof *bindings));
  slots[n_slots] = *s;
  bindings[n_slots++] = *b;
  FRT_TRY(put((uint64_t)s->kind << 16 | (uint64_t)s->layout << 8 | s->var_kind));
  return put_shape(&s->shape);
}

// A leaf as its slot number. Leaf nodes remember theirs in node->pos; realized outputs are searched
// (their node may stand in the order too, for another of its outputs).
static frt_status slot_of(frt_link l, int32_t *slot)
{
  frt_node *n = G.node[l.node];
  bool result = n->kind == FRT_NODE_OP;
  if (!result && n->mark == G.mark) {
    *slot = n->pos;
    return FRT_OK;
  }
  for (int32_t i = 0; result && i < n_slots; i++) {
    if (bindings[i].link.node == l.node && bindings[i].link.out == l.out) {
      *slot = i;
      return FRT_OK;
    }
  }
  frt_slot s = {.shape = n->shape[l.out], .kind = n->kind, .value = -1};
  frt_binding b = {.var = n->var, .link = l, .scalar = n->scalar};
  if (n->kind == FRT_NODE_VAR) {
    const frt_var *v = &G.var[n->var];
    s.layout = v->channels_last ? FRT_CHANNELS_LAST : FRT_PLAIN;
    s.var_kind = v->kind;
  }
  if (!result) {
    n->mark = G.mark;
    n->pos = n_slots;
  }
  *slot = n_slots;
  return slot_new(&s, &b);
}

// A link as a word: op nodes by position, leaves by slot.
enum { WORD_NODE = 0, WORD_SLOT = 1, WORD_NONE = 2 };
static frt_status word_of(frt_link l, uint64_t *word)
{
  if (l.node < 0) {
    *word = (uint64_t)WORD_NONE << 60;
    return FRT_OK;
  }
  const frt_node *n = G.node[l.node];
  if (n->kind == FRT_NODE_OP && !frt__link_has_value(l)) {
    *word = (uint64_t)WORD_NODE << 60 | (uint64_t)n->pos << 16 | (uint64_t)l.out;
    return FRT_OK;
  }
  int32_t slot;
  FRT_TRY(slot_of(l, &slot));
  *word = (uint64_t)WORD_SLOT << 60 | (uint64_t)slot;
  return FRT_OK;
}

static frt_status put_link(frt_link l)
{
  uint64_t word;
  FRT_TRY(word_of(l, &word));
  return put(word);
}

static frt_status write_key(int32_t n, const frt_link *outs, bool with_pending,
                            const int32_t *order, int32_t n_order)
{
  n_key = n_slots = 0;
  frt_device *device = frt__device();
  FRT_TRY(put((uint64_t)(uintptr_t)device));
  FRT_TRY(put(device->backend->key ? device->backend->key(device) : 0));
  FRT_TRY(put((uint64_t)G.store << 8 | (uint64_t)G.finite));
  FRT_TRY(put((uint64_t)G.memory));
  // A node that both has a value and is computed again (another output) keeps its place in the
  // order.
  for (int32_t p = 0; p < n_order; p++) {
    G.node[order[p]]->pos = p;
  }
  G.mark++; // leaves of this key carry the new mark
  int32_t stage = 0;
  uint64_t n_stage = 1; // stages are numbered anew in every recording
  for (int32_t p = 0; p < n_order; p++) {
    const frt_node *node = G.node[order[p]];
    FRT_TRY(put((uint64_t)(uintptr_t)node->op));
    const int32_t s = node->origin.stage;
    n_stage += s > 0 && s != stage;
    stage = s > 0 ? s : stage;
    const uint64_t part = s > 0 ? n_stage : s == FRT_BACKWARD;
    FRT_TRY(put((uint64_t)node->n_in << 40 | part << 16 | (uint64_t)node->n_out));
    for (int32_t i = 0; i < node->n_in; i++) {
      FRT_TRY(put_link(node->in[i]));
    }
    for (int32_t i = 0; i < node->n_attr; i++) {
      uint64_t word;
      memcpy(&word, &node->attr[i], sizeof word);
      FRT_TRY(put(word));
    }
  }
  FRT_TRY(put((uint64_t)n));
  for (int32_t i = 0; i < n; i++) {
    FRT_TRY(put_link(outs[i]));
  }
  for (int32_t i = 0; with_pending && i < G.n_pending; i++) {
    frt_var *v = &G.var[G.pending[i]];
    int32_t leaf, slot;
    FRT_TRY(frt__leaf(G.pending[i], &leaf));
    FRT_TRY(slot_of((frt_link){leaf, 0}, &slot));
    FRT_TRY(put((uint64_t)slot));
    FRT_TRY(put_link(v->current));
  }
  return FRT_OK;
}

// --- small arrays of a plan ---------------------------------------------------------------------
void *frt__plan_alloc(frt_plan *p, size_t bytes)
{
  char *block = frt__zalloc(bytes + 16);
  if (!block) {
    return NULL;
  }
  memcpy(block, &p->blocks, sizeof p->blocks);
  p->blocks = block;
  return block + 16;
}

void frt__plan_free(frt_plan *p)
{
  if (!p) {
    return;
  }
  frt__plan_gone(p);
  if (p->device && p->device->backend->drop && p->main) {
    p->device->backend->drop(p->device, p->setup, p->n_setup);
    p->device->backend->drop(p->device, p->main, p->n_step - p->n_setup);
  }
  for (int32_t i = 0; i < p->n_step; i++) {
    if (p->step[i].s.kernel && p->step[i].s.kernel->free) {
      p->step[i].s.kernel->free(&p->step[i].s);
    }
  }
  for (int32_t i = 0; p->own && i < p->n_value; i++) {
    frt__buffer_free(&p->own[i]);
  }
  frt__buffer_free(&p->numbers);
  for (char *block = p->blocks, *next; block; block = next) {
    memcpy(&next, block, sizeof next);
    frt__free(block);
  }
  frt__free(p->slot);
  frt__free(p->value);
  frt__free(p->node);
  frt__free(p->assign);
  frt__free(p->output);
  frt__free(p->step);
  frt__free(p->missed);
  frt__free(p->key);
  frt__free(p);
}

frt_status frt__value_new(frt_plan *p, const frt_shape *shape, int32_t *out)
{
  FRT_TRY(frt__grow(&p->value, &p->cap_value, p->n_value + 1, sizeof *p->value));
  p->value[p->n_value] = (frt_pvalue){.v = {.shape = *shape},
                                      .place = FRT_AT_ARENA,
                                      .index = -1,
                                      .bytes = frt__bytes(shape),
                                      .maker = -1,
                                      .first = -1,
                                      .last = -1,
                                      .base = -1};
  *out = p->n_value++;
  return FRT_OK;
}

frt_status frt__const_new(frt_plan *p, double number, int32_t dtype, int32_t *out)
{
  frt_shape scalar = {.dtype = dtype};
  FRT_TRY(frt__value_new(p, &scalar, out));
  p->value[*out].place = FRT_AT_CONST;
  p->value[*out].number = number;
  return FRT_OK;
}

frt_status frt__pnode_new(frt_plan *p, const frt_op *op, int32_t n_in, const int32_t *in,
                          int32_t n_out, int32_t n_attr, const double *attr, frt_origin origin,
                          int32_t *out)
{
  FRT_TRY(frt__grow(&p->node, &p->cap_node, p->n_node + 1, sizeof *p->node));
  int32_t *ids = frt__plan_alloc(p, sizeof *ids * (size_t)(n_in + n_out));
  double *attrs = frt__plan_alloc(p, sizeof *attrs * (size_t)n_attr);
  FRT_CHECK(ids && attrs, FRT_ENOMEM, "out of memory: planning %s", op->name);
  if (n_in > 0) {
    memcpy(ids, in, sizeof *ids * (size_t)n_in);
  }
  if (n_attr > 0) {
    memcpy(attrs, attr, sizeof *attrs * (size_t)n_attr);
  }
  for (int32_t k = 0; k < n_out; k++) {
    ids[n_in + k] = -1;
  }
  p->node[p->n_node] = (frt_pnode){.op = op,
                                   .n_in = n_in,
                                   .n_out = n_out,
                                   .n_attr = n_attr,
                                   .in = ids,
                                   .out = ids + n_in,
                                   .attr = attrs,
                                   .origin = origin,
                                   .chain = -1,
                                   .rank = (int64_t)p->n_node * 16,
                                   .serial = p->n_node};
  *out = p->n_node++;
  return FRT_OK;
}

static int by_rank(const void *a, const void *b)
{
  const frt_pnode *x = a, *y = b;
  int order = (x->rank > y->rank) - (x->rank < y->rank);
  return order ? order : (x->serial > y->serial) - (x->serial < y->serial);
}

void frt__sort_nodes(frt_plan *p)
{
  int32_t n = 0;
  for (int32_t i = 0; i < p->n_node; i++) {
    if (!p->node[i].dead) {
      p->node[n++] = p->node[i];
    }
  }
  p->n_node = n;
  if (n > 1) {
    qsort(p->node, (size_t)n, sizeof *p->node, by_rank);
  }
  for (int32_t i = 0; i < n; i++) {
    p->node[i].rank = (int64_t)i * 16;
    p->node[i].serial = i;
    for (int32_t k = 0; k < p->node[i].n_out; k++) {
      if (p->node[i].out[k] >= 0) {
        p->value[p->node[i].out[k]].maker = i;
      }
    }
  }
}

int32_t frt__root(const frt_plan *p, int32_t value)
{
  while (p->value[value].place == FRT_AT_ALIAS) {
    value = p->value[value].index;
  }
  return value;
}

void frt__count_uses(frt_plan *p)
{
  for (int32_t v = 0; v < p->n_value; v++) {
    p->value[v].uses = p->value[v].pinned = 0;
  }
  for (int32_t i = 0; i < p->n_node; i++) {
    const frt_pnode *n = &p->node[i];
    for (int32_t k = 0; !n->dead && k < n->n_in; k++) {
      if (n->in[k] >= 0) {
        p->value[n->in[k]].uses++;
      }
    }
  }
  for (int32_t i = 0; i < p->n_output; i++) {
    p->value[p->output[i]].pinned++;
  }
  for (int32_t i = 0; i < p->n_assign; i++) {
    p->value[p->assign[i].value].pinned++;
  }
}

// --- import
// ---------------------------------------------------------------------------------------
static frt_status slot_value(frt_plan *p, int32_t slot, int32_t *value)
{
  frt_slot *s = &p->slot[slot];
  if (s->value < 0) {
    FRT_TRY(frt__value_new(p, &s->shape, &s->value));
    frt_pvalue *v = &p->value[s->value];
    v->place = FRT_AT_SLOT;
    v->index = slot;
    v->v.layout = s->layout;
    v->v.is_var = s->kind == FRT_NODE_VAR;
  }
  *value = s->value;
  return FRT_OK;
}

static frt_status import_link(frt_plan *p, frt_link l, const int32_t *first, int32_t *value)
{
  uint64_t word;
  FRT_TRY(word_of(l, &word));
  switch (word >> 60) {
  case WORD_NONE:
    *value = -1;
    return FRT_OK;
  case WORD_SLOT:
    return slot_value(p, (int32_t)(word & 0xffffffff), value);
  default:
    *value = first[word >> 16 & 0xffffffff] + (int32_t)(word & 0xffff);
    return FRT_OK;
  }
}

static frt_status import_nodes(frt_plan *p, const int32_t *order, int32_t n_order, int32_t *first,
                               int32_t *in)
{
  for (int32_t pos = 0; pos < n_order; pos++) {
    const frt_node *n = G.node[order[pos]];
    for (int32_t i = 0; i < n->n_in; i++) {
      FRT_TRY(import_link(p, n->in[i], first, &in[i]));
    }
    int32_t made;
    frt_origin origin = n->origin;
    origin.walk = pos + 1;
    FRT_TRY(frt__pnode_new(p, n->op, n->n_in, in, n->n_out, n->n_attr, n->attr, origin, &made));
    for (int32_t k = 0; k < n->n_out; k++) {
      FRT_TRY(frt__value_new(p, &n->shape[k], &p->node[made].out[k]));
      p->value[p->node[made].out[k]].maker = made;
    }
    first[pos] = n->n_out > 0 ? p->node[made].out[0] : -1;
  }
  return FRT_OK;
}

static frt_status import(frt_plan *p, int32_t n, const frt_link *outs, bool with_pending,
                         const int32_t *order, int32_t n_order)
{
  FRT_TRY(frt__grow(&p->slot, &p->cap_slot, n_slots + 1, sizeof *p->slot));
  if (n_slots > 0) {
    memcpy(p->slot, slots, sizeof *slots * (size_t)n_slots);
  }
  p->n_slot = n_slots;
  int32_t widest = 1;
  for (int32_t pos = 0; pos < n_order; pos++) {
    widest = FRT_MAX(widest, G.node[order[pos]]->n_in);
  }
  int32_t *first = frt__plan_alloc(p, sizeof *first * (size_t)(n_order + widest + 1));
  FRT_CHECK(first, FRT_ENOMEM, "out of memory: a plan");
  FRT_TRY(import_nodes(p, order, n_order, first, first + n_order));
  FRT_TRY(frt__grow(&p->output, &p->cap_output, n + 1, sizeof *p->output));
  for (int32_t i = 0; i < n; i++) {
    FRT_TRY(import_link(p, outs[i], first, &p->output[i]));
    p->n_output = i + 1;
  }
  FRT_TRY(frt__grow(&p->assign, &p->cap_assign, G.n_pending + 1, sizeof *p->assign));
  for (int32_t i = 0; with_pending && i < G.n_pending; i++) {
    frt_assignment a;
    int32_t leaf, value;
    FRT_TRY(frt__leaf(G.pending[i], &leaf));
    FRT_TRY(slot_of((frt_link){leaf, 0}, &a.slot));
    FRT_TRY(slot_value(p, a.slot, &value));
    FRT_TRY(import_link(p, G.var[G.pending[i]].current, first, &a.value));
    p->slot[a.slot].assigned = true;
    p->assign[p->n_assign++] = a;
  }
  return FRT_OK;
}

// The nodes of the recording that was compiled or found last, by number. They are its own until the
// next sweep frees some.
static int32_t *walk, n_walk, cap_walk;
static uint32_t walk_sweeps;

static frt_status remember_walk(const int32_t *order, int32_t n)
{
  n_walk = 0;
  FRT_TRY(frt__grow(&walk, &cap_walk, n + 1, sizeof *walk));
  if (n > 0) {
    memcpy(walk, order, sizeof *walk * (size_t)n);
  }
  n_walk = n;
  walk_sweeps = G.sweeps;
  return FRT_OK;
}

frt_origin frt__origin_now(frt_origin o)
{
  bool known = o.walk > 0 && o.walk <= n_walk && walk_sweeps == G.sweeps;
  return known ? G.node[walk[o.walk - 1]]->origin : o;
}

// --- the cache
// --------------------------------------------------------------------------------------
static frt_plan *plans;
static int64_t cache_limit = (int64_t)512 << 20, compiled;

static int64_t plan_weight(const frt_plan *p)
{
  return (int64_t)(p->derived_bytes + p->packed_bytes + p->key_bytes + sizeof *p +
                   (size_t)p->n_step * 600 + (size_t)p->n_value * sizeof *p->value);
}

void frt__cache_info(frt_plan_info *out)
{
  out->compiled = compiled;
  for (const frt_plan *p = plans; p; p = p->next) {
    out->cached++;
    out->cache += plan_weight(p);
  }
}

void frt_plans_limit(int64_t bytes)
{
  cache_limit = bytes;
}

void frt_plans_clear(void)
{
  while (plans) {
    frt_plan *next = plans->next;
    frt__plan_free(plans);
    plans = next;
  }
}

static void trim(void)
{
  int64_t total = 0;
  for (frt_plan **at = &plans; *at;) {
    frt_plan *p = *at;
    total += plan_weight(p);
    if (p != plans && total > cache_limit) {
      *at = p->next;
      frt__plan_free(p);
    } else {
      at = &p->next;
    }
  }
}

static frt_plan *lookup(uint64_t hash)
{
  for (frt_plan **at = &plans; *at; at = &(*at)->next) {
    frt_plan *p = *at;
    if (p->hash == hash && p->key_bytes == sizeof *key * (size_t)n_key &&
        memcmp(p->key, key, p->key_bytes) == 0) {
      *at = p->next;
      p->next = plans;
      plans = p;
      return p;
    }
  }
  return NULL;
}

static frt_status build(frt_plan *p, int32_t n, const frt_link *outs, bool with_pending,
                        const int32_t *order, int32_t n_order)
{
  FRT_TRY(import(p, n, outs, with_pending, order, n_order));
  FRT_TRY(frt__pass_simplify(p));
  FRT_TRY(frt__as_recorded() ? frt__pass_expand(p) : frt__pass_lower(p));
  FRT_TRY(frt__pass_place(p));
  return frt__pass_arena(p);
}

static frt_status compile(int32_t frugality, uint64_t hash, int32_t n, const frt_link *outs,
                          bool with_pending, const int32_t *order, int32_t n_order, frt_plan **out)
{
  frt_plan *p = frt__zalloc(sizeof *p);
  FRT_CHECK(p, FRT_ENOMEM, "out of memory: a plan");
  p->hash = hash;
  p->frugality = frugality;
  p->device = frt__device();
  p->key_bytes = sizeof *key * (size_t)n_key;
  p->key = frt__alloc(p->key_bytes);
  frt_status status = FRT_OK;
  if (!p->key) {
    status = frt_error_set(FRT_ENOMEM, "out of memory: a plan");
  } else {
    memcpy(p->key, key, p->key_bytes);
    status = build(p, n, outs, with_pending, order, n_order);
  }
  if (status != FRT_OK) {
    frt__plan_free(p);
    return status;
  }
  *out = p;
  return FRT_OK;
}

// What a limit is about.
static int64_t needs(const frt_plan *p)
{
  return (int64_t)p->arena; // scratch lies in it
}

void frt_set_memory(int64_t bytes)
{
  G.memory = FRT_MAX((int64_t)0, bytes);
}

frt_status frt__plan_compile(int32_t n, const frt_link *outs, bool with_pending, frt_plan **plan,
                             frt_binding **bind)
{
  const int32_t *order;
  int32_t n_order;
  FRT_TRY(frt__walk_needed(n, outs, with_pending, true, &order, &n_order));
  FRT_TRY(write_key(n, outs, with_pending, order, n_order));
  *bind = bindings;
  FRT_TRY(remember_walk(order, n_order));
  uint64_t hash = frt__hash(1, key, sizeof *key * (size_t)n_key);
  if ((*plan = lookup(hash))) {
    return FRT_OK;
  }
  frt_plan *p = NULL, *best = NULL;
  for (int32_t frugality = 0; frugality < FRT_FRUGALITIES; frugality++) {
    frt_status status = compile(frugality, hash, n, outs, with_pending, order, n_order, &p);
    if (status != FRT_OK) {
      frt__plan_free(best);
      return status;
    }
    frt_plan *worse = best && needs(best) <= needs(p) ? p : best;
    best = worse == p ? best : p;
    frt__plan_free(worse);
    if (G.memory == 0 || needs(best) <= G.memory || frt__as_recorded() || G.finite) {
      break;
    }
  }
  p = best;
  p->next = plans;
  plans = *plan = p;
  compiled++;
  trim();
  return FRT_OK;
}
