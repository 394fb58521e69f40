// op.h -- what an op is: shape inference, plain-C reference, gradient, test cases. One file per op
// in runtime/ops; the file's name is the op's name everywhere.
//
// The file is compiled twice. `real` is float in the first and double in the second, whose
// forward() judges gradients; FRT_OP names the record accordingly. Memory in a reference is
// row-major in the logical order, dense; the planner sees to that.
#pragma once
#include <math.h>

#include "base/base.h"

#ifndef FRT_REAL
#define FRT_REAL float
#endif
typedef FRT_REAL real;
#ifdef FRT_DOUBLE
#define FRT_OP(id) const frt_op frt_op64_##id
#else
#define FRT_OP(id) const frt_op frt_op_##id
#endif

typedef struct frt_op frt_op;

enum { FRT_MAX_SETTING = 16 }; // scalars of an update
enum {
  FRT_ELEMENTWISE = 1, // y[i] from the broadcast inputs at i; the CPU backend chains these
  FRT_RANDOM = 2,      // draws numbers: never merged with a twin, never moved out of the step
  FRT_VIEW = 4,        // the same bytes under another shape (reshape)
  FRT_NO_GRAD = 8,     // gradient is zero by definition (comparisons, argmax)
  FRT_UPDATE = 16,     // an optimizer's step: see `update`
  FRT_FUSED = 32,      // made by the planner for backends that have a kernel; else expanded
  FRT_COLLECTIVE = 64, // reserved: of several ranks; never merged, never moved across each other
};

// Shapes in, shapes out.
typedef struct frt_infer {
  int32_t n_in, n_out;
  const frt_shape *const *x;
  frt_shape *y;
  const double *attr;
} frt_infer;

// Bytes in, bytes out.
typedef struct frt_call {
  int32_t n_in, n_out;
  const frt_shape *const *xs;
  const void *const *x; // NULL where an optional input is absent
  const frt_shape *const *ys;
  void *const *y;
  const double *attr;
} frt_call;

// Nodes in, nodes out. dy[k] is 0 where output k is not used; grad() sets dx[k] for every need[k].
typedef struct frt_grad_call {
  int32_t n_in, n_out;
  const frt_ref *x, *y, *dy;
  const frt_shape *const *xs, *const *ys;
  const double *attr;
  const bool *need;
  frt_ref *dx;
} frt_grad_call;

// Nodes in, nodes out: what a fused op means, recorded as its pieces. x[i] is 0 where input i is
// absent; expand() sets y[k] for every output.
typedef struct frt_expand {
  int32_t n_in, n_out;
  const frt_ref *x;
  const frt_shape *const *xs;
  const double *attr;
  frt_ref *y;
} frt_expand;

// Post-processing a conv or matrix-product kernel can take into its own pass.
typedef enum frt_act {
  FRT_ACT_NONE = 0,
  FRT_ACT_SILU = 1,
  FRT_ACT_RELU = 2,
  FRT_ACT_RELU6 = 3,
  FRT_ACT_SIGMOID = 4,
  FRT_ACT_GELU = 5,
} frt_act;

struct frt_op {
  const char *name, *doc;
  int32_t n_in, n_out; // n_in counts optional ones; -1: as many as given
  int32_t n_optional;  // how many of the last inputs may be absent (0)
  int32_t flags;
  int32_t n_attr, n_case;
  const frt_attr *attr;
  const frt_case *cases;
  frt_status (*infer)(const frt_infer *c);
  frt_status (*forward)(const frt_call *c);
  frt_status (*grad)(const frt_grad_call *c); // NULL: no gradient
  frt_status (*expand)(const frt_expand *c);  // FRT_FUSED: its pieces
  double (*flops)(const frt_infer *c);        // NULL: one per output element
  // Inputs from `in` on are read for the outputs from `out` on alone (running statistics): the
  // others can be computed again when those have moved. 0: none.
  struct {
    int32_t in, out;
  } moving;
  // FRT_UPDATE: after `first` scalars the inputs come in groups of `in` (parameter, gradient, state
  // ...) and the outputs in groups of in - 1 (parameter, state ...), which may lie over their
  // inputs. check refuses settings (the scalars, as numbers) before anything is written.
  struct {
    int32_t first, in;
    frt_status (*check)(const frt_op *op, const double *setting);
  } update;
};

extern const frt_op *const frt_op_table[], *const frt_op_table64[];
extern const int32_t frt_op_table_len;
#ifndef FRT_NO_OP_LIST
#include "op_list.h" // generated: extern const frt_op frt_op_<name> for every op
#endif

// Every attribute is there and within its bounds.
frt_status frt__check_attrs(const frt_op *op, int32_t n_attr, const double *attr);
frt_status frt__check_size(const char *what, const frt_shape *s); // fewer than 1e15 numbers

// --- for infer ------------------------------------------------------------------------------
static inline bool frt__is_real(int32_t dtype)
{
  return dtype == FRT_F32 || dtype == FRT_F64;
}
// y = broadcast of all inputs; the dtype is that of the first.
frt_status frt__infer_broadcast(const char *op, const frt_infer *c);
static inline frt_status frt__infer_same(const frt_infer *c)
{
  c->y[0] = *c->x[0];
  return FRT_OK;
}

// Where the functions below record to: the recorded graph, or what an expansion is put into.
typedef struct frt_builder {
  void *self;
  frt_status (*node)(void *self, const frt_op *op, int32_t n_in, const frt_ref *in, int32_t n_attr,
                     const double *attr, int32_t n_out, frt_ref *out);
  frt_status (*scalar)(void *self, double value, int32_t dtype, frt_ref *out);
  const frt_shape *(*shape)(void *self, frt_ref t);
} frt_builder;
extern const frt_builder *frt__builder; // NULL: the recorded graph

// --- for grad and expand: recording from C
// ---------------------------------------------------------------
frt_status frt__node(const frt_op *op, int32_t n_in, const frt_ref *in, const double *attr,
                     int32_t n_out, frt_ref *out);
frt_status frt__g1(const frt_op *op, frt_ref a, frt_ref *out); // no attributes: defaults
frt_status frt__g2(const frt_op *op, frt_ref a, frt_ref b, frt_ref *out);
frt_status frt__g3(const frt_op *op, frt_ref a, frt_ref b, frt_ref c, frt_ref *out);
frt_status frt__gs(double value, frt_ref like, frt_ref *out);    // a scalar of like's dtype
frt_status frt__g_scale(frt_ref a, double factor, frt_ref *out); // a * factor
// Sums `g` over what broadcasting added, so that it has the shape `to`. The usual last line of an
// elementwise grad().
frt_status frt__g_unbroadcast(frt_ref g, const frt_shape *to, frt_ref *out);
frt_status frt__g_reshape(frt_ref a, const frt_shape *to, frt_ref *out);
const frt_shape *frt__ref_shape(frt_ref t);

// --- for elementwise references ---------------------------------------------------------------
// Steps of each operand for each output dimension (0 where it is broadcast), outermost first.
typedef struct frt_walk {
  int64_t n; // output elements
  int32_t ndim;
  int64_t dim[FRT_MAX_DIM], step[8][FRT_MAX_DIM];
} frt_walk;
void frt__walk_start(frt_walk *w, const frt_call *c);
// Offset of output element i in operand k.
static inline int64_t frt__walk_at(const frt_walk *w, int32_t k, int64_t i)
{
  int64_t at = 0;
  for (int32_t d = w->ndim - 1; d >= 0; d--) {
    at += i % w->dim[d] * w->step[k][d];
    i /= w->dim[d];
  }
  return at;
}
#define FRT_IN(T, k) ((const T *)c->x[k])
#define FRT_OUT(T, k) ((T *)c->y[k])
