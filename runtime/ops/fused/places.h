// places.h -- where the inputs and attributes of fused ops stand, for who makes them (plan/lower)
// and who has kernels for them.
#pragma once

// Convolutions whose x is act(batch norm(x)) * gate, computed as it is read. All but x, w and dy
// may be absent. Attributes: those of conv2d (of conv2d_grad_weight), then
// the activation of x, and eps and momentum of the statistics.
//   fused_conv2d              x, w, bias, gamma, beta, mean, rstd, gate, running mean, running var,
//                             residual (added before the activation) -> y, or y, mean, rstd, new
//                             running mean, new running var
//   fused_conv2d_grad_weight  x, dy, gamma, beta, mean, rstd, gate -> dw
enum {
  FRT_FUSED_CONV_LOAD_ACT = 12,
  FRT_FUSED_CONV_EPS,
  FRT_FUSED_CONV_MOMENTUM,
  FRT_FUSED_CONV_ATTRS,
};
// The inputs from gamma on, counted from there, and where that is; the other places of
// fused_conv2d.
enum { FRT_LOAD_MEAN = 2, FRT_LOAD_GATE = 4, FRT_CONV_LOAD = 3, FRT_CONV_WEIGHT_LOAD = 2 };
enum {
  FRT_CONV_RUNNING = 8,
  FRT_CONV_RESIDUAL = 10,
  FRT_CONV_INPUTS = 11,
  FRT_CONV_WEIGHT_INPUTS = 7,
  FRT_CONV_OUTPUTS = 5
};
// Sum over height and width (and photos) of such an x, times y where there is one:
//   fused_load_sum            x, y, gamma, beta, mean, rstd -> sum
// Attributes: the two of sum, the activation, and whether it is the mean.
enum { FRT_FUSED_SUM_ACT = 2, FRT_FUSED_SUM_MEAN, FRT_FUSED_SUM_ATTRS };
// fused_bn_apply, fused_bn_act_grad and the two below: the activation.
enum { FRT_FUSED_ACT };
// Of y = act(batch norm(x)) times a gate [N, C, 1, 1], dz the product's gradient, where dy is
// dz * gate + add, add [N, C, 1, 1]; attribute: the activation.
//   fused_gate_sums     x, dz, gamma, beta, mean, rstd -> the gate's gradient, sums [4, N, C]: of
//                       dz act', dz act' (x - mean), act', act' (x - mean)
//   fused_bn_gate_grad  x, dz, gamma, beta, mean, rstd, gate, add, sums -> dx, dgamma, dbeta
