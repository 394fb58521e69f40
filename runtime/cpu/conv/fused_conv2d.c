// fused_conv2d.c -- convolution of a map that is computed as it is read, with its result's batch
// statistics: what stands between two convolutions of a network in training is not stored.
#include "cpu/conv/conv.h"

FRT_CONV_FUNCTIONS(FRT_DN_CONV, frt__conv_can_fuse)

FRT_KERNEL(fused_conv2d) = {
  FRT_CONV_FIELDS,
  .plain_in = 6, // weights and bias
  .bf16_in = 1,    .bf16_out = 1, .product = true,
};
