// ir.h -- a recorded graph as a value of its own: what stands behind frt_ir. No device, no plan's
// key, no handles but those of the variables it was recorded from.
//
// A number that goes with the batch is kept as a multiple of N, the number of photos: `form` says
// which numbers do. A graph recorded once has plain numbers only; frt_ir_merge finds the multiples
// by comparing two recordings.
#pragma once
#include "ir/graph.h"

typedef enum frt_ir_form { FRT_IR_PLAIN, FRT_IR_TIMES_N, FRT_IR_OVER_N } frt_ir_form;

typedef struct frt_ir_val {
  uint8_t kind; // frt_ir_kind
  uint8_t per;  // bit d: dimension d is that many times N
  uint8_t form; // of a scalar's number
  bool missing; // of a result that has no value and can't be computed any more
  int32_t node, out;
  const char *name;
  frt_shape shape;
  double number;
  void *data; // of a constant; NULL: somebody binds it
  frt_ref ref;
} frt_ir_val;

typedef struct frt_ir_op {
  const frt_op *op;
  int32_t n_in, n_out, n_attr, line, stage;
  int32_t *in, *out; // values; -1 absent
  double *attr;
  uint8_t *form; // of each number in attr
  const char *source, *scope;
} frt_ir_op;

typedef struct frt_ir_out {
  int32_t value;
  const char *name;
} frt_ir_out;

struct frt_ir {
  frt_ir_val *value;
  frt_ir_op *node;
  frt_ir_out *output;
  int32_t n_value, cap_value, n_node, cap_node, n_output, cap_output;
  bool symbolic;    // some numbers are multiples of N
  int32_t *by_name; // value numbers by hash of their name, open addressing; -1 free
  int32_t n_slots, n_names;
  char *blocks, *room; // small arrays and texts, freed together; room: the rest of the latest
  size_t n_room;
  char *text; // of the latest frt_ir_text
};

enum { FRT_IR_VALUES = 1 << 20 }; // as many as a graph may have

frt_status frt__ir_new(frt_ir **out);
void *frt__ir_alloc(frt_ir *ir, size_t bytes); // zeroed; lives as long as the graph; NULL
// A copy of a text; "" for NULL.
frt_status frt__ir_copy(frt_ir *ir, const char *text, size_t n, const char **out);
frt_status frt__ir_value_new(frt_ir *ir, const frt_ir_val *v, int32_t *at);
frt_status frt__ir_node_new(frt_ir *ir, const frt_op *op, int32_t n_in, int32_t n_out,
                            int32_t n_attr, int32_t *at);
// Enters a value's name into the table. *twin: the value that had it before, -1 none.
frt_status frt__ir_named(frt_ir *ir, int32_t value, int32_t *twin);
// The shape at a batch of n photos.
frt_shape frt__ir_shape(const frt_ir_val *v, int64_t n);
double frt__ir_number(double v, uint8_t form, int64_t n);
// "[N, 3, 224, 224]", in a ring of static buffers.
const char *frt__ir_shape_text(const frt_ir_val *v);
const char *frt__ir_where(const frt_ir_op *node); // " (recipe.lua:17, in 'fc')", or ""; likewise
// Which nodes `n` values need, where those with `stop` set count as given: need[node].
void frt__ir_needed(const frt_ir *ir, int32_t n, const int32_t *values, const uint8_t *stop,
                    uint8_t *need);
