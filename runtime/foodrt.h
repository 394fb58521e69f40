/// foodrt.h -- the whole public C API. What stands between the ffi marks is read by LuaJIT
/// (lua/foodrt/core/ffi.lua): no macros but FRT_API, no #if, fixed-width types only.
///
/// Every function that can fail returns frt_status and leaves its message in frt_error_last().
/// Arguments are borrowed; *_new gives one reference, *_free takes it.
#pragma once
#include <stddef.h>
#include <stdint.h>

#define FRT_API __attribute__((visibility("default")))

/* ffi:begin */
typedef enum frt_status {
  FRT_OK = 0,
  FRT_ESHAPE = -1,  // shapes or dtypes do not fit
  FRT_EARG = -2,    // an attribute or argument is out of range
  FRT_ENOMEM = -3,  // out of memory
  FRT_EDEVICE = -4, // the backend has no kernel, a library is missing or failed
  FRT_EIO = -5,     // a file cannot be read or written
  FRT_ESTATE = -6,  // stale handle, value no longer available
  FRT_EDATA = -7,   // damaged or impossible data: photo, header, non-finite number
} frt_status;

typedef enum frt_dtype {
  FRT_F32 = 0,
  FRT_F64 = 1,
  FRT_I32 = 2,
  FRT_BF16 = 3,
  FRT_U8 = 4,
  FRT_I64 = 5,
  FRT_F16 = 6,
} frt_dtype;

enum { FRT_MAX_DIM = 6, FRT_MAX_ATTR = 40 };

// A shape is logical (N C H W); how the bytes lie is the plan's business.
typedef struct frt_shape {
  int32_t ndim, dtype;
  int64_t dim[6];
} frt_shape;

FRT_API const char *frt_error_last(void);
FRT_API const char *frt_version(void);

// --- memory, threads, signals -----------------------------------------------------------------
typedef struct frt_memory_info {
  int64_t live, peak, mapped, since_gc; // bytes: in use, high-water mark, mapped from the system,
                                        // handed out since the last frt_memory_collected()
} frt_memory_info;
FRT_API void frt_memory(frt_memory_info *out);
FRT_API void frt_memory_collected(void);
FRT_API void frt_memory_limit(int64_t bytes); // 0: none
FRT_API void frt_alloc_fail(int64_t n); // the n-th allocation from now fails (0-based; -1: none)
FRT_API int64_t frt_alloc_left(void);
// Compute threads; 0: as at the start, which is OMP_NUM_THREADS, else frt_cpus(""). frt_threads
// says how many there are: they are started and counted at the first question, since limits of
// OpenMP and of the system may leave fewer; frt_threads_why says in a line which, "" where all
// came.
FRT_API void frt_set_threads(int32_t n);
// CPUs that affinity and control groups leave this process. root: "" but in tests: where /proc and
// /sys are.
FRT_API int32_t frt_cpus(const char *root);
FRT_API int32_t frt_threads(void);
FRT_API const char *frt_threads_why(void);
FRT_API double frt_now(void);          // seconds, monotonic
FRT_API void frt_sleep(int32_t ms);    // a signal ends it
FRT_API int32_t frt_interrupted(void); // signals asked to stop since the last clear
FRT_API void frt_interrupt_set(int32_t n);

// --- initial values ---------------------------------------------------------------------------
// n floats drawn by (seed, name), independent of order and threads. trunc_normal stays in [lo, hi].
FRT_API void frt_fill_uniform(float *dst, int64_t n, uint64_t seed, const char *name, double lo,
                              double hi);
FRT_API void frt_fill_normal(float *dst, int64_t n, uint64_t seed, const char *name, double mean,
                             double std);
FRT_API void frt_fill_trunc_normal(float *dst, int64_t n, uint64_t seed, const char *name,
                                   double mean, double std, double lo, double hi);

// --- ops --------------------------------------------------------------------------------------
// An attribute is one number or, with n > 1, n of them one after the other.
typedef struct frt_attr {
  const char *name;
  int32_t n;
  double dflt, min, max;
  const char *doc;
} frt_attr;

// One case of an op for the generic spec: dims of each input (0 ends a shape; ndim 0 is a scalar
// when `n_in` says the input exists), how to fill it, and all attributes.
typedef struct frt_case {
  const char *why;
  int32_t n_in;
  int64_t dim[12][6];
  const char *fill; // one letter per input: n normal, p positive (0.1 .. 2), u in (-0.9, 0.9), i
                    // class number below the case's `classes`, k kink-free (|x| > 0.1), b 0 or 1,
                    // - absent;
                    // NULL: all n
  int32_t classes;
  double attr[40]; // of an update: its attributes, then its scalars; `dim` are the parameters',
                   // `fill` is of each parameter's group (value, gradient, state ...)
  int32_t n_out;   // of an op that gives as many as asked for; 0: one
} frt_case;

typedef struct frt_op_info {
  const char *name, *doc;
  int32_t n_in, n_out, n_attr, n_case; // n_in, n_out: -1 as many as given
  int32_t flags;
  int32_t update_first, update_in; // an update's scalars, and inputs for each parameter
  const frt_attr *attr;
  const frt_case *cases;
} frt_op_info;

FRT_API int32_t frt_op_count(void);
FRT_API void frt_op_at(int32_t i, frt_op_info *out);

// --- tensors: recording -----------------------------------------------------------------------
// A handle is node | generation | output, packed in 52 bits so that a Lua number holds it exactly.
// 0 is "none". A handle of a variable names the variable: where an op reads it, its value of that
// moment is meant.
typedef double frt_ref;

FRT_API void frt_line(const char *source, int32_t line); // of the recipe, for what is recorded next
FRT_API void frt_scope(const char *path); // module path, likewise ("backbone.blocks.3.1")
// What is recorded next is a stage (1) or none (0): of what a stage makes, its backward pass
// computes again what it needs instead of finding it kept (gradient checkpointing). Stages don't
// nest.
FRT_API void frt_checkpoint(int32_t on);
FRT_API frt_status frt_record(int32_t op, int32_t n_in, const frt_ref *in, int32_t n_attr,
                              const double *attr, int32_t n_out, frt_ref *out);
FRT_API frt_status frt_scalar(double value, int32_t dtype, frt_ref *out);
FRT_API frt_status frt_info(frt_ref t, frt_shape *out);
// "recipe.lua:17" (or "") of the node that last failed late, in planning or running.
FRT_API const char *frt_error_line(void);

// Gradient of the scalar `loss` by each of `wrt` (variables or recorded values); 0 where it does
// not depend on it.
FRT_API frt_status frt_grad(frt_ref loss, int32_t n, const frt_ref *wrt, frt_ref *out);
// The variables with requires_grad that `t` depends on; *n: capacity in, count out, of which no
// more are given than there is room for. What is read after an assignment is a leaf: nothing flows
// back into what was assigned.
FRT_API frt_status frt_grad_leaves(frt_ref t, int32_t *n, frt_ref *out);

// --- tensors: variables -----------------------------------------------------------------------
// A variable owns its bytes (zeroed) and outlives every graph. kind: what the planner may assume.
typedef enum frt_var_kind {
  FRT_VAR_STATE = 0, // parameters, statistics, moments: changes only by assignment or write
  FRT_VAR_INPUT = 1, // batches: new bytes each step, nothing is derived from it ahead of time
} frt_var_kind;
FRT_API frt_status frt_var_new(const frt_shape *shape, int32_t kind, const char *name,
                               frt_ref *out);
// Borrowed bytes (a loader's slot). channels_last: 4-D data lies as N H W C. data NULL: a batch of
// a step that is only planned: it can be recorded and planned, but its values, and all that follow
// from it, are FRT_ESTATE "values can't be looked at while the step is planned".
FRT_API frt_status frt_var_wrap(const frt_shape *shape, void *data, int32_t channels_last,
                                frt_ref *out);
// A wrapped one to other bytes; NULL: they have been taken back. Either way what was recorded from
// the old ones and has not been computed is FRT_ESTATE from now on, and so is, after NULL, what
// would be recorded.
FRT_API frt_status frt_var_rebind(frt_ref var, void *data);
FRT_API frt_status frt_var_own(frt_ref var); // a wrapped one gets a copy of its bytes for itself
// Gives the variable up. Its own bytes go at once, or when the last recorded node that reads it is
// swept; borrowed ones are not read any more.
FRT_API void frt_var_free(frt_ref var);
FRT_API frt_status frt_var_requires_grad(frt_ref var, int32_t on);
FRT_API int32_t frt_is_var(frt_ref t);
// The value is `value` after the next realize; reads recorded from now on mean the new value.
FRT_API frt_status frt_assign(frt_ref var, frt_ref value);
// Elements [at, at + n) of a variable, in row-major order, of its dtype. FRT_ESTATE while an
// assignment waits. Writing moves the version; a torn variable is whole again once it has been
// written from its first element to its last, in order.
FRT_API frt_status frt_var_read(frt_ref var, int64_t at, int64_t n, void *dst);
FRT_API frt_status frt_var_write(frt_ref var, int64_t at, int64_t n, const void *src);
// Two variables of one shape trade their bytes, and with them the versions: nothing is copied, and
// what was derived from those bytes stays valid when they are traded back.
FRT_API frt_status frt_var_swap(frt_ref a, frt_ref b);
// Where a variable's row-major bytes lie, to save them without a copy; NULL where they don't lie so
// (read them then). Good until the variable is written, assigned or freed.
FRT_API const void *frt_var_data(frt_ref var);

// --- values -----------------------------------------------------------------------------------
// Computes `outs` and every pending assignment in one plan.
FRT_API frt_status frt_realize(int32_t n, const frt_ref *outs);
FRT_API int32_t frt_has_value(frt_ref t);
// Copies a realized value (or a variable) out, row-major; recomputes it where that is still
// possible.
FRT_API frt_status frt_read(frt_ref t, void *dst, size_t bytes);
FRT_API frt_status frt_item(frt_ref t, double *out);
// Frees every node that none of `roots`, no pending assignment and no variable needs.
FRT_API frt_status frt_sweep(int32_t n, const frt_ref *roots);
FRT_API int32_t frt_nodes(void);
FRT_API int32_t frt_pending(void);     // assignments not yet realized
FRT_API void frt_forget_pending(void); // drops them (a failed step)

// What of a batch of photos need not be computed again: the values through which everything else
// depends on the photos, and which follow from each photo and frozen variables alone; of all such
// sets the one with the fewest bytes, nearest to `outs` (a byte weighs as much as 1000 FLOPs that
// are computed again in each step).
typedef struct frt_cut {
  int32_t n;
  frt_ref value[8];
  int32_t place[8], out[8]; // where they are in the recording
  int64_t bytes[8];         // of each value, for one photo
  uint64_t structure;       // hash of how they are computed, whatever the number of photos
  uint64_t weights;         // hash of the variables they are computed from; 0 unless asked for
  uint64_t stamp;  // of structure and the variables' versions: equal stamps, equal features
  double flops;    // of a batch, for what lies before them
  char where[160]; // "mean in 'backbone.pool'": the last of them
} frt_cut;
// `x`: the photos, a variable [N, ...]. Pending assignments count as outs. FRT_EARG and a message
// that says why where nothing can be kept.
FRT_API frt_status frt_cut_find(int32_t n, const frt_ref *outs, frt_ref x, int32_t with_weights,
                                frt_cut *out);
// The same values (cut->value) in another recording of the step, with any number of photos.
// FRT_ESTATE where they are made in another way now, or something takes more of the photos.
FRT_API frt_status frt_cut_again(int32_t n, const frt_ref *outs, frt_ref x, frt_cut *cut);
// Gives a recorded value its bytes, row-major (NULL: zeros): nobody computes it any more.
FRT_API frt_status frt_give(frt_ref t, const void *src);

// --- the graph as a value ---------------------------------------------------------------------
// A copy of what was recorded, without device or plan: it can be walked, written as text, read
// again, and recorded anew with other inputs. Values are numbered from 0: inputs first, then
// variables and constants, then scalars and what nodes make, oldest first.
typedef struct frt_ir frt_ir;
typedef enum frt_ir_kind {
  FRT_IR_MADE = 0,     // by a node
  FRT_IR_INPUT = 1,    // given anew each time
  FRT_IR_VARIABLE = 2, // a parameter or buffer, known by its name
  FRT_IR_SCALAR = 3,   // a number of the recipe's
  FRT_IR_CONSTANT = 4, // numbers without a name of their own; "constant.1", "constant.2" here
} frt_ir_kind;
typedef struct frt_ir_value_info {
  int32_t kind, node, out; // of a made one: by which node, as which of its outputs; else -1
  int32_t batch;           // bit d: dimension d goes with the batch
  frt_shape shape;         // a dimension that goes with the batch N: how many times N
  const char *name;        // of inputs, variables and constants; "" of others
  double number;           // of a scalar
  const void *data;        // of a constant, row-major; NULL where they are kept elsewhere
  uint64_t bytes;          // of data
  frt_ref ref;             // the variable that it stands for; 0: none
} frt_ir_value_info;
typedef struct frt_ir_node_info {
  const char *op, *scope, *source; // scope: module path, "" outside of modules
  int32_t line;                    // of the recipe `source`; 0: not known
  int32_t n_in, n_out, n_attr;
  const int32_t *in, *out; // values; -1: an optional input that is absent
} frt_ir_node_info;
typedef struct frt_ir_attr {
  const char *name;
  int32_t n;            // how many numbers
  const double *number; // of those that go with the batch N: how many times N
  const uint8_t *form;  // 1 where a number goes with the batch
} frt_ir_attr;

// The graph of `outs`, with `ins` (variables or recorded values) as its inputs under these names:
// what they are made from is left out. Variables of input kind that are not among them become
// inputs "input.1", ... Variables without a name, and values whose past has been swept, become
// constants. FRT_ESTATE where a variable has changed since it was read.
FRT_API frt_status frt_ir_of(int32_t n_out, const frt_ref *outs, const char *const *out_names,
                             int32_t n_in, const frt_ref *ins, const char *const *in_names,
                             frt_ir **out);
FRT_API void frt_ir_free(frt_ir *ir);
// Two recordings of one thing at batches of n and m photos as one whose batch is a symbol: numbers
// that differ must be multiples of the batch (of a scalar also so many parts of it). FRT_EARG and
// the recipe's line where they are not, or the two are not alike.
FRT_API frt_status frt_ir_merge(const frt_ir *a, int64_t n, const frt_ir *b, int64_t m,
                                frt_ir **out);
FRT_API int32_t frt_ir_n_values(const frt_ir *ir);
FRT_API int32_t frt_ir_n_nodes(const frt_ir *ir); // in order: inputs before users
FRT_API int32_t frt_ir_n_outputs(const frt_ir *ir);
FRT_API frt_status frt_ir_value(const frt_ir *ir, int32_t i, frt_ir_value_info *out);
FRT_API frt_status frt_ir_node(const frt_ir *ir, int32_t i, frt_ir_node_info *out);
FRT_API frt_status frt_ir_attr_at(const frt_ir *ir, int32_t node, int32_t i, frt_ir_attr *out);
// An attribute by its name; FRT_EARG where the op has none of that name.
FRT_API frt_status frt_ir_attr_of(const frt_ir *ir, int32_t node, const char *name,
                                  frt_ir_attr *out);
FRT_API frt_status frt_ir_output_at(const frt_ir *ir, int32_t i, int32_t *value, const char **name);
// The input, variable, constant or output of a name as a value; -1: none.
FRT_API int32_t frt_ir_find(const frt_ir *ir, const char *name);
// Makes a value an output under a name: of observers, feature maps.
FRT_API frt_status frt_ir_output(frt_ir *ir, int32_t value, const char *name);
// Another name for an input, variable or constant.
FRT_API frt_status frt_ir_rename(frt_ir *ir, int32_t value, const char *name);
// The variable that stands for an input, variable or constant from now on.
FRT_API frt_status frt_ir_set(frt_ir *ir, int32_t value, frt_ref var);
// Records what `n_out` values need, with these tensors in place of `n` of its values (inputs, or
// any others: what lies before them is not recorded). The size of the batch follows from theirs.
// Lines and scopes are those of the first recording.
FRT_API frt_status frt_ir_record(const frt_ir *ir, int32_t n, const int32_t *values,
                                 const frt_ref *refs, int32_t n_out, const int32_t *wanted,
                                 frt_ref *outs);
// A graph made ready to run again and again with other inputs. It reads `ir`, which must outlive
// it.
typedef struct frt_bound frt_bound;
FRT_API frt_status frt_ir_bind(const frt_ir *ir, int32_t n_in, const int32_t *inputs, int32_t n_out,
                               const int32_t *wanted, frt_bound **out);
// Computes the outputs for these inputs, in the order that frt_ir_bind was given.
FRT_API frt_status frt_bound_run(frt_bound *b, const frt_ref *inputs, frt_ref *outs);
FRT_API void frt_bound_free(frt_bound *b);
// The graph as text, a line per value or node (see runtime/ir/README.md); good until the next call
// or the end of `ir`.
FRT_API frt_status frt_ir_text(frt_ir *ir, const char **text, uint64_t *bytes);
// The graph that a text describes. The text may be anybody's: every mistake is FRT_EDATA with the
// number of its line; `where` (a file's name) begins the message. Variables have no values until
// frt_ir_set.
FRT_API frt_status frt_ir_parse(const char *text, uint64_t bytes, const char *where, frt_ir **out);

// --- plans ------------------------------------------------------------------------------------
typedef struct frt_step_info {
  const char *op, *kernel, *line, *scope, *note;
  char shapes[256];
  double flops, bytes, seconds; // seconds: mean of the timed runs
  int32_t reference;            // 1 when the plain-C reference runs it
} frt_step_info;
typedef struct frt_plan_info {
  int32_t n_steps, n_reference, runs;
  int32_t cached; // plans in the cache
  double flops;
  int64_t arena, scratch, derived, outputs, variables; // bytes
  int64_t unshared; // what the intermediates would take without sharing
  int64_t bound;    // the most bytes of them alive at once: no arena is smaller
  int32_t n_missed; // fusions that did not come about, see frt_plan_missed
  int64_t compiled; // plans compiled since the process began
  int64_t cache;    // bytes the cache counts for them
} frt_plan_info;
// Plans what frt_realize would run, without running it or touching memory for it. The plan is
// addressed until the next frt_plan.
FRT_API frt_status frt_plan_make(int32_t n, const frt_ref *outs, int32_t with_pending);
FRT_API void frt_plan_get(frt_plan_info *out);
FRT_API frt_status frt_plan_step(int32_t i, frt_step_info *out);
// Why an op was not fused. Texts are good until the next call.
typedef struct frt_missed_info {
  const char *op, *what, *why; // "conv2d", "activation in its pass", "its value is also read"
  const char *line, *scope;    // where the op was recorded
  const char *by, *by_line, *by_scope; // the op that stood in the way, or ""
} frt_missed_info;
FRT_API frt_status frt_plan_missed(int32_t i, frt_missed_info *out);
FRT_API void frt_plan_last(void); // address the plan that ran last, instead
// For tests: proves that the addressed plan's steps find in memory what they are to read; NaN in
// every byte of the arena before each run.
FRT_API frt_status frt_plan_verify(void);
FRT_API void frt_poison(int32_t on);
FRT_API void frt_profile(int32_t on);
// Plans whose intermediates would take more are compiled to compute more of them again; 0: no
// limit.
FRT_API void frt_set_memory(int64_t bytes);
// "fp32", or "bf16": large intermediate maps of plans made from now on are stored as bf16; sums,
// variables and losses stay f32. FRT_EDEVICE where the CPU has no instructions for it.
FRT_API frt_status frt_set_precision(const char *name);
FRT_API const char *frt_precision(void);
FRT_API void frt_check_finite(int32_t on); // after every step; names op and recipe line
// --- devices ----------------------------------------------------------------------------------
// The device that carries all plans from now on: "cpu", "reference" (every op in plain C), or the
// name of a plug-in that lies beside this library as libfoodrt_NAME.so. Variables move when they
// are next used. FRT_EDEVICE and a message that says why where it can't be had.
FRT_API frt_status frt_device_use(const char *name);
FRT_API const char *frt_device_name(void);
FRT_API const char *frt_device_banner(void);                           // what it is, on one line
FRT_API frt_status frt_device_set(const char *key, const char *value); // settings by name: "isa"
FRT_API const char *frt_device_get(const char *key);                   // NULL: no such setting
FRT_API frt_status frt_set_isa(const char *name); // "auto", "base", "avx2", "avx512", "avx512_bf16"
FRT_API const char *frt_isa(void);
FRT_API const char *frt_isa_why(void); // why it is not the one FOODRT_ISA names; "" where it is
FRT_API void frt_plans_clear(void);
FRT_API void frt_plans_limit(int64_t bytes);

// --- photos and loader ------------------------------------------------------------------------
// A photo as 8-bit sRGB, rows of R G B. EXIF orientation is applied, alpha lies over white, of an
// animation there is the first frame.
typedef struct frt_photo {
  int32_t w, h;
  int32_t orientation, bands, bits; // as the file has them: EXIF 1..8, channels, bits a channel
  const char *format;               // "JPEG", "PNG", ... by content, whatever the name says
  uint8_t *rgb;
} frt_photo;
FRT_API frt_status frt_photo_read(const char *path, frt_photo *out);
FRT_API void frt_photo_free(frt_photo *photo);
// Width and height of an upright photo, from its header.
FRT_API frt_status frt_photo_size(const char *path, int32_t *w, int32_t *h);
// rgb[h, w, 3]: Pillow's resize, bit for bit. interpolation: 0 bilinear, 1 bicubic,
// 2 lanczos, 3 nearest.
FRT_API frt_status frt_photo_resize(const frt_photo *photo, int32_t w, int32_t h,
                                    int32_t interpolation, uint8_t *rgb);

typedef enum frt_augment_kind {
  FRT_AUG_RESIZE = 0,  // size (0: the view's), edge: 0 shortest, 1 longest, 2 both
  FRT_AUG_CENTER_CROP, // size (0: the view's)
  FRT_AUG_CROP,        // random: area lo, hi, ratio lo, hi; then resized to the view's size
  FRT_AUG_FLIP,        // left to right with probability p
  FRT_AUG_VFLIP,       // upside down with probability p
  FRT_AUG_AFFINE, // degrees lo, hi, translate x, y (fractions), scale lo, hi, shear x lo, hi, y lo,
                  // hi
  FRT_AUG_JITTER, // brightness lo, hi, contrast lo, hi, saturation lo, hi, hue lo, hi
  FRT_AUG_GRAYSCALE, // with probability p
} frt_augment_kind;
typedef struct frt_augment {
  int32_t kind, interpolation; // of what resamples, as above
  double param[10];
} frt_augment;
// What the network sees of a photo: size x size after the augments, then (v / 255 - mean) / std.
typedef struct frt_view {
  int32_t size, n_augment;
  const frt_augment *augment;
  float mean[3], std[3];
  int32_t fill[3]; // 0..255, where the photo ends
  int32_t
    shrink; // 1: a JPEG may be decoded at 1/2, 1/4 or 1/8 where at least as many pixels remain
} frt_view;
// Random draws depend on (seed, epoch, sample) and the augment's place in the list, on nothing
// else.
FRT_API frt_status frt_view_pixels(const frt_view *view, const frt_photo *photo, int64_t seed,
                                   int64_t epoch, int64_t sample, uint8_t *rgb);
FRT_API frt_status frt_view_load(const frt_view *view, const char *path, int64_t seed,
                                 int64_t epoch, int64_t sample, float *nhwc);

// Photos of one split: path and `n_columns` labels each (0-based, -1: missing).
typedef struct frt_manifest frt_manifest;
FRT_API frt_status frt_manifest_new(frt_manifest **out, int32_t n_columns);
FRT_API void frt_manifest_free(frt_manifest *m);
FRT_API frt_status frt_manifest_add(frt_manifest *m, const char *path, const int32_t *labels);
// Adds every photo of a folder (by extension, hidden files left out, sorted by bytes).
FRT_API frt_status frt_manifest_scan(frt_manifest *m, const char *dir, const int32_t *labels,
                                     int32_t *n_added);
FRT_API int32_t frt_manifest_count(const frt_manifest *m);
FRT_API const char *frt_manifest_path(const frt_manifest *m, int32_t i);
FRT_API int32_t frt_manifest_label(const frt_manifest *m, int32_t i, int32_t column);
// The photo with the largest file among at most 4096 of them, evenly spaced, and its bytes; -1:
// none can be looked at.
FRT_API int32_t frt_manifest_largest(const frt_manifest *m, int64_t *bytes);
// Of all paths, sizes and times of change: another number where a photo has changed.
FRT_API uint64_t frt_manifest_hash(const frt_manifest *m);
// Names in a folder sorted by bytes, one a line; folders end in '/'; hidden ones are left out.
FRT_API frt_status frt_folder_list(const char *dir, char **names);
FRT_API void frt_folder_free(char *names);
FRT_API frt_status frt_folder_there(const char *path, int32_t *there);

typedef enum frt_on_bad { FRT_BAD_SUBSTITUTE = 0, FRT_BAD_SKIP = 1, FRT_BAD_ERROR = 2 } frt_on_bad;
typedef struct frt_loader_options {
  int64_t seed, epoch;
  int32_t batch, shuffle, drop_last; // drop_last never drops the only batch
  int32_t start;                     // first batch, from 0
  int32_t threads, prefetch;         // 0: as many as there are cores; 2 batches ahead
  int32_t on_bad, label_base;        // label_base is added to every label: 1 for Lua
  int32_t views; // 0: epoch and place say how a photo is augmented; K: epoch mod K and the photo
  const uint8_t *kept; // by photo: not 0 where it need not be decoded; NULL: decode all
} frt_loader_options;
typedef struct frt_batch {
  int32_t n, index, n_columns; // photos in it, its number from 0
  float *x;                    // [n, size, size, 3]
  const int32_t *labels;       // [n_columns, capacity]: column c starts at labels + c * capacity
  const int32_t *ids;          // [n] places in the manifest, from 0
  int32_t capacity, n_bad;     // photos of this batch that could not be read
  const uint8_t *skipped;      // [n] 1 where `kept` said so: x has nothing of it
  int32_t n_skipped;
  double wait_s; // how long the caller waited for it
} frt_batch;
typedef struct frt_bad_photo {
  int32_t id, batch;
  const char *path, *why; // why: the whole message, the path in it
} frt_bad_photo;
typedef struct frt_loader frt_loader;
// The loader keeps the manifest (nothing may be added to it meanwhile) and copies the view.
FRT_API frt_status frt_loader_new(frt_loader **out, frt_manifest *m, const frt_view *view,
                                  const frt_loader_options *options);
FRT_API void frt_loader_free(frt_loader *l);
FRT_API int32_t frt_loader_batches(const frt_loader *l); // of the whole epoch, from batch 0
// The next batch in order; n = 0 after the last. It is valid until the next call. A wait ends with
// FRT_ESTATE when a signal asks to stop.
FRT_API frt_status frt_loader_next(frt_loader *l, frt_batch *out);
FRT_API double frt_loader_wait_s(const frt_loader *l);
FRT_API int32_t frt_loader_bad_count(const frt_loader *l); // of the batches handed out so far
FRT_API frt_status frt_loader_bad(const frt_loader *l, int32_t i, frt_bad_photo *out);

// --- files ------------------------------------------------------------------------------------
// A safetensors file or PyTorch's .pth (either container, told by content), opened for reading: its
// header is read and checked, tensors are read on demand.
typedef struct frt_file frt_file;
typedef struct frt_file_tensor {
  const char *name, *dtype; // dtype as the file has it: "F16"
  frt_shape shape; // its dtype is what frt_file_read() gives: F16 and BF16 are read as f32; -1:
                   // not readable
  uint64_t offset, bytes; // in the file's data section
  int32_t ndim;           // in the file; shape has the first FRT_MAX_DIM, dim the first 8
  const uint64_t *dim;
} frt_file_tensor;
FRT_API frt_status frt_file_open(const char *path, frt_file **out);
// The same with the weights that a PyTorch file keeps under `place` ("state_dict_ema"); NULL: the
// usual places.
FRT_API frt_status frt_file_open_at(const char *path, const char *place, frt_file **out);
// Lines on what the file holds besides its tensors, which was passed over; "" where there is
// nothing.
FRT_API const char *frt_file_notes(const frt_file *f);
FRT_API void frt_file_close(frt_file *f);
FRT_API int32_t frt_file_count(const frt_file *f);
FRT_API frt_status frt_file_tensor_at(const frt_file *f, int32_t i,
                                      frt_file_tensor *out);        // by name
FRT_API int32_t frt_file_find(const frt_file *f, const char *name); // -1: not there
FRT_API int32_t frt_file_meta_count(const frt_file *f);
FRT_API frt_status frt_file_meta(const frt_file *f, int32_t i, const char **key,
                                 const char **value);
FRT_API frt_status frt_file_read(const frt_file *f, int32_t i, void *dst, size_t bytes);
// Hashes of all tensors (names, types, shapes, bytes) and of the metadata; they do not depend on
// the order in the file.
FRT_API frt_status frt_file_hash(const frt_file *f, uint64_t *tensors, uint64_t *metadata);
// Compares with the hash that frt_file_write() stored; a file of other makers has none and passes.
FRT_API frt_status frt_file_verify(const frt_file *f);
// Writes a whole file; the old one stays as it was until the new one is complete and on disk.
// float_dtype: what floats become (FRT_F32, FRT_BF16 or FRT_F16, rounded to nearest even; a value
// that is too large for it is an error), -1: nothing changes.
FRT_API frt_status frt_file_write(const char *path, int32_t n, const char *const *names,
                                  const frt_shape *shapes, const void *const *data,
                                  int32_t float_dtype, int32_t n_meta, const char *const *keys,
                                  const char *const *values);
// Writes tensors of open files of any kind: the i-th is number index[i] of files[i], called
// names[i]; types other than floats stay as they are.
FRT_API frt_status frt_file_convert(const char *path, int32_t n, const frt_file *const *files,
                                    const int32_t *index, const char *const *names,
                                    int32_t float_dtype, int32_t n_meta, const char *const *keys,
                                    const char *const *values);
// Any file, likewise. Links are followed; what is no regular file is written to, never replaced.
FRT_API frt_status frt_file_replace(const char *path, const void *data, size_t bytes);
// The same in pieces: close puts the file in place, drop leaves the old one as it was. Both free.
typedef struct frt_writer frt_writer;
FRT_API frt_status frt_writer_open(const char *path, frt_writer **out);
FRT_API frt_status frt_writer_put(frt_writer *w, const void *data, size_t bytes);
FRT_API frt_status frt_writer_close(frt_writer *w);
FRT_API void frt_writer_drop(frt_writer *w);
// Adds to the end of a file (made where there is none), all of it or nothing.
FRT_API frt_status frt_file_append(const char *path, const void *data, size_t bytes, int32_t sync);
// Renames over what is there, also where the system's rename doesn't replace.
FRT_API frt_status frt_file_rename(const char *from, const char *to);
// A word for names of unfinished files that no other process makes, and whether its maker is known
// to have ended.
FRT_API void frt_temp_tag(char out[40]);
FRT_API int32_t frt_temp_dead(const char *tag);
FRT_API frt_status frt_file_sha256(const char *path, char out[65]);
FRT_API void frt_sha256(const void *data, size_t bytes, char out[65]);
FRT_API frt_status frt_make_folders(const char *path); // with its parents
// Locks a file (made where there is none) against other processes until frt_file_unlock() or the
// end of this one; FRT_ESTATE when another one has it.
FRT_API frt_status frt_file_lock(const char *path, int32_t *lock);
FRT_API void frt_file_unlock(int32_t lock);
// Claims something for this process until frt_claim_end() or its end: the file `path`, made where
// there is none, says who has it. FRT_ESTATE "in use by process N" when somebody has. locks: 1;
// 0, for tests, as on file systems without locks, where what the file says decides alone.
FRT_API frt_status frt_claim(const char *path, int32_t locks, int32_t *claim);
FRT_API void frt_claim_end(const char *path, int32_t claim);
// A folder that nobody else has made: FRT_ESTATE when it is there. Its parents may be.
FRT_API frt_status frt_folder_new(const char *path);
FRT_API void frt_folder_drop(const char *path); // removes it if it is empty
// The whole name of what is there, without links and dots.
FRT_API frt_status frt_path_real(const char *path, char *out, size_t room);
// 0 nothing there, 1 file, 2 folder, 3 something else; bytes and changed (seconds) may be NULL.
FRT_API int32_t frt_path_kind(const char *path, int64_t *bytes, double *changed);

// --- kept features ----------------------------------------------------------------------------
// A memory-mapped file with a row for each photo and view, or none yet. A row is there as a whole
// or not at all, whenever the process ends.
typedef struct frt_features frt_features;
typedef struct frt_features_spec {
  int64_t n_photos, row_bytes;
  int32_t n_views, n_keys;
  uint64_t key[8]; // what the rows follow from; a file of other keys is begun anew
} frt_features_spec;
typedef struct frt_features_info {
  int64_t bytes;   // of the file
  int64_t n_rows;  // rows that were there
  int64_t n_lost;  // rows that were damaged
  int32_t found;   // 0 no file, 1 one to go on with, 2 of another key, 3 no such file or damaged
  int32_t differs; // found = 2: the first key that does
} frt_features_info;
FRT_API int64_t frt_features_bytes(const frt_features_spec *spec);
FRT_API int64_t frt_disk_free(const char *folder); // bytes; -1: not known
// Opens the file or makes it, with all its room reserved: FRT_EIO where there is too little.
FRT_API frt_status frt_features_open(frt_features **out, const char *path,
                                     const frt_features_spec *spec, frt_features_info *info);
FRT_API void frt_features_close(frt_features *f);
FRT_API const uint8_t *frt_features_kept(const frt_features *f, int32_t view); // by photo, 0 or 1
// 0 nothing known, 1 kept, 2 the photo can't be read.
FRT_API int32_t frt_features_state(const frt_features *f, int32_t view, int64_t photo);
FRT_API frt_status frt_features_unreadable(frt_features *f, int32_t view, int64_t photo);
// Rows of n photos, as `n_parts` arrays [n, bytes[k]] which together make a row. `skip` [n] or
// NULL: photos that are left out.
FRT_API frt_status frt_features_put(frt_features *f, int32_t view, int32_t n, const int32_t *ids,
                                    const uint8_t *skip, int32_t n_parts, const void *const *parts,
                                    const int64_t *bytes);
FRT_API frt_status frt_features_get(const frt_features *f, int32_t view, int32_t n,
                                    const int32_t *ids, int32_t n_parts, void *const *parts,
                                    const int64_t *bytes);
FRT_API uint64_t frt_hash(const void *data, size_t bytes);

// --- the network ------------------------------------------------------------------------------
// One transfer by libcurl (opened on first use). With a path the body is added to that file, from
// where it ends, following redirects; without one only the headers of the first answer are fetched.
// limit: an answer that makes the file longer is an error (0: none). silent_s: seconds a server may
// say nothing.
typedef struct frt_fetch frt_fetch;
FRT_API frt_status frt_fetch_start(const char *url, const char *path, uint64_t limit,
                                   int32_t silent_s, frt_fetch **out);
// Works for up to wait_ms; running is 0 when the transfer is done. bytes: the file's length by now.
FRT_API frt_status frt_fetch_step(frt_fetch *f, int32_t wait_ms, int32_t *running, uint64_t *bytes);
FRT_API const char *frt_fetch_headers(const frt_fetch *f); // of all answers
FRT_API int32_t frt_fetch_status(const frt_fetch *f);      // of the last answer: 404; 0 none yet
FRT_API void frt_fetch_free(frt_fetch *f);
/* ffi:end */
