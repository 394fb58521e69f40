// backend.h -- a device as a value: what a backend offers, as one table. A backend is built in or a
// plug-in that exports foodrt_backend() (registry.c). It knows kernels, steps and buffers; of the
// planner it knows the names of its lowerings.
#pragma once
#include "base/buffer.h"
#include "device/kernel.h"

typedef struct frt_backend frt_backend;
typedef struct frt_device frt_device;

// Moves when anything in this header or kernel.h does; a plug-in of another number is refused.
enum { FRT_BACKEND_ABI = 1 };

enum {
  FRT_HOST_MEMORY = 1,     // its addresses are pointers: plain-C kernels run there too
  FRT_CAPTURES = 2,        // a plan's addresses are recorded: inputs and outputs are staged
  FRT_MEMORY_IS_CHEAP = 4, // nothing is computed again unless a limit asks for it
};

// What plan/lower knows to make one step of. A backend lists those it has kernels for, in the order
// they are tried.
typedef enum frt_lowering {
  FRT_LOWER_END = 0,
  FRT_LOWER_ATTENTION,     // softmax(scale q k') v and its gradient
  FRT_LOWER_CONV_ACT,      // convolution + activation
  FRT_LOWER_CONV_RESIDUAL, // act(convolution + map)
  FRT_LOWER_PRODUCT_SUM,   // sum over a map of a product
  FRT_LOWER_BATCH_NORM,    // statistics where a map is made, application where it is read
  FRT_LOWER_GATE,          // squeeze-and-excitation backward
  FRT_LOWER_CHAIN,         // elementwise chains
} frt_lowering;

// Part of a plan, to be run: steps in order with the addresses they work on.
typedef struct frt_job {
  frt_step *const *step;
  int32_t n;
  double *seconds; // by step: time is added where it is not NULL
  // Asked by backends that run at once: before a step that writes variables, and after every step
  // (NULL: not; the finite check of a debugging run). A refusal ends the job there.
  frt_status (*before_write)(void *arg, int32_t step);
  frt_status (*after)(void *arg, int32_t step);
  void *arg;
  int32_t failed; // the step at hand when the job failed
  int32_t done;   // steps that have run to their end
  bool refused;   // `failed` is an update whose settings were refused before it wrote
} frt_job;

typedef struct frt_device_info {
  char banner[128];           // "AMD EPYC 9R45, avx512_bf16, 2 threads"
  int64_t memory, free_bytes; // of the device; -1: not known
  char why_not[256];          // why it can't be used; "" where it can
} frt_device_info;

struct frt_backend {
  uint32_t abi;
  const char *name;
  uint32_t flags;
  size_t alignment, slack; // of a value's place in the arena; spare bytes behind it
  const char *no_bf16;     // why, where stores_now() lacks it
  const frt_lowering *lowerings;
  frt_status (*open)(frt_device *d, const char *description); // NULL: nothing to do
  void (*close)(frt_device *d);
  void (*info)(frt_device *d, frt_device_info *out);
  // Settings by name, as text: "isa", "threads". FRT_EARG names what there is.
  frt_status (*set)(frt_device *d, const char *key, const char *value);
  const char *(*get)(frt_device *d, const char *key); // NULL: no such setting
  // What a plan depends on besides its graph: instruction set, threads, versions of libraries.
  uint64_t (*key)(frt_device *d);
  uint32_t (*stores_now)(frt_device *d);                        // bits 1 << frt_store
  const frt_kernel *(*kernel)(frt_device *d, const frt_op *op); // NULL: none
  // Runs a job or queues it behind what is queued. *ticket is what `wait` takes to learn how it
  // ended; a backend that runs at once leaves 0.
  frt_status (*run)(frt_device *d, frt_job *job, uint64_t *ticket);
  frt_status (*wait)(frt_device *d, uint64_t ticket, frt_job *job); // NULL: nothing is ever queued
  void (*drop)(frt_device *d, frt_step *const *step, int32_t n);    // these steps' plan goes; NULL
};

struct frt_device {
  const frt_backend *backend;
  char name[32];                 // "cpu", "cuda:0"
  const frt_memory_space *space; // where its buffers lie
  void *state;                   // the backend's own
};

// What the core offers a plug-in, which is linked with nothing of it.
typedef struct frt_services {
  uint32_t abi;
  frt_status (*error_set)(frt_status code, const char *fmt, ...);
  void *(*alloc)(size_t bytes); // zeroed; NULL
  void (*free)(void *p);
  int32_t (*threads)(void);
  void (*philox)(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);
  const frt_op *(*op)(const char *name);            // NULL: no such op
  const frt_kernel *(*reference)(const frt_op *op); // its plain-C kernel; NULL
  frt_status (*run_in_order)(frt_job *job);
} frt_services;
// The one symbol of a plug-in libfoodrt_NAME.so. NULL where its number is not that of `services`.
typedef const frt_backend *(*frt_plugin)(const frt_services *services);
#define FRT_PLUGIN_SYMBOL "foodrt_backend"

// The device that carries all plans of the process; never NULL.
frt_device *frt__device(void);
const frt_kernel *frt__kernel(const frt_op *op); // of that device; NULL: none
bool frt__lowers(frt_lowering what);             // whether that device's backend lists it

// Runs steps one after another on the calling thread: `run` of every backend with host memory.
frt_status frt__run_in_order(frt_job *job);

extern const frt_backend frt__backend_cpu, frt__backend_reference; // built in
extern const frt_kernel frt__reference; // runs any op's plain-C forward(), in host memory
// Plain-C kernels of what moves values: copy, layout, store.
const frt_kernel *frt__reference_kernel(const frt_op *op);
