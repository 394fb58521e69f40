// checkpoint.c -- gradient checkpointing: what a stage that was recorded as such (frt_checkpoint)
// makes and only its backward pass reads again is computed again there.
//
// Kept are what comes in, what others read, and what is much smaller than what it is made of
// (statistics, means over maps). Everything else is copied, with the nodes that make it, to just
// before the first node of the gradient that reads it: random numbers too, for they are drawn by
// key. Copies are ordinary nodes; recompute.c may go on from there.
#include "plan/plan.h"

enum { SMALL_PART = 16 };

typedef struct stages {
  frt_plan *p;
  frt_readers r;
  int32_t n, n_value; // nodes and values before any is added
  int64_t *need;      // by value: lowest rank of a copy that reads it
  bool *kept;         // by value
} stages;

static bool is_small(const frt_plan *p, const frt_pnode *n, int32_t v)
{
  size_t largest = 0;
  for (int32_t k = 0; k < n->n_in; k++) {
    largest = n->in[k] >= 0 ? FRT_MAX(largest, p->value[n->in[k]].bytes) : largest;
  }
  return p->value[v].bytes <= largest / SMALL_PART;
}

// Whether output k of a stage's node stays until the backward pass. From the last node to the
// first: a view keeps what it is a view of.
static bool keeps(const stages *c, const frt_pnode *n, int32_t k)
{
  const frt_plan *p = c->p;
  const int32_t v = n->out[k];
  const bool statistics =
    n->op == &frt_op_fused_bn_stats || (n->op == &frt_op_fused_conv2d && k > 0);
  if (n->derived || (n->op->flags & FRT_UPDATE) || p->value[v].pinned || statistics || c->kept[v] ||
      is_small(p, n, v)) {
    return true;
  }
  for (int32_t i = c->r.first[v]; i < c->r.first[v + 1]; i++) {
    int32_t stage = p->node[c->r.list[i]].origin.stage;
    if (stage != n->origin.stage && stage != FRT_BACKWARD) {
      return true;
    }
  }
  return false;
}

// The rank before which output `v` must be there again; INT64_MAX when nobody asks.
static int64_t wanted_at(const stages *c, int32_t v)
{
  int64_t rank = c->need[v];
  for (int32_t i = c->r.first[v]; i < c->r.first[v + 1]; i++) {
    const frt_pnode *reader = &c->p->node[c->r.list[i]];
    rank = reader->origin.stage == FRT_BACKWARD ? FRT_MIN(rank, reader->rank) : rank;
  }
  return rank;
}

static frt_status compute_again(stages *c, int32_t at, int64_t rank)
{
  frt_plan *p = c->p;
  int32_t made;
  FRT_TRY(frt__pnode_again(p, at, &made));
  const frt_pnode *n = &p->node[at];
  frt_pnode *m = &p->node[made];
  m->rank = rank;
  m->origin.stage = FRT_BACKWARD;
  for (int32_t k = 0; k < m->n_in; k++) {
    if (m->in[k] >= 0 && m->in[k] < c->n_value) {
      c->need[m->in[k]] = FRT_MIN(c->need[m->in[k]], rank);
    }
  }
  for (int32_t k = 0; k < m->n_out; k++) {
    int32_t v = n->out[k];
    if (v < 0 || c->kept[v]) {
      continue;
    }
    for (int32_t i = c->r.first[v]; i < c->r.first[v + 1]; i++) {
      frt_pnode *reader = &p->node[c->r.list[i]];
      if (reader->origin.stage == FRT_BACKWARD) {
        frt__redirect(reader, v, m->out[k]);
      }
    }
    for (int32_t i = c->n; i < p->n_node; i++) {
      frt__redirect(&p->node[i], v, m->out[k]);
    }
  }
  return FRT_OK;
}

static frt_status run(stages *c)
{
  frt_plan *p = c->p;
  for (int32_t v = 0; v < c->n_value; v++) {
    c->need[v] = INT64_MAX;
    c->kept[v] = false;
  }
  for (int32_t i = 0; i < c->n; i++) { // room for a copy of every node before each
    p->node[i].rank = (int64_t)i * (c->n + 2);
  }
  for (int32_t i = c->n - 1; i >= 0; i--) {
    if (p->node[i].origin.stage <= 0) {
      continue;
    }
    int64_t rank = INT64_MAX;
    for (int32_t k = 0; k < p->node[i].n_out; k++) {
      const frt_pnode *n = &p->node[i];
      int32_t v = n->out[k];
      if (v < 0) {
        continue;
      }
      c->kept[v] = keeps(c, n, k);
      if (c->kept[v] && (n->op->flags & FRT_VIEW)) {
        c->kept[n->in[0]] = true;
      }
      rank = c->kept[v] ? rank : FRT_MIN(rank, wanted_at(c, v));
    }
    if (rank < INT64_MAX) {
      FRT_TRY(compute_again(c, i, rank - 1));
    }
  }
  return FRT_OK;
}

frt_status frt__pass_checkpoint(frt_plan *p)
{
  bool any = false;
  for (int32_t i = 0; i < p->n_node && !any; i++) {
    any = p->node[i].origin.stage > 0;
  }
  if (!any) {
    return FRT_OK;
  }
  stages c = {.p = p, .n = p->n_node, .n_value = p->n_value};
  FRT_TRY(frt__readers_new(p, &c.r));
  c.need = frt__alloc((sizeof *c.need + sizeof *c.kept) * (size_t)(c.n_value + 1));
  frt_status status = c.need ? FRT_OK : frt_error_set(FRT_ENOMEM, "out of memory: a plan");
  if (c.need) {
    c.kept = (bool *)(c.need + c.n_value);
    status = run(&c);
  }
  frt__free(c.need);
  frt__readers_free(&c.r);
  frt__sort_nodes(p);
  frt__drop_unread(p); // what only the backward pass read
  return status;
}
