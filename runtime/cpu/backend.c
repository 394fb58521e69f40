// backend.c -- the CPU as a backend: host memory, oneDNN and own kernels, steps run in order.
#include <stdio.h>
#include <stdlib.h>

#include "cpu/kernels.h"
#include "device/backend.h"

extern const frt_kernel *const frt_kernel_table[];
extern const char *const frt_kernel_name[]; // the op each is for
extern const int32_t frt_kernel_table_len;

static const frt_kernel *kernel(frt_device *d, const frt_op *op)
{
  (void)d;
  for (int32_t i = 0; i < frt_kernel_table_len; i++) {
    if (strcmp(frt_kernel_name[i], op->name) == 0) {
      return frt_kernel_table[i];
    }
  }
  return NULL;
}

static uint64_t key(frt_device *d)
{
  (void)d;
  const int32_t threads = frt_threads();
  return frt__hash(frt__hash(0, frt_isa(), strlen(frt_isa())), &threads, sizeof threads);
}

static uint32_t stores_now(frt_device *d)
{
  (void)d;
  return 1u << FRT_STORE_OWN |
         (frt__kernels()->bf16_product ? 1u << FRT_STORE_BF16 : 0); // asked per instruction set
}

static frt_status run(frt_device *d, frt_job *job, uint64_t *ticket)
{
  (void)d;
  *ticket = 0;
  frt__threads_wait();
  return frt__run_in_order(job);
}

static void info(frt_device *d, frt_device_info *out)
{
  (void)d;
  out->memory = out->free_bytes = -1;
  snprintf(out->banner, sizeof out->banner, "%s, %d threads", frt_isa(), frt_threads());
}

static frt_status set(frt_device *d, const char *name, const char *value)
{
  (void)d;
  if (strcmp(name, "isa") == 0) {
    return frt_set_isa(value);
  }
  FRT_CHECK(strcmp(name, "threads") == 0, FRT_EARG,
            "device cpu: its settings are isa and threads, got '%s'", name);
  char *end;
  const long n = strtol(value, &end, 10);
  FRT_CHECK(end != value && *end == '\0' && n >= 0 && n <= 4096, FRT_EARG,
            "device cpu: threads must be a number from 0 (as many as there are), got '%s'", value);
  frt_set_threads((int32_t)n);
  return FRT_OK;
}

static const char *get(frt_device *d, const char *name)
{
  static char text[16];
  (void)d;
  if (strcmp(name, "isa") == 0) {
    return frt_isa();
  }
  snprintf(text, sizeof text, "%d", frt_threads());
  return strcmp(name, "threads") == 0 ? text : NULL;
}

static const frt_lowering lowerings[] = {
  FRT_LOWER_CONV_ACT, FRT_LOWER_PRODUCT_SUM,   FRT_LOWER_ATTENTION, FRT_LOWER_BATCH_NORM,
  FRT_LOWER_GATE,     FRT_LOWER_CONV_RESIDUAL, FRT_LOWER_CHAIN,     FRT_LOWER_END,
};

const frt_backend frt__backend_cpu = {
  .abi = FRT_BACKEND_ABI,
  .name = "cpu",
  .flags = FRT_HOST_MEMORY,
  .alignment = 64,
  .slack = 64, // kernels read whole vectors
  .no_bf16 = "this CPU has no instructions for bf16 (avx512_bf16)",
  .lowerings = lowerings,
  .info = info,
  .set = set,
  .get = get,
  .key = key,
  .stores_now = stores_now,
  .kernel = kernel,
  .run = run,
};
