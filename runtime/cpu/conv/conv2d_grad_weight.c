// conv2d_grad_weight.c -- gradient of a convolution by its weights.
// Activations NHWC, weights plain; see conv.c for the ways to compute it.
#include "cpu/conv/conv.h"

FRT_CONV_FUNCTIONS(FRT_DN_GRAD_WEIGHT, frt__conv_can)

FRT_KERNEL(conv2d_grad_weight) = {
  FRT_CONV_FIELDS,
  .plain_out = 1, // weights
  .bf16_in = 3,
  .product = true,
};
