// plan.h -- a compiled plan: values, steps, where every byte lies. Built by the passes in this
// folder, run by exec.c.
#pragma once
#include "device/backend.h"
#include "ir/graph.h"

typedef enum frt_place {
  FRT_AT_SLOT,  // a variable, a scalar or a realized output: bound at every run
  FRT_AT_CONST, // a number the planner made
  FRT_AT_ARENA,
  FRT_AT_OUTPUT,  // a block of its own, handed to the node
  FRT_AT_DERIVED, // owned by the plan, rebuilt when a variable it came from moves
  FRT_AT_ALIAS,   // the bytes of another value
} frt_place;

typedef struct frt_pvalue {
  frt_value v;
  uint8_t place;
  int32_t index;        // slot, output or alias target
  size_t offset, bytes; // in the arena
  double number;        // FRT_AT_CONST
  int32_t maker;        // pnode, -1
  int32_t uses;         // reads by pnodes
  int32_t pinned;       // is an output or an assigned value
  int32_t first, last;  // steps between which the bytes are needed
  int32_t base;         // the value this is another form of, -1
  int32_t
    form[FRT_LAYOUTS * FRT_STORES]; // of a base: its other forms, by layout and store; 0: none
} frt_pvalue;

// A node of the plan's own graph: what the passes rewrite.
typedef struct frt_pnode {
  const frt_op *op;
  int32_t n_in, n_out, n_attr;
  int32_t *in, *out; // values; -1 absent
  double *attr;
  frt_program *program; // of a chain
  frt_origin origin;
  bool dead, derived;
  int32_t chain; // scratch of the chain pass
  int64_t rank;  // order of execution: a pass gives a new node the rank it wants and sorts
  int32_t serial;
  char note[48];
} frt_pnode;

typedef struct frt_slot {
  frt_shape shape;
  uint8_t kind; // frt_node_kind; FRT_NODE_OP: a realized output
  uint8_t layout, var_kind;
  bool assigned;
  bool read; // by a step
  int32_t value;
} frt_slot;

// What a slot stands for in one run.
typedef struct frt_binding {
  int32_t var;   // FRT_NODE_VAR
  frt_link link; // realized output
  double scalar;
} frt_binding;

typedef struct frt_assignment {
  int32_t slot, value;
} frt_assignment;

typedef struct frt_pstep {
  frt_step s;        // first: a backend's pointer to it is one to this
  int32_t *in, *out; // values; -1 absent
  frt_origin origin;
  int32_t args;      // its pointers start here in plan->args: inputs, then outputs
  size_t scratch_at; // in the arena
  double flops;
  int32_t job; // its place in `seconds`: the setup part's steps come first
  bool ready;  // the kernel has its state
} frt_pstep;

enum { FRT_FRUGALITIES = 4 };

// What might have been fused and was not: `what` of the node, and why. Static texts.
typedef struct frt_missed {
  const frt_op *op, *by; // by: the op that stood in the way, NULL none
  frt_origin origin, by_origin;
  const char *what, *why;
} frt_missed;

typedef struct frt_plan {
  uint64_t hash;
  uint8_t *key;
  size_t key_bytes;
  struct frt_plan *next; // most recently used first
  frt_slot *slot;
  frt_pvalue *value;
  frt_pnode *node;
  frt_assignment *assign;
  int32_t *output; // values, in the order of `outs`
  frt_pstep *step;
  frt_missed *missed;
  void **args; // addresses of all steps' operands
  int32_t *arg_value;
  uint64_t *arg_version;
  double *number;           // one double's room for the bytes of every constant and scalar
  frt_buffer numbers;       // the same on the device, where its memory is not the host's
  void **at;                // where every value lies in this run
  frt_buffer *own;          // by value: of derived values, and where inputs and outputs are staged
  frt_step **setup, **main; // the steps of both parts, in order
  double *seconds;          // by step, summed over `timed` runs
  frt_device *device;       // that it was made for
  int32_t timed, timed_setup, n_slot, cap_slot, n_value, cap_value, n_node, cap_node, n_assign,
    cap_assign, n_output, cap_output, n_step, cap_step, n_args, n_setup, n_missed, cap_missed;
  size_t arena, scratch, derived_bytes, unshared, output_bytes;
  size_t bound;        // the most bytes of intermediates alive at once: no arena is smaller
  size_t packed_bytes; // what kernels hold from the first run on
  double flops;
  int32_t frugality; // how much is computed again instead of kept (recompute.c)
  uint64_t setup_key, setup_version;
  int32_t runs;
  bool ready, setup_done;
  bool cached;  // it was found, not made, when it was last asked for
  char *blocks; // one list of all small arrays, freed together
} frt_plan;

// --- passes, in order ---------------------------------------------------------------------------
frt_status frt__pass_simplify(frt_plan *p); // twins, views, dead nodes, batch norm into convolution
frt_status frt__pass_join(frt_plan *p);     // within simplify: padded pieces side by side
frt_status frt__pass_transpose(frt_plan *p); // within simplify: products of transposed matrices
frt_status frt__pass_lower(frt_plan *p);     // the device's lowerings, checkpoints, chains
frt_status frt__pass_expand(frt_plan *p);    // fused ops without a kernel: their pieces
typedef struct frt_expansion {               // what an expansion's nodes have in common
  frt_plan *p;
  frt_origin origin;
  int64_t rank;
  bool derived;
} frt_expansion;
frt_status frt__pass_checkpoint(frt_plan *p); // within lower: stages asked for, computed again
frt_status frt__pass_recompute(frt_plan *p);  // within lower: computed again, not kept
frt_status frt__pass_place(frt_plan *p);      // kernels, layouts, steps
frt_status frt__pass_commit(frt_plan *p);     // where assigned values are written (within place)
frt_status frt__pass_arena(frt_plan *p);      // liveness, offsets

// --- lowerings: plan/lower, by their names in device/backend.h
// ------------------------------------
frt_status frt__lower_attention(frt_plan *p);
frt_status frt__lower_conv_act(frt_plan *p);
frt_status frt__lower_conv_residual(frt_plan *p);
frt_status frt__lower_product_sum(frt_plan *p);
frt_status frt__lower_batch_norm(frt_plan *p);
frt_status frt__lower_gate(frt_plan *p);
frt_status frt__lower_chain(frt_plan *p);

// Whether n is map * gate, gate [N, C, 1, 1].
bool frt__gate_of(const frt_plan *p, const frt_pnode *n, int32_t *map, int32_t *gate);

// A value's bytes (or a step's scratch) with the steps between which they are needed.
typedef struct frt_piece {
  size_t bytes, at;
  int32_t first, last, id, peak; // peak: alive where most bytes are
} frt_piece;
// Gives every piece its `at`, and them another order. top: what they take; bound: the most bytes
// alive at once.
frt_status frt__pack_pieces(frt_piece *pieces, int32_t n, int32_t n_step, size_t *top,
                            size_t *bound);

// An activation that a kernel may take into its pass, and the op that is its gradient.
typedef struct frt_act_op {
  const frt_op *op, *grad;
  bool grad_of_output; // grad reads the activation's output, not its input
  frt_act act;
} frt_act_op;
const frt_act_op *frt__act_of(const frt_op *op); // NULL: none

// Readers of every value, in order: list[first[v]] .. list[first[v + 1] - 1] are nodes.
typedef struct frt_readers {
  int32_t *first, *list;
} frt_readers;
frt_status frt__readers_new(frt_plan *p, frt_readers *r); // counts uses as well
void frt__readers_free(frt_readers *r);
// The one reader of v, where v is no output either; -1.
int32_t frt__only_reader(const frt_plan *p, const frt_readers *r, int32_t v);
// Makes a node read `to` wherever it reads `from`.
void frt__redirect(frt_pnode *n, int32_t from, int32_t to);
// A reader of `v` besides `reader`; -1 none.
int32_t frt__other_reader(const frt_plan *p, const frt_readers *r, int32_t v, int32_t reader);
// Notes that `node` missed being fused; by: the node that stood in the way, -1 none. Never fails.
void frt__missed(frt_plan *p, int32_t node, const char *what, const char *why, int32_t by);
// The same where `v`, that only `reader` should read, is wanted elsewhere or is no map.
void frt__missed_for_readers(frt_plan *p, const frt_readers *r, int32_t v, int32_t node,
                             const char *what, int32_t reader);

// --- what the passes build with
// -------------------------------------------------------------------
void *frt__plan_alloc(frt_plan *p, size_t bytes); // zeroed; lives as long as the plan; NULL
frt_status frt__value_new(frt_plan *p, const frt_shape *shape, int32_t *out);
frt_status frt__pnode_new(frt_plan *p, const frt_op *op, int32_t n_in, const int32_t *in,
                          int32_t n_out, int32_t n_attr, const double *attr, frt_origin origin,
                          int32_t *out);
// The node once more, with outputs of its own; of a convolution that counts statistics the map
// alone.
frt_status frt__pnode_again(frt_plan *p, int32_t at, int32_t *made);
// Drops dead nodes, brings the rest into the order of their ranks (ties: oldest first).
void frt__sort_nodes(frt_plan *p);
// Drops nodes whose results nobody reads; they must be in order.
void frt__drop_unread(frt_plan *p);
frt_status frt__const_new(frt_plan *p, double number, int32_t dtype, int32_t *out);
void frt__count_uses(frt_plan *p);
int32_t frt__root(const frt_plan *p, int32_t value); // through aliases
frt_status frt__step_new(frt_plan *p, const frt_op *op, const frt_kernel *kernel, int32_t n_in,
                         const int32_t *in, int32_t n_out, const int32_t *out, const double *attr,
                         frt_origin origin, int32_t *step);
// Whether there is a kernel of the node's op and it can run it.
frt_status frt__node_can(const frt_plan *p, const frt_pnode *n, bool *can);
// Whether the device takes plans as they were recorded: nothing folded, fused or computed again.
bool frt__as_recorded(void);
// bf16 (store.c): a node whose maps are to be stored so; one of its inputs, one of its outputs.
bool frt__wants_bf16(const frt_plan *p, const frt_pnode *n, const frt_kernel *k);
bool frt__bf16_operand(const frt_kernel *k, int32_t position, const frt_value *v);
bool frt__bf16_result(const frt_plan *p, const frt_readers *r, const frt_pnode *n,
                      const frt_kernel *k, int32_t position);
// A convolution's node `at` (or its gradient's by the weights) as a fused one, not yet alive.
frt_status frt__conv_twin(frt_plan *p, int32_t at, int32_t n_out, int32_t *made);
// Bytes lie the same way in both layouts.
static inline bool frt__same_bytes(const frt_shape *s)
{
  return s->ndim != 4 || s->dim[1] == 1 || s->dim[2] * s->dim[3] == 1;
}
void frt__plan_free(frt_plan *p);
void frt__cache_info(frt_plan_info *out);
// A step's origin in the recording that was compiled or found last.
frt_origin frt__origin_now(frt_origin o);
void frt__plan_gone(const frt_plan *p);                       // nobody may speak of it any more
void frt__put_number(void *at, int32_t dtype, double number); // as its bytes
extern frt_plan *frt__addressed; // what frt_plan_get and frt_plan_step speak of

frt_status frt__plan_compile(int32_t n, const frt_link *outs, bool with_pending, frt_plan **plan,
                             frt_binding **bind);
