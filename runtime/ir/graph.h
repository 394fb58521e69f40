// graph.h -- nodes, variables and handles: the recorded graph as the engine's files see it.
#pragma once
#include "base/buffer.h"
#include "ir/op.h"

// An output of a node; node < 0 is "absent".
typedef struct frt_link {
  int32_t node, out;
} frt_link;

typedef enum frt_node_kind { FRT_NODE_OP, FRT_NODE_SCALAR, FRT_NODE_VAR } frt_node_kind;

// Where a node was recorded: interned ids (0: unknown). In a plan also which node of the walk it
// was, from 1: a plan serves many recordings, each with lines of its own. stage: which one that is
// to be computed again in the backward pass (0: none), or FRT_BACKWARD: the gradient recorded it.
typedef struct frt_origin {
  int32_t source, line, scope, walk, stage;
} frt_origin;
enum { FRT_BACKWARD = -1 };

// One allocation holds the node and the arrays it points to. Inputs are always older than the node;
// `older` links all nodes in record order, so one walk from the newest sees users before inputs.
typedef struct frt_node {
  const frt_op *op;
  uint8_t kind;
  bool dep;     // scratch of the gradient pass: depends on what is asked for
  bool barrier; // likewise: a trainable variable's pending value, a leaf for what is read after it
  bool moving;  // scratch of walks: an output that op->moving is about is asked for
  int32_t n_in, n_out, n_attr, older;
  frt_link *in;
  frt_shape *shape;
  double *attr;
  frt_buffer *value; // n_out of them, plain layout; no space until realized
  double scalar;
  int32_t var; // FRT_NODE_VAR: which variable, at which version
  uint64_t version;
  uint32_t var_gen; // the variable's generation: its place may be another's by now
  bool borrowed;    // its bytes were somebody else's
  frt_origin origin;
  uint32_t mark, wanted; // the last walk that met it; that asks for its gradient
  int32_t pos;           // its number in that walk
} frt_node;

typedef struct frt_var {
  frt_shape shape;
  uint8_t kind;
  bool used, requires_grad, wrapped, channels_last, torn;
  bool gone;     // wrapped, and its bytes have been taken back
  bool released; // freed by its owner; goes when no node reads it
  char *name;
  frt_buffer data;  // no space until first touched
  uint64_t version; // unique over all variables and times
  int64_t mended;   // of a torn one: elements written again so far
  uint32_t gen;
  int32_t leaf;     // node that reads this version, -1
  frt_link current; // pending value
} frt_var;

typedef struct frt_graph {
  frt_node **node;
  uint32_t *gen; // of each node slot
  int32_t *free_slot;
  int32_t n_node, cap_node, cap_gen, n_free, cap_free, live, newest;
  frt_var *var;
  int32_t *free_var; // room for all of them
  int32_t n_var, n_unused, cap_var, cap_free_var;
  int32_t *pending; // variables with a pending value, in record order
  int32_t n_pending, cap_pending;
  uint32_t mark, sweeps;
  uint64_t clock; // source of versions
  frt_origin here;
  // settings, part of every plan's key
  int32_t finite;
  uint8_t store;  // frt_store: how large maps are kept (plan/store.c)
  int64_t memory; // limit of a plan's intermediates; 0: none
} frt_graph;
extern frt_graph frt__graph;

// --- handles ----------------------------------------------------------------------------------
enum { FRT_OUT_VAR = 4095 };       // the output number that says "a variable"
enum { FRT_MAX_HANDLE = 1 << 22 }; // nodes, and variables
static inline frt_ref frt__pack(int32_t index, uint32_t gen, int32_t out)
{
  return (frt_ref)((uint64_t)(uint32_t)index | (uint64_t)gen << 22 | (uint64_t)out << 40);
}
frt_ref frt__ref(frt_link link);
// A handle as the link it means now: for a variable its pending value or a leaf node.
frt_status frt__link(frt_ref ref, frt_link *out);
frt_status frt__var(frt_ref ref, int32_t *out);
static inline bool frt__names_var(frt_ref ref)
{
  return (uint64_t)ref >> 40 == FRT_OUT_VAR;
}
frt_status frt__leaf(int32_t var, int32_t *node);
static inline const frt_shape *frt__link_shape(frt_link l)
{
  return &frt__graph.node[l.node]->shape[l.out];
}
static inline bool frt__link_has_value(frt_link l)
{
  const frt_node *n = frt__graph.node[l.node];
  return n->value && n->value[l.out].space;
}
frt_status frt__record_links(const frt_op *op, int32_t n_in, const frt_link *in, int32_t n_attr,
                             const double *attr, int32_t n_out, int32_t *node);
frt_status frt__result_new(frt_node *n, int32_t out, const frt_memory_space *space);

void frt__node_free(int32_t index);

// The variable that a leaf was recorded for; NULL when it has been freed.
frt_var *frt__leaf_var(const frt_node *leaf);
#define FRT_BATCH_GONE "its values are gone: a batch can be used until the next one is taken"
// Whether a variable has bytes, or can have some: a planned batch has none.
frt_status frt__var_known(const frt_var *v);
// Bytes of a variable, made (zeroed) on first touch.
frt_status frt__var_touch(frt_var *v);
// Elements [at, at + n) in row-major order, wherever they lie: into dst, or from src.
frt_status frt__var_copy(const frt_var *v, int64_t at, int64_t n, void *dst, const void *src);
void frt__var_drop(int32_t var);
// Drops pending assignments (drop[i]: whether the i-th; NULL: none) and adds that to the message on
// its way up.
void frt__drop_pending(const bool *drop);
void frt__drop_stale(void); // those that can't be computed any more

// --- origins ----------------------------------------------------------------------------------
const char *frt__text(int32_t id);
void frt__blame(frt_origin o);              // what frt_error_line() says from now on
const char *frt__origin_line(frt_origin o); // "recipe.lua:17"; ring of static buffers

// The op nodes that `n` links and (with_pending) pending assignments need, oldest first, in *order
// (owned by the callee, valid until the next call). With stop_at_values realized nodes are leaves
// and a leaf whose variable has moved on is FRT_ESTATE.
frt_status frt__walk_needed(int32_t n, const frt_link *from, bool with_pending, bool stop_at_values,
                            const int32_t **order, int32_t *n_order);
