// cut.h -- looking for what of a batch of photos can be kept: the search that cut.c makes and
// flow.c decides.
#pragma once
#include "ir/graph.h"

// What a value depends on. PHOTO alone is what can be kept.
enum { PHOTO = 1, TRAINED = 2, VARIES = 4 };
// A byte to keep for each photo is worth as much as these to compute for it in each step: reading
// it back takes about as long as 20, the rest is for the disk.
enum { FLOPS_OF_A_BYTE = 1000 };

typedef struct frt__edge {
  int32_t to, next;
  int64_t
    room; // bytes that may still flow; the edge back is the next or the one before (index ^ 1)
} frt__edge;

typedef struct frt__search {
  const int32_t *order;
  int32_t n_order, x_node; // x_node: the leaf of the photos
  int64_t batch;
  uint8_t *kind;        // of every node of the order
  int32_t *cause;       // node of the order that varies or is trained first; -1: an input
  uint32_t *used;       // outputs that somebody reads
  bool *front;          // read by what is no PHOTO
  const char *why_name; // a variable to speak of
  frt__edge *edge;
  int32_t n_edge, cap_edge, n_vertex, *first, *queue, *from;
  bool *need;   // nodes that the kept values are computed from
  bool *behind; // vertices from which the sink is reached when no more can flow
} frt__search;

// A value that an op makes in this walk, rather than a leaf of it.
static inline bool frt__in_order(frt_link l)
{
  return l.node >= 0 && frt__graph.node[l.node]->kind == FRT_NODE_OP && !frt__link_has_value(l);
}

double frt__node_flops(const frt_node *n);
// Fills `behind`: of all cheapest cuts the one nearest to what is no PHOTO. kind, used and front
// are known.
frt_status frt__cut_flow(frt__search *s);
static inline bool frt__is_cut(const frt__search *s, int32_t at)
{
  return !s->behind[2 * at] && s->behind[2 * at + 1];
}
