// isa.c -- what the instruction set in use can do.
#include "cpu/kernels.h"

bool frt__kernel_halves(void)
{
  return frt__kernels()->half_product != NULL;
}
