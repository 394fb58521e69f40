// conv2d_grad_input.c -- gradient of a convolution by its input.
// Activations NHWC, weights plain; see conv.c for the ways to compute it.
#include "cpu/conv/conv.h"

FRT_CONV_FUNCTIONS(FRT_DN_GRAD_INPUT, frt__conv_can)

FRT_KERNEL(conv2d_grad_input) = {
  FRT_CONV_FIELDS,
  .plain_in = 2, // weights
  .bf16_in = 1,    .bf16_out = 1, .product = true,
};
