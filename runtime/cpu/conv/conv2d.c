// conv2d.c -- convolution, with bias and activation in its pass.
// Activations NHWC, weights plain; see conv.c for the ways to compute it.
#include "cpu/conv/conv.h"

FRT_CONV_FUNCTIONS(FRT_DN_CONV, frt__conv_can)

FRT_KERNEL(conv2d) = {
  FRT_CONV_FIELDS,
  .plain_in = 6, // weights and bias
  .bf16_in = 1,    .bf16_out = 1, .product = true,
};
