// table.c -- the table of one instruction set's loops over pixels.
#include "image/kernels.h"

const frt__photo_kernels FRT_K(photo_kernels) = {
  .isa = FRT_ISA_TEXT(FRT_ISA),
  .across = FRT_K(across),
  .down = FRT_K(down),
  .warp = FRT_K(warp),
  .colour = FRT_K(colour),
  .colour_sum = FRT_K(colour_sum),
};
