// isa.c -- which of kernels/'s tables is used: the one of the instruction set in use everywhere.
#include "image.h"

extern const frt__photo_kernels frt__photo_kernels_base;
#if defined(__x86_64__)
extern const frt__photo_kernels frt__photo_kernels_avx2, frt__photo_kernels_avx512,
  frt__photo_kernels_avx512_bf16;
#endif

const frt__photo_kernels *frt__photo(void)
{
  static const frt__photo_kernels *const tables[] = {
#if defined(__x86_64__)
    &frt__photo_kernels_avx512_bf16,
    &frt__photo_kernels_avx512,
    &frt__photo_kernels_avx2,
#endif
    &frt__photo_kernels_base
  };
  const char *isa = frt_isa();
  int32_t i = 0;
  while (i < FRT_COUNT(tables) - 1 && strcmp(isa, tables[i]->isa) != 0) {
    i++;
  }
  return tables[i];
}
