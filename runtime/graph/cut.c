// cut.c -- what of a batch of photos need not be computed twice: the values through which the rest
// of a step depends on the photos, and which follow from each photo and frozen variables alone.
#include <stdio.h>

#include "graph.h"
#include "op_list.h"

#define G frt__graph

// What a value depends on. PHOTO alone is what can be kept.
enum { PHOTO = 1, TRAINED = 2, VARIES = 4 };

typedef struct edge {
  int32_t to, next;
  int64_t
    room; // bytes that may still flow; the edge back is the next or the one before (index ^ 1)
} edge;

typedef struct search {
  const int32_t *order;
  int32_t n_order, x_node; // x_node: the leaf of the photos
  int64_t batch;
  uint8_t *kind;        // of every node of the order
  int32_t *cause;       // node of the order that varies or is trained first; -1: an input
  uint32_t *used;       // outputs that somebody reads
  bool *front;          // read by what is no PHOTO
  const char *why_name; // a variable to speak of
  edge *edge;
  int32_t n_edge, cap_edge, n_vertex, *first, *queue, *from;
  bool *behind; // vertices from which the sink is reached when no more can flow
} search;

// --- what depends on what ---------------------------------------------------------------------
static bool in_order(frt_link l)
{
  return l.node >= 0 && G.node[l.node]->kind == FRT_NODE_OP && !frt__link_has_value(l);
}

static int32_t kind_of(search *s, frt_link l, int32_t *cause)
{
  const frt_node *n = G.node[l.node];
  if (in_order(l)) {
    *cause = s->cause[n->pos];
    return s->kind[n->pos];
  }
  if (l.node == s->x_node) {
    return PHOTO;
  }
  *cause = -1;
  if (n->kind == FRT_NODE_OP) { // computed before, by whoever
    s->why_name = "a value that was computed before";
    return VARIES;
  }
  if (n->kind == FRT_NODE_SCALAR) {
    return 0;
  }
  const frt_var *v = &G.var[n->var];
  if (v->requires_grad) {
    return TRAINED;
  }
  return v->kind == FRT_VAR_INPUT || v->current.node >= 0 ? VARIES : 0;
}

// A row for each photo that follows from that photo alone, as far as shapes tell.
static bool by_photo(const search *s, const frt_node *n)
{
  if (n->op->flags & (FRT_RANDOM | FRT_UPDATE) || n->op == &frt_op_batch_norm_train) {
    return false;
  }
  for (int32_t k = 0; k < n->n_out; k++) {
    if (n->shape[k].ndim < 1 || n->shape[k].dim[0] != s->batch) {
      return false;
    }
  }
  return n->n_out <= 32;
}

static void classify(search *s)
{
  for (int32_t p = 0; p < s->n_order; p++) {
    frt_node *n = G.node[s->order[p]];
    n->pos = p;
    int32_t kind = 0, cause = -1;
    for (int32_t i = 0; i < n->n_in; i++) {
      int32_t why = -1, one = n->in[i].node < 0 ? 0 : kind_of(s, n->in[i], &why);
      if (one & ~kind & (TRAINED | VARIES) && cause < 0) {
        cause = why < 0 && one & (TRAINED | VARIES) ? p : why;
      }
      kind |= one;
    }
    if (n->op->flags & FRT_RANDOM || (kind == PHOTO && !by_photo(s, n))) {
      kind |= VARIES;
      cause = p;
    }
    s->kind[p] = (uint8_t)kind;
    s->cause[p] = cause;
  }
}

// Which PHOTO values are read, and by what is none; x is place n_order.
static void read_by(search *s, frt_link l, bool outside)
{
  int32_t at = l.node == s->x_node ? s->n_order : in_order(l) ? G.node[l.node]->pos : -1;
  if (at >= 0 && (at == s->n_order || s->kind[at] == PHOTO)) {
    s->used[at] |= 1u << (l.out & 31);
    s->front[at] |= outside;
  }
}

static void find_front(search *s, int32_t n, const frt_link *outs)
{
  for (int32_t p = 0; p < s->n_order; p++) {
    const frt_node *node = G.node[s->order[p]];
    for (int32_t i = 0; i < node->n_in; i++) {
      if (node->in[i].node >= 0) {
        read_by(s, node->in[i], s->kind[p] != PHOTO);
      }
    }
  }
  for (int32_t i = 0; i < n; i++) {
    read_by(s, outs[i], true);
  }
  for (int32_t i = 0; i < G.n_pending; i++) {
    read_by(s, G.var[G.pending[i]].current, true);
  }
}

// --- the smallest cut: as many bytes as can flow from the photos to what is no PHOTO ------------
// Place p enters at vertex 2p and leaves at 2p + 1; the last vertex is the sink.
static frt_status add_edge(search *s, int32_t from, int32_t to, int64_t room)
{
  FRT_TRY(frt__grow(&s->edge, &s->cap_edge, s->n_edge + 2, sizeof *s->edge));
  s->edge[s->n_edge] = (edge){to, s->first[from], room};
  s->first[from] = s->n_edge++;
  s->edge[s->n_edge] = (edge){from, s->first[to], 0};
  s->first[to] = s->n_edge++;
  return FRT_OK;
}

static int64_t row_bytes(const search *s, int32_t at)
{
  const frt_node *n = G.node[at == s->n_order ? s->x_node : s->order[at]];
  int64_t bytes = 0;
  for (int32_t k = 0; k < n->n_out; k++) {
    bytes += s->used[at] >> k & 1 ? (int64_t)frt__bytes(&n->shape[k]) / s->batch : 0;
  }
  return bytes;
}

static frt_status build_flow(search *s)
{
  const int64_t any = INT64_MAX / 4;
  for (int32_t v = 0; v < s->n_vertex; v++) {
    s->first[v] = -1;
  }
  for (int32_t p = 0; p <= s->n_order; p++) {
    if (p < s->n_order && s->kind[p] != PHOTO) {
      continue;
    }
    FRT_TRY(add_edge(s, 2 * p, 2 * p + 1, row_bytes(s, p)));
    if (s->front[p]) {
      FRT_TRY(add_edge(s, 2 * p + 1, s->n_vertex - 1, any));
    }
    const frt_node *n = p < s->n_order ? G.node[s->order[p]] : NULL;
    for (int32_t i = 0; n && i < n->n_in; i++) {
      frt_link l = n->in[i];
      int32_t u = l.node < 0            ? -1
                  : l.node == s->x_node ? s->n_order
                  : in_order(l)         ? G.node[l.node]->pos
                                        : -1;
      if (u >= 0 && (u == s->n_order || s->kind[u] == PHOTO)) {
        FRT_TRY(add_edge(s, 2 * u + 1, 2 * p, any));
      }
    }
  }
  return FRT_OK;
}

// One more path from the photos to the sink, filled; false when there is none.
static bool augment(search *s)
{
  int32_t source = 2 * s->n_order, sink = s->n_vertex - 1, head = 0, tail = 0;
  for (int32_t v = 0; v < s->n_vertex; v++) {
    s->from[v] = -1;
  }
  s->queue[tail++] = source;
  while (head < tail && s->from[sink] < 0) {
    int32_t v = s->queue[head++];
    for (int32_t e = s->first[v]; e >= 0; e = s->edge[e].next) {
      int32_t to = s->edge[e].to;
      if (s->edge[e].room > 0 && s->from[to] < 0 && to != source) {
        s->from[to] = e;
        s->queue[tail++] = to;
      }
    }
  }
  if (s->from[sink] < 0) {
    return false;
  }
  int64_t flow = INT64_MAX;
  for (int32_t v = sink; v != source; v = s->edge[s->from[v] ^ 1].to) {
    flow = FRT_MIN(flow, s->edge[s->from[v]].room);
  }
  for (int32_t v = sink; v != source; v = s->edge[s->from[v] ^ 1].to) {
    s->edge[s->from[v]].room -= flow;
    s->edge[s->from[v] ^ 1].room += flow;
  }
  return true;
}

// Of all smallest cuts the one nearest to the sink: it saves most.
static void find_behind(search *s)
{
  int32_t sink = s->n_vertex - 1, head = 0, tail = 0;
  s->behind[sink] = true;
  s->queue[tail++] = sink;
  while (head < tail) {
    int32_t v = s->queue[head++];
    for (int32_t e = s->first[v]; e >= 0; e = s->edge[e].next) {
      int32_t u = s->edge[e].to; // u -> v is the edge back
      if (s->edge[e ^ 1].room > 0 && !s->behind[u]) {
        s->behind[u] = true;
        s->queue[tail++] = u;
      }
    }
  }
}

static bool is_cut(const search *s, int32_t at)
{
  return !s->behind[2 * at] && s->behind[2 * at + 1];
}

// --- what is said of it -------------------------------------------------------------------------
static double flops_of(const frt_node *n)
{
  const frt_shape *x[16];
  double total = 0;
  for (int32_t k = 0; k < n->n_out; k++) {
    total += (double)frt__numel(&n->shape[k]);
  }
  if (!n->op->flops || n->n_in > 16) {
    return total;
  }
  for (int32_t i = 0; i < n->n_in; i++) {
    x[i] = n->in[i].node < 0 ? NULL : frt__link_shape(n->in[i]);
  }
  return n->op->flops(
    &(frt_infer){.n_in = n->n_in, .n_out = n->n_out, .x = x, .y = n->shape, .attr = n->attr});
}

static const char *place_of(const frt_node *n)
{
  static char text[160];
  const char *scope = frt__text(n->origin.scope), *line = frt__origin_line(n->origin);
  if (*scope) {
    snprintf(text, sizeof text, "%s in '%s'", n->op->name, scope);
  } else {
    snprintf(text, sizeof text, "%s%s%s", n->op->name, *line ? " at " : "", line);
  }
  return text;
}

// Why node `at` of the order is no PHOTO.
static frt_status explain(const search *s, int32_t at, const char *lead)
{
  int32_t cause = s->cause[at] >= 0 ? s->cause[at] : at;
  const frt_node *n = G.node[s->order[cause]];
  const char *where = place_of(n);
  if (n->op->flags & FRT_RANDOM) {
    return frt_error_set(FRT_EARG, "%s%s draws new numbers in each step", lead, where);
  }
  if (n->op == &frt_op_batch_norm_train) {
    return frt_error_set(FRT_EARG, "%s%s takes its statistics from the batch", lead, where);
  }
  for (int32_t i = 0; i < n->n_in; i++) {
    const frt_node *from = n->in[i].node < 0 ? NULL : G.node[n->in[i].node];
    if (from && from->kind == FRT_NODE_VAR && n->in[i].node != s->x_node) {
      const frt_var *v = &G.var[from->var];
      const char *name = v->name ? v->name : "a variable";
      if (v->requires_grad) {
        return frt_error_set(FRT_EARG, "%s%s reads '%s', which is trained", lead, where, name);
      }
      if (v->kind == FRT_VAR_INPUT || v->current.node >= 0) {
        return frt_error_set(FRT_EARG, "%s%s reads %s, which changes in each step", lead, where,
                             v->kind == FRT_VAR_INPUT ? "the labels" : name);
      }
    }
  }
  if (s->kind[cause] & PHOTO && !by_photo(s, n)) {
    return frt_error_set(FRT_EARG, "%s%s mixes the photos of a batch", lead, where);
  }
  return frt_error_set(FRT_EARG, "%s%s reads %s", lead, where,
                       s->why_name ? s->why_name : "what changes in each step");
}

static frt_status refuse_photos(const search *s)
{
  for (int32_t p = 0; p < s->n_order; p++) {
    const frt_node *n = G.node[s->order[p]];
    for (int32_t i = 0; i < n->n_in; i++) {
      if (n->in[i].node == s->x_node && s->kind[p] != PHOTO) {
        return explain(s, p, "no part of it follows from the photos alone: ");
      }
    }
  }
  return frt_error_set(FRT_EARG, "nothing smaller than the photos themselves can be kept");
}

// Frozen work that has to be done in each step all the same may be a tenth of what is kept.
static frt_status refuse_behind(const search *s, double kept)
{
  double behind = 0;
  int32_t first = -1;
  for (int32_t p = 0; p < s->n_order; p++) {
    if ((s->kind[p] & (PHOTO | VARIES | TRAINED)) == (PHOTO | VARIES)) {
      behind += flops_of(G.node[s->order[p]]);
      first = first < 0 ? p : first;
    }
  }
  return behind > 0.1 * kept
           ? explain(s, first, "most of what is frozen lies behind something that changes: ")
           : FRT_OK;
}

// --- identity
// ------------------------------------------------------------------------------------- Hash of
// what makes the kept values: ops, attributes, numbers, shapes without the number of photos; of the
// variables' versions; of their bytes.
typedef struct identity {
  uint64_t structure, versions, weights;
  bool with_weights;
  int32_t *var, n_var, cap_var;
} identity;

static uint64_t mix(uint64_t h, uint64_t word)
{
  return frt__hash(h, &word, sizeof word);
}

static frt_status add_var(identity *id, const frt_node *leaf)
{
  frt_var *v = &G.var[leaf->var];
  int32_t at = 0;
  while (at < id->n_var && id->var[at] != leaf->var) {
    at++;
  }
  id->structure = mix(id->structure, (uint64_t)at << 8 | 3);
  if (at < id->n_var) {
    return FRT_OK;
  }
  FRT_TRY(frt__grow(&id->var, &id->cap_var, at + 1, sizeof *id->var));
  id->var[id->n_var++] = leaf->var;
  id->structure = frt__hash(id->structure, &v->shape, sizeof v->shape);
  id->versions = mix(id->versions, v->version);
  if (id->with_weights) {
    FRT_TRY(frt__var_touch(v));
    id->weights = frt__hash(id->weights, v->data, frt__bytes(&v->shape));
  }
  return FRT_OK;
}

static frt_status add_link(const search *s, identity *id, frt_link l, const int32_t *number)
{
  if (l.node < 0 || l.node == s->x_node) {
    id->structure = mix(id->structure, l.node < 0 ? 0 : 1);
    return FRT_OK;
  }
  const frt_node *n = G.node[l.node];
  if (n->kind == FRT_NODE_VAR) {
    return add_var(id, n);
  }
  if (n->kind == FRT_NODE_SCALAR) {
    id->structure = mix(id->structure, 2);
    id->structure = frt__hash(id->structure, &n->scalar, sizeof n->scalar);
  } else {
    id->structure = mix(id->structure, (uint64_t)number[n->pos] << 16 | (uint64_t)l.out << 8 | 4);
  }
  return FRT_OK;
}

static frt_status add_node(const search *s, identity *id, int32_t p, const int32_t *number)
{
  const frt_node *n = G.node[s->order[p]];
  bool shaping = n->op == &frt_op_reshape || n->op == &frt_op_expand; // attr 1: the photos
  id->structure = frt__hash(id->structure, n->op->name, strlen(n->op->name));
  for (int32_t i = 0; i < n->n_in; i++) {
    FRT_TRY(add_link(s, id, n->in[i], number));
  }
  for (int32_t i = 0; i < n->n_attr; i++) {
    if (!(shaping && i == 1)) {
      id->structure = frt__hash(id->structure, &n->attr[i], sizeof n->attr[i]);
    }
  }
  for (int32_t k = 0; s->kind[p] == PHOTO && k < n->n_out; k++) {
    id->structure = frt__hash(id->structure, &n->shape[k].dim[1], sizeof(int64_t) * 5);
  }
  return FRT_OK;
}

// The nodes before the cut, and the constants that they read.
static frt_status identify(search *s, identity *id)
{
  int32_t *number = s->from, n = 0; // paths are found
  bool *need = s->front;
  for (int32_t p = 0; p < s->n_order; p++) {
    need[p] = s->kind[p] == PHOTO && !s->behind[2 * p];
  }
  for (int32_t p = s->n_order - 1; p >= 0; p--) {
    const frt_node *node = G.node[s->order[p]];
    for (int32_t i = 0; need[p] && i < node->n_in; i++) {
      if (in_order(node->in[i])) {
        need[G.node[node->in[i].node]->pos] = true;
      }
    }
  }
  for (int32_t p = 0; p < s->n_order; p++) {
    if (need[p]) {
      number[p] = n++;
      FRT_TRY(add_node(s, id, p, number));
    }
  }
  return FRT_OK;
}

// --- the whole of it
// ------------------------------------------------------------------------------
static frt_status list_values(const search *s, frt_cut *out)
{
  for (int32_t p = 0; p < s->n_order; p++) {
    const frt_node *n = G.node[s->order[p]];
    if (s->kind[p] != PHOTO) {
      continue;
    }
    out->flops += s->behind[2 * p] ? 0 : flops_of(n);
    for (int32_t k = 0; is_cut(s, p) && k < n->n_out; k++) {
      if (s->used[p] >> k & 1) {
        FRT_CHECK(out->n < FRT_COUNT(out->value), FRT_EARG,
                  "more than %d values would have to be kept of each photo", FRT_COUNT(out->value));
        out->value[out->n] = frt__ref((frt_link){s->order[p], k});
        out->bytes[out->n++] = (int64_t)frt__bytes(&n->shape[k]) / s->batch;
        snprintf(out->where, sizeof out->where, "%s", place_of(n));
      }
    }
  }
  FRT_CHECK(out->n > 0, FRT_EARG, "nothing of the photos reaches the loss");
  return FRT_OK;
}

static frt_status find(search *s, int32_t n, const frt_link *outs, bool with_weights, frt_cut *out)
{
  classify(s);
  find_front(s, n, outs);
  FRT_TRY(build_flow(s));
  while (augment(s)) {
  }
  find_behind(s);
  if (is_cut(s, s->n_order)) {
    return refuse_photos(s);
  }
  FRT_TRY(list_values(s, out));
  FRT_TRY(refuse_behind(s, out->flops));
  identity id = {.with_weights = with_weights};
  frt_status status = identify(s, &id);
  frt__free(id.var);
  out->structure = id.structure;
  out->weights = id.weights;
  out->stamp = mix(id.structure, id.versions);
  return status;
}

static void *take(char **at, size_t bytes)
{
  void *p = *at;
  *at += (bytes + 15) / 16 * 16;
  return p;
}

frt_status frt_cut_find(int32_t n, const frt_ref *outs, frt_ref x, int32_t with_weights,
                        frt_cut *out)
{
  frt_link links[16], photos;
  search s = {0};
  *out = (frt_cut){0};
  FRT_CHECK(n >= 1 && n <= FRT_COUNT(links), FRT_EARG, "cut: takes 1 to %d values, got %d",
            FRT_COUNT(links), n);
  for (int32_t i = 0; i < n; i++) {
    FRT_TRY(frt__link(outs[i], &links[i]));
  }
  FRT_TRY(frt__link(x, &photos));
  const frt_shape *shape = frt__link_shape(photos);
  FRT_CHECK(G.node[photos.node]->kind == FRT_NODE_VAR && shape->ndim >= 1, FRT_EARG,
            "cut: the photos must be a variable");
  s.x_node = photos.node;
  s.batch = shape->dim[0];
  FRT_TRY(frt__walk_needed(n, links, true, true, &s.order, &s.n_order));
  size_t places = (size_t)s.n_order + 1, vertices = 2 * places + 1;
  char *room = frt__zalloc(64 * places + 16 * vertices + 256);
  FRT_CHECK(room, FRT_ENOMEM, "out of memory: looking for what can be kept");
  char *at = room;
  s.n_vertex = (int32_t)vertices;
  s.kind = take(&at, places);
  s.cause = take(&at, places * sizeof *s.cause);
  s.used = take(&at, places * sizeof *s.used);
  s.front = take(&at, places);
  s.behind = take(&at, vertices);
  s.first = take(&at, vertices * sizeof *s.first);
  s.queue = take(&at, vertices * sizeof *s.queue);
  s.from = take(&at, vertices * sizeof *s.from);
  frt_status status = find(&s, n, links, with_weights != 0, out);
  frt__free(s.edge);
  frt__free(room);
  return status;
}

frt_status frt_give(frt_ref t, const void *src)
{
  frt_link l;
  FRT_TRY(frt__link(t, &l));
  frt_node *n = G.node[l.node];
  FRT_CHECK(n->kind == FRT_NODE_OP, FRT_EARG, "give: must be given a computed tensor");
  FRT_TRY(frt__result_new(n, l.out));
  size_t bytes = frt__bytes(&n->shape[l.out]);
  if (src) {
    memcpy(n->value[l.out].data, src, bytes);
  } else {
    memset(n->value[l.out].data, 0, bytes);
  }
  return FRT_OK;
}
