// cut.c -- what of a batch of photos need not be computed twice: the values through which the rest
// of a step depends on the photos, and which follow from each photo and frozen variables alone.
#include <stdio.h>

#include "op_list.h"
#include "passes/cut.h"

#define G frt__graph

// --- what depends on what ---------------------------------------------------------------------
static int32_t kind_of(frt__search *s, frt_link l, int32_t *cause)
{
  const frt_node *n = G.node[l.node];
  if (frt__in_order(l)) {
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

// Whether an op makes of equal inputs equal outputs, and nothing that lasts.
static bool is_pure(const frt_op *op)
{
  return !(op->flags & (FRT_RANDOM | FRT_UPDATE)) && op != &frt_op_batch_norm_train;
}

static void classify(frt__search *s)
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
    if (n->op->flags & FRT_RANDOM || (kind == PHOTO && !is_pure(n->op))) {
      kind |= VARIES;
      cause = p;
    }
    s->kind[p] = (uint8_t)kind;
    s->cause[p] = cause;
  }
}

// Which PHOTO values are read, and by what is none; x is place n_order.
static void read_by(frt__search *s, frt_link l, bool outside)
{
  int32_t at = l.node == s->x_node ? s->n_order : frt__in_order(l) ? G.node[l.node]->pos : -1;
  if (at >= 0 && (at == s->n_order || s->kind[at] == PHOTO)) {
    s->used[at] |= 1u << (l.out & 31);
    s->front[at] |= outside;
  }
}

static void find_front(frt__search *s, int32_t n, const frt_link *outs)
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

// --- what is said of it -------------------------------------------------------------------------
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
static frt_status explain(const frt__search *s, int32_t at, const char *lead)
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
  return frt_error_set(FRT_EARG, "%s%s reads %s", lead, where,
                       s->why_name ? s->why_name : "what changes in each step");
}

static frt_status refuse_photos(const frt__search *s)
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
static frt_status refuse_behind(const frt__search *s, double kept)
{
  double behind = 0;
  int32_t first = -1;
  for (int32_t p = 0; p < s->n_order; p++) {
    if ((s->kind[p] & (PHOTO | VARIES | TRAINED)) == (PHOTO | VARIES)) {
      behind += frt__node_flops(G.node[s->order[p]]);
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
    return frt__buffer_hash(&v->data, &id->weights);
  }
  return FRT_OK;
}

static frt_status add_link(const frt__search *s, identity *id, frt_link l, const int32_t *number)
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

static frt_status add_node(const frt__search *s, identity *id, int32_t p, const int32_t *number)
{
  const frt_node *n = G.node[s->order[p]];
  // The number of photos is in these attributes: of a constant the second one, of what follows
  // from the photos any.
  bool shaping = n->op == &frt_op_reshape || n->op == &frt_op_expand;
  id->structure = frt__hash(id->structure, n->op->name, strlen(n->op->name));
  for (int32_t i = 0; i < n->n_in; i++) {
    FRT_TRY(add_link(s, id, n->in[i], number));
  }
  for (int32_t i = 0; i < n->n_attr; i++) {
    if (!shaping || (s->kind[p] != PHOTO && i != 1)) {
      id->structure = frt__hash(id->structure, &n->attr[i], sizeof n->attr[i]);
    }
  }
  for (int32_t k = 0; s->kind[p] == PHOTO && k < n->n_out; k++) {
    id->structure = mix(id->structure, (uint64_t)n->shape[k].ndim << 56 |
                                         (uint64_t)(frt__numel(&n->shape[k]) / s->batch));
  }
  return FRT_OK;
}

// The nodes that the kept values are computed from, constants among them: need[].
static void find_before(frt__search *s, const frt_cut *cut)
{
  memset(s->need, 0, (size_t)s->n_order);
  for (int32_t k = 0; k < cut->n; k++) {
    s->need[cut->place[k]] = true;
  }
  for (int32_t p = s->n_order - 1; p >= 0; p--) {
    const frt_node *node = G.node[s->order[p]];
    for (int32_t i = 0; s->need[p] && i < node->n_in; i++) {
      if (frt__in_order(node->in[i])) {
        s->need[G.node[node->in[i].node]->pos] = true;
      }
    }
  }
}

static frt_status identify(frt__search *s, bool with_weights, frt_cut *out)
{
  int32_t *number = s->from, n = 0; // paths are found
  identity id = {.with_weights = with_weights};
  frt_status status = FRT_OK;
  find_before(s, out);
  for (int32_t p = 0; p < s->n_order && status == FRT_OK; p++) {
    if (s->need[p]) {
      number[p] = n++;
      status = add_node(s, &id, p, number);
    }
  }
  frt__free(id.var);
  out->structure = id.structure;
  out->weights = id.weights;
  out->stamp = mix(id.structure, id.versions);
  return status;
}

// --- the whole of it
// ------------------------------------------------------------------------------
static frt_status list_values(const frt__search *s, frt_cut *out)
{
  for (int32_t p = 0; p < s->n_order; p++) {
    const frt_node *n = G.node[s->order[p]];
    if (s->kind[p] != PHOTO) {
      continue;
    }
    out->flops += s->behind[2 * p] ? 0 : frt__node_flops(n);
    for (int32_t k = 0; frt__is_cut(s, p) && k < n->n_out; k++) {
      if (s->used[p] >> k & 1) {
        FRT_CHECK(out->n < FRT_COUNT(out->value), FRT_EARG,
                  "more than %d values would have to be kept of each photo", FRT_COUNT(out->value));
        out->value[out->n] = frt__ref((frt_link){s->order[p], k});
        out->place[out->n] = p;
        out->out[out->n] = k;
        out->bytes[out->n++] = (int64_t)frt__bytes(&n->shape[k]) / s->batch;
        snprintf(out->where, sizeof out->where, "%s", place_of(n));
      }
    }
  }
  FRT_CHECK(out->n > 0, FRT_EARG, "nothing of the photos reaches the loss");
  return FRT_OK;
}

static frt_status find(frt__search *s, int32_t n, const frt_link *outs, bool with_weights,
                       frt_cut *out)
{
  classify(s);
  find_front(s, n, outs);
  FRT_TRY(frt__cut_flow(s));
  if (frt__is_cut(s, s->n_order)) {
    return refuse_photos(s);
  }
  FRT_TRY(list_values(s, out));
  FRT_TRY(refuse_behind(s, out->flops));
  return identify(s, with_weights, out);
}

// Whether everything else takes of the photos what the cut keeps, and nothing more.
static bool is_all(const frt__search *s, const frt_cut *cut, frt_link l)
{
  if (l.node < 0 || l.node == s->x_node) {
    return l.node < 0;
  }
  if (!frt__in_order(l) || !s->need[G.node[l.node]->pos] ||
      !(s->kind[G.node[l.node]->pos] & PHOTO)) {
    return true;
  }
  for (int32_t k = 0; k < cut->n; k++) {
    if (cut->place[k] == G.node[l.node]->pos && cut->out[k] == l.out) {
      return true;
    }
  }
  return false;
}

// The same cut in another recording of the step.
static frt_status find_again(frt__search *s, int32_t n, const frt_link *outs, frt_cut *out)
{
  classify(s);
  bool same = true;
  for (int32_t k = 0; k < out->n && same; k++) {
    same = out->place[k] < s->n_order && s->kind[out->place[k]] == PHOTO &&
           out->out[k] < G.node[s->order[out->place[k]]]->n_out;
  }
  uint64_t stamp = out->stamp;
  if (same) {
    FRT_TRY(identify(s, false, out));
  }
  same = same && out->stamp == stamp;
  for (int32_t p = 0; p < s->n_order && same; p++) {
    const frt_node *node = G.node[s->order[p]];
    for (int32_t i = 0; !s->need[p] && i < node->n_in; i++) {
      same = same && is_all(s, out, node->in[i]);
    }
  }
  for (int32_t i = 0; i < n + G.n_pending && same; i++) {
    same = is_all(s, out, i < n ? outs[i] : G.var[G.pending[i - n]].current);
  }
  for (int32_t k = 0; k < out->n && same; k++) {
    out->value[k] = frt__ref((frt_link){s->order[out->place[k]], out->out[k]});
  }
  out->stamp = stamp;
  FRT_CHECK(same, FRT_ESTATE, "what is frozen, or what is made of it, changed within an epoch");
  return FRT_OK;
}

static void *take(char **at, size_t bytes)
{
  void *p = *at;
  *at += (bytes + 15) / 16 * 16;
  return p;
}

static frt_status search_step(int32_t n, const frt_ref *outs, frt_ref x, bool again,
                              bool with_weights, frt_cut *out)
{
  frt_link links[16], photos;
  frt__search s = {0};
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
  s.need = take(&at, places);
  s.behind = take(&at, vertices);
  s.first = take(&at, vertices * sizeof *s.first);
  s.queue = take(&at, vertices * sizeof *s.queue);
  s.from = take(&at, vertices * sizeof *s.from);
  frt_status status = again ? find_again(&s, n, links, out) : find(&s, n, links, with_weights, out);
  frt__free(s.edge);
  frt__free(room);
  return status;
}

frt_status frt_cut_find(int32_t n, const frt_ref *outs, frt_ref x, int32_t with_weights,
                        frt_cut *out)
{
  *out = (frt_cut){0};
  return search_step(n, outs, x, false, with_weights != 0, out);
}

frt_status frt_cut_again(int32_t n, const frt_ref *outs, frt_ref x, frt_cut *cut)
{
  return search_step(n, outs, x, true, false, cut);
}

frt_status frt_give(frt_ref t, const void *src)
{
  frt_link l;
  FRT_TRY(frt__link(t, &l));
  frt_node *n = G.node[l.node];
  FRT_CHECK(n->kind == FRT_NODE_OP, FRT_EARG, "give: must be given a computed tensor");
  FRT_TRY(frt__result_new(n, l.out, &frt__host_memory));
  const frt_buffer *b = &n->value[l.out];
  return src ? frt__buffer_write(b, 0, src, b->bytes) : frt__buffer_fill(b, 0);
}
