// flow.c -- the cheapest set of values between the photos and what can't be kept: a maximum flow.
#include "passes/cut.h"

#define G frt__graph

double frt__node_flops(const frt_node *n)
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

// --- the cheapest cut: as much as can flow from the photos to what is no PHOTO ------------------
// It costs the bytes that are kept of a photo and the FLOPs that are computed behind it.
static const int64_t ANY = INT64_MAX / 4;

// Place p enters at vertex 2p and leaves at 2p + 1; the last vertex is the sink.
static frt_status add_edge(frt__search *s, int32_t from, int32_t to, int64_t room)
{
  FRT_TRY(frt__grow(&s->edge, &s->cap_edge, s->n_edge + 2, sizeof *s->edge));
  s->edge[s->n_edge] = (frt__edge){to, s->first[from], room};
  s->first[from] = s->n_edge++;
  s->edge[s->n_edge] = (frt__edge){from, s->first[to], 0};
  s->first[to] = s->n_edge++;
  return FRT_OK;
}

// Bytes of a photo's row of what is read of a node; no end of them where there are no such rows.
static int64_t row_bytes(const frt__search *s, int32_t at)
{
  const frt_node *n = G.node[at == s->n_order ? s->x_node : s->order[at]];
  int64_t bytes = 0;
  for (int32_t k = 0; k < n->n_out; k++) {
    if (k > 31 || s->used[at] >> k & 1) {
      if (k > 31 || n->shape[k].ndim < 1 || n->shape[k].dim[0] != s->batch) {
        return ANY;
      }
      bytes += (int64_t)frt__bytes(&n->shape[k]) / s->batch;
    }
  }
  return bytes * FLOPS_OF_A_BYTE;
}

// What it costs to compute a value in each step instead, in the same unit.
static int64_t work(const frt__search *s, int32_t at)
{
  return (int64_t)(frt__node_flops(G.node[s->order[at]]) / (double)s->batch);
}

static frt_status build_flow(frt__search *s)
{
  for (int32_t v = 0; v < s->n_vertex; v++) {
    s->first[v] = -1;
  }
  for (int32_t p = 0; p <= s->n_order; p++) {
    if (p < s->n_order && s->kind[p] != PHOTO) {
      continue;
    }
    FRT_TRY(add_edge(s, 2 * p, 2 * p + 1, row_bytes(s, p)));
    if (p < s->n_order) {
      FRT_TRY(add_edge(s, 2 * s->n_order, 2 * p, work(s, p)));
    }
    if (s->front[p]) {
      FRT_TRY(add_edge(s, 2 * p + 1, s->n_vertex - 1, ANY));
    }
    const frt_node *n = p < s->n_order ? G.node[s->order[p]] : NULL;
    for (int32_t i = 0; n && i < n->n_in; i++) {
      frt_link l = n->in[i];
      int32_t u = l.node < 0            ? -1
                  : l.node == s->x_node ? s->n_order
                  : frt__in_order(l)    ? G.node[l.node]->pos
                                        : -1;
      if (u >= 0 && (u == s->n_order || s->kind[u] == PHOTO)) {
        FRT_TRY(add_edge(s, 2 * u + 1, 2 * p, ANY));
      }
    }
  }
  return FRT_OK;
}

// One more path from the photos to the sink, filled; false when there is none.
static bool augment(frt__search *s)
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
static void find_behind(frt__search *s)
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

frt_status frt__cut_flow(frt__search *s)
{
  FRT_TRY(build_flow(s));
  while (augment(s)) {
  }
  find_behind(s);
  return FRT_OK;
}
