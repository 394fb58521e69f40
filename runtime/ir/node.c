// node.c -- the table of recorded nodes: handles, recording, walking, sweeping.
#include "ir/graph.h"

#include <stdio.h>

frt_graph frt__graph = {.newest = -1};
#define G frt__graph

// --- origins: recipe lines and module paths are interned once ---------------------------------
static char **texts;
static int32_t n_texts, cap_texts;
static int32_t *text_table, text_slots; // ids by hash, open addressing; 0 is free
static char error_line[320];

// Where `text` is in the table, or would be.
static int32_t *text_slot(const char *text)
{
  uint64_t at = frt__hash(0, text, strlen(text));
  int32_t *slot;
  do {
    slot = &text_table[at++ & (uint64_t)(text_slots - 1)];
  } while (*slot && strcmp(texts[*slot], text) != 0);
  return slot;
}

static bool more_texts(void)
{
  if (frt__grow(&texts, &cap_texts, n_texts + 2, sizeof *texts) != FRT_OK) {
    return false;
  }
  if (2 * (n_texts + 1) > text_slots) {
    int32_t slots = FRT_MAX(256, 2 * text_slots),
            *table = frt__zalloc(sizeof *table * (size_t)slots);
    if (!table) {
      return false;
    }
    frt__free(text_table);
    text_table = table;
    text_slots = slots;
    for (int32_t i = 1; i < n_texts; i++) {
      *text_slot(texts[i]) = i;
    }
  }
  return true;
}

// The id of a text; 0 ("unknown") when there is no memory for it.
static int32_t intern(const char *text)
{
  static int32_t recent;
  if (recent > 0 && strcmp(texts[recent], text) == 0) {
    return recent;
  }
  if (!more_texts()) {
    return 0;
  }
  int32_t *slot = text_slot(text);
  if (!*slot) {
    char *copy = frt__strdup(text);
    if (!copy) {
      return 0;
    }
    n_texts = FRT_MAX(n_texts, 1);
    *slot = n_texts;
    texts[n_texts++] = copy;
  }
  return recent = *slot;
}

const char *frt__text(int32_t id)
{
  return id > 0 ? texts[id] : "";
}

void frt_line(const char *source, int32_t line)
{
  G.here.source = source && *source ? intern(source) : 0;
  G.here.line = line;
}

void frt_scope(const char *path)
{
  G.here.scope = path && *path ? intern(path) : 0;
}

void frt_checkpoint(int32_t on)
{
  static int32_t stages;
  stages = stages == INT32_MAX ? 0 : stages;
  G.here.stage = on ? ++stages : 0;
}

const char *frt__origin_line(frt_origin o)
{
  static char ring[4][320];
  static int next;
  char *text = ring[next++ & 3];
  if (o.source) {
    snprintf(text, 320, "%s:%d", frt__text(o.source), o.line);
  } else {
    text[0] = 0;
  }
  return text;
}

void frt__blame(frt_origin o)
{
  snprintf(error_line, sizeof error_line, "%s", frt__origin_line(o));
}

const char *frt_error_line(void)
{
  return error_line;
}

// --- handles ------------------------------------------------------------------------------------
frt_ref frt__ref(frt_link link)
{
  return link.node < 0 ? 0 : frt__pack(link.node, G.gen[link.node], link.out);
}

frt_status frt__link(frt_ref ref, frt_link *out)
{
  uint64_t bits = (uint64_t)ref;
  int32_t index = (int32_t)(bits & 0x3fffff);
  uint32_t gen = (uint32_t)(bits >> 22 & 0x3ffff);
  int32_t k = (int32_t)(bits >> 40);
  *out = (frt_link){-1, 0};
  if (k == FRT_OUT_VAR) {
    FRT_TRY(frt__var(ref, &index));
    if (G.var[index].current.node >= 0) {
      *out = G.var[index].current;
      return FRT_OK;
    }
    out->out = 0;
    return frt__leaf(index, &out->node);
  }
  FRT_CHECK(index < G.n_node && G.node[index] && G.gen[index] == gen && k < G.node[index]->n_out,
            FRT_ESTATE, "stale tensor handle: its graph has been freed");
  *out = (frt_link){index, k};
  return FRT_OK;
}

frt_status frt_info(frt_ref t, frt_shape *out)
{
  if (frt__names_var(t)) {
    int32_t v;
    FRT_TRY(frt__var(t, &v));
    *out = G.var[v].shape;
    return FRT_OK;
  }
  frt_link l;
  FRT_TRY(frt__link(t, &l));
  *out = *frt__link_shape(l);
  return FRT_OK;
}

const frt_shape *frt__ref_shape(frt_ref t)
{
  if (frt__builder) {
    return frt__builder->shape(frt__builder->self, t);
  }
  frt_link l;
  static const frt_shape none;
  return frt__link(t, &l) == FRT_OK ? frt__link_shape(l) : &none;
}

int32_t frt_has_value(frt_ref t)
{
  frt_link l;
  return frt__names_var(t) || (frt__link(t, &l) == FRT_OK && frt__link_has_value(l));
}

int32_t frt_nodes(void)
{
  return G.live;
}

// --- making nodes -------------------------------------------------------------------------------
static frt_status take_slot(int32_t *slot)
{
  if (G.n_free > 0) {
    *slot = G.free_slot[--G.n_free];
    return FRT_OK;
  }
  FRT_CHECK(G.n_node < FRT_MAX_HANDLE - 1, FRT_ENOMEM, "out of memory: more than %d live tensors",
            G.n_node);
  FRT_TRY(frt__grow(&G.node, &G.cap_node, G.n_node + 1, sizeof *G.node));
  FRT_TRY(frt__grow(&G.gen, &G.cap_gen, G.n_node + 1, sizeof *G.gen));
  // Room to give every slot back, so that sweeping cannot fail.
  FRT_TRY(frt__grow(&G.free_slot, &G.cap_free, G.n_node + 1, sizeof *G.free_slot));
  G.gen[G.n_node] = 1;
  G.node[G.n_node] = NULL;
  *slot = G.n_node++;
  return FRT_OK;
}

static frt_status node_new(const frt_op *op, int32_t n_in, int32_t n_out, int32_t n_attr,
                           int32_t *index)
{
  size_t ins = sizeof(frt_link) * (size_t)n_in, outs = sizeof(frt_shape) * (size_t)n_out;
  size_t bytes = sizeof(frt_node) + ins + outs + sizeof(double) * (size_t)n_attr;
  FRT_TRY(take_slot(index));
  frt_node *n = frt__alloc(bytes);
  if (!n) {
    G.free_slot[G.n_free++] = *index;
    return frt_error_set(FRT_ENOMEM, "out of memory: recording %s", op ? op->name : "a value");
  }
  memset(n, 0, sizeof *n);
  char *tail = (char *)(n + 1);
  *n = (frt_node){.op = op,
                  .n_in = n_in,
                  .n_out = n_out,
                  .n_attr = n_attr,
                  .var = -1,
                  .origin = G.here,
                  .older = G.newest};
  n->shape = (frt_shape *)tail;
  n->attr = (double *)(tail + outs);
  n->in = (frt_link *)(tail + outs + sizeof(double) * (size_t)n_attr);
  memset(n->shape, 0, outs);
  G.node[*index] = n;
  G.newest = *index;
  G.live++;
  return FRT_OK;
}

// Undoes node_new of the newest node.
static void node_undo(int32_t index)
{
  frt_node *n = G.node[index];
  G.newest = n->older;
  G.node[index] = NULL;
  G.free_slot[G.n_free++] = index;
  G.live--;
  frt__free(n);
}

frt_status frt__record_links(const frt_op *op, int32_t n_in, const frt_link *in, int32_t n_attr,
                             const double *attr, int32_t n_out, int32_t *node)
{
  FRT_CHECK(op->n_in < 0 || (n_in <= op->n_in && n_in >= op->n_in - op->n_optional), FRT_EARG,
            "%s: takes %d inputs, got %d", op->name, op->n_in, n_in);
  FRT_TRY(frt__check_attrs(op, n_attr, attr));
  int32_t full = FRT_MAX(n_in, op->n_in);
  int32_t made = op->n_out >= 0 ? op->n_out : n_out;
  FRT_CHECK(made >= 0 && made < FRT_OUT_VAR, FRT_EARG, "%s: at most %d outputs, got %d", op->name,
            FRT_OUT_VAR - 1, made);
  FRT_CHECK(op->n_in >= 0 || n_in > 0, FRT_EARG, "%s: needs at least one input", op->name);
  FRT_TRY(node_new(op, full, made, n_attr, node));
  frt_node *n = G.node[*node];
  const frt_shape *few[16], **xs = few;
  if (full > 16 && !(xs = frt__alloc(sizeof *xs * (size_t)full))) {
    node_undo(*node);
    return frt_error_set(FRT_ENOMEM, "out of memory: recording %s", op->name);
  }
  frt_status status = FRT_OK;
  for (int32_t i = 0; i < full; i++) {
    n->in[i] = i < n_in ? in[i] : (frt_link){-1, 0};
    xs[i] = n->in[i].node >= 0 ? frt__link_shape(n->in[i]) : NULL;
    const bool needed = op->n_in < 0 || i < op->n_in - op->n_optional;
    if (!xs[i] && needed && status == FRT_OK) {
      status = frt_error_set(FRT_EARG, "%s: input %d is missing", op->name, i + 1);
    }
  }
  if (n_attr > 0) {
    memcpy(n->attr, attr, sizeof(double) * (size_t)n_attr);
  }
  if (status == FRT_OK) {
    frt_infer c = {.n_in = full, .n_out = made, .x = xs, .y = n->shape, .attr = n->attr};
    status = op->infer(&c);
  }
  for (int32_t k = 0; k < made && status == FRT_OK; k++) {
    status = frt__check_size(op->name, &n->shape[k]);
  }
  if (xs != few) {
    frt__free(xs);
  }
  if (status != FRT_OK) {
    node_undo(*node);
  }
  return status;
}

static int32_t attr_total(const frt_op *op)
{
  int32_t n = 0;
  for (int32_t i = 0; i < op->n_attr; i++) {
    n += FRT_MAX(op->attr[i].n, 1);
  }
  return n;
}

static frt_status record(const frt_op *op, int32_t n_in, const frt_ref *in, int32_t n_attr,
                         const double *attr, int32_t n_out, frt_ref *out)
{
  frt_link few[16] =
    {
      {0, 0}
  },
           *links = few;
  if (n_in > 16) {
    links = frt__alloc(sizeof *links * (size_t)n_in);
    FRT_CHECK(links, FRT_ENOMEM, "out of memory: recording %s", op->name);
  }
  frt_status status = FRT_OK;
  for (int32_t i = 0; i < n_in && status == FRT_OK; i++) {
    if (in[i] == 0) {
      links[i] = (frt_link){-1, 0};
    } else {
      status = frt__link(in[i], &links[i]);
    }
  }
  int32_t node = -1;
  if (status == FRT_OK) {
    status = frt__record_links(op, n_in, links, n_attr, attr, n_out, &node);
  }
  if (links != few) {
    frt__free(links);
  }
  FRT_TRY(status);
  for (int32_t k = 0; k < G.node[node]->n_out && k < n_out; k++) {
    out[k] = frt__pack(node, G.gen[node], k);
  }
  return FRT_OK;
}

frt_status frt_record(int32_t op, int32_t n_in, const frt_ref *in, int32_t n_attr,
                      const double *attr, int32_t n_out, frt_ref *out)
{
  FRT_CHECK(op >= 0 && op < frt_op_table_len, FRT_EARG, "record: no op number %d", op);
  return record(frt_op_table[op], n_in, in, n_attr, attr, n_out, out);
}

frt_status frt__node(const frt_op *op, int32_t n_in, const frt_ref *in, const double *attr,
                     int32_t n_out, frt_ref *out)
{
  const frt_builder *b = frt__builder;
  const int32_t n_attr = attr_total(op);
  return b ? b->node(b->self, op, n_in, in, n_attr, attr, n_out, out)
           : record(op, n_in, in, n_attr, attr, n_out, out);
}

frt_status frt_scalar(double value, int32_t dtype, frt_ref *out)
{
  int32_t node = -1;
  FRT_CHECK(dtype == FRT_F32 || dtype == FRT_F64 || dtype == FRT_I32, FRT_EARG,
            "scalar: must be f32, f64 or i32, got dtype %d", dtype);
  FRT_TRY(node_new(NULL, 0, 1, 0, &node));
  frt_node *n = G.node[node];
  n->kind = FRT_NODE_SCALAR;
  n->scalar = value;
  n->shape[0].dtype = dtype;
  *out = frt__pack(node, G.gen[node], 0);
  return FRT_OK;
}

frt_status frt__leaf(int32_t var, int32_t *node)
{
  frt_var *v = &G.var[var];
  FRT_CHECK(!v->gone, FRT_ESTATE, "%s", FRT_BATCH_GONE);
  if (v->leaf < 0) {
    int32_t made = -1;
    FRT_TRY(node_new(NULL, 0, 1, 0, &made));
    frt_node *n = G.node[made];
    n->kind = FRT_NODE_VAR;
    n->var = var;
    n->version = v->version;
    n->var_gen = v->gen;
    n->borrowed = v->wrapped;
    n->shape[0] = v->shape;
    v->leaf = made;
  }
  *node = v->leaf;
  return FRT_OK;
}

// --- values of nodes ----------------------------------------------------------------------------
frt_status frt__result_new(frt_node *n, int32_t out, const frt_memory_space *space)
{
  if (!n->value) {
    n->value = frt__zalloc(sizeof *n->value * (size_t)n->n_out);
    FRT_CHECK(n->value, FRT_ENOMEM, "out of memory: a result");
  }
  frt_buffer *r = &n->value[out];
  return r->space ? FRT_OK : frt__buffer_new(r, space, frt__bytes(&n->shape[out]), "a result");
}

void frt__node_free(int32_t index)
{
  frt_node *n = G.node[index];
  for (int32_t k = 0; n->value && k < n->n_out; k++) {
    frt__buffer_free(&n->value[k]);
  }
  frt__free(n->value);
  if (n->kind == FRT_NODE_VAR && G.var[n->var].leaf == index) {
    G.var[n->var].leaf = -1;
  }
  frt__free(n);
  G.node[index] = NULL;
  G.gen[index] = (G.gen[index] + 1) & 0x3ffff;
  G.gen[index] += G.gen[index] == 0;
  G.free_slot[G.n_free++] = index;
  G.live--;
}
