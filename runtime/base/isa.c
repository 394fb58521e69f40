// isa.c -- which instruction set the code that is compiled for several uses: the best this machine
// has, or the one that FOODRT_ISA or frt_set_isa names.
#include <stdio.h>
#include <stdlib.h>

#include "base/base.h"
#include "base/isa.h"

#define NAME(isa) #isa,
static const char *const names[] = {FRT_EACH_ISA(NAME)};

static bool here(int32_t isa)
{
#if defined(__x86_64__)
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl");
  const bool has[] = {true, avx2, avx512, avx512 && __builtin_cpu_supports("avx512bf16")};
  return has[isa];
#else
  return isa == 0;
#endif
}

static int32_t best(void)
{
  int32_t isa = FRT_COUNT(names) - 1;
  while (!here(isa)) {
    isa--;
  }
  return isa;
}

// What `name` says, in *isa; `who` begins the message.
static frt_status read_name(const char *who, const char *name, int32_t *isa)
{
  *isa = best();
  if (strcmp(name, "auto") == 0) {
    return FRT_OK;
  }
  for (int32_t i = 0; i < FRT_COUNT(names); i++) {
    if (strcmp(name, names[i]) == 0) {
      FRT_CHECK(here(i), FRT_EDEVICE, "%s: this machine does not have %s", who, name);
      *isa = i;
      return FRT_OK;
    }
  }
  return frt_error_set(
    FRT_EARG, "%s: must be 'auto', 'base', 'avx2', 'avx512' or 'avx512_bf16', got '%s'", who, name);
}

static int32_t chosen = -1;
static char why[256];

frt_status frt_set_isa(const char *name)
{
  int32_t isa;
  FRT_CHECK(name != NULL, FRT_EARG, "set_isa: name must be given");
  FRT_TRY(read_name("set_isa", name, &isa));
  chosen = isa;
  return FRT_OK;
}

int32_t frt__isa(void)
{
  if (chosen < 0) {
    const char *wish = getenv("FOODRT_ISA");
    int32_t isa = best();
    if (wish != NULL && wish[0] && read_name("FOODRT_ISA", wish, &isa) != FRT_OK) {
      snprintf(why, sizeof why, "%s; going on with %s", frt_error_last(), names[isa]);
    }
    chosen = isa;
  }
  return chosen;
}

const char *frt_isa(void)
{
  return names[frt__isa()];
}

const char *frt_isa_why(void)
{
  (void)frt__isa();
  return why;
}
