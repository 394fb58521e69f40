// isa.c -- which instruction set the CPU's own kernels use: the best this machine has, or the one
// that FOODRT_ISA or frt_set_isa names.
#include <stdlib.h>

#include "cpu/kernels.h"

extern const frt_kernels frt__kernels_base;
#if defined(__x86_64__)
extern const frt_kernels frt__kernels_avx2, frt__kernels_avx512, frt__kernels_avx512_bf16;
#endif

typedef struct choice {
  const frt_kernels *kernels;
  bool here;
} choice;

// Best last.
static int32_t choices(choice c[4])
{
  int32_t n = 0;
  c[n++] = (choice){&frt__kernels_base, true};
#if defined(__x86_64__)
  bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  c[n++] = (choice){&frt__kernels_avx2, avx2};
  c[n++] = (choice){&frt__kernels_avx512, avx512};
  c[n++] = (choice){&frt__kernels_avx512_bf16, avx512 && __builtin_cpu_supports("avx512bf16")};
#endif
  return n;
}

static const frt_kernels *chosen;

static const frt_kernels *best(void)
{
  choice c[4];
  int32_t n = choices(c);
  while (!c[n - 1].here) {
    n--;
  }
  return c[n - 1].kernels;
}

frt_status frt_set_isa(const char *name)
{
  choice c[4];
  int32_t n = choices(c);
  FRT_CHECK(name != NULL, FRT_EARG, "set_isa: name must be given");
  if (strcmp(name, "auto") == 0) {
    chosen = best();
    return FRT_OK;
  }
  for (int32_t i = 0; i < n; i++) {
    if (strcmp(name, c[i].kernels->isa) == 0) {
      FRT_CHECK(c[i].here, FRT_EDEVICE, "set_isa: this machine does not have %s", name);
      chosen = c[i].kernels;
      return FRT_OK;
    }
  }
  return frt_error_set(
    FRT_EARG, "set_isa: must be 'auto', 'base', 'avx2', 'avx512' or 'avx512_bf16', got '%s'", name);
}

const frt_kernels *frt__kernels(void)
{
  if (chosen == NULL) {
    const char *wish = getenv("FOODRT_ISA");
    // A wish this machine cannot fulfil falls back to the best; `foodrt info` shows which it is.
    if (wish == NULL || frt_set_isa(wish) != FRT_OK) {
      chosen = best();
    }
  }
  return chosen;
}

const char *frt_isa(void)
{
  return frt__kernels()->isa;
}

bool frt__kernel_halves(void)
{
  return frt__kernels()->half_product != NULL;
}
