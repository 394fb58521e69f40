// conv.h -- what the three convolution kernels share: reading the step's attributes, choosing the
// way to compute it, the packed weights.
#pragma once
#include "cpu/onednn.h"

bool frt__conv_can(const frt_step *s, frt_dn_kind kind);
bool frt__conv_can_fuse(const frt_step *s, frt_dn_kind kind);
frt_status frt__conv_plan(frt_step *s, frt_dn_kind kind);
frt_status frt__conv_ready(frt_step *s);
frt_status frt__conv_run(const frt_step *s, void *const *in, void *const *out, void *scratch);
void frt__conv_free(frt_step *s);

// What the kernels of conv.c differ in: the kind of convolution, and what says which steps they
// run.
#define FRT_CONV_FUNCTIONS(kind, may)                                                              \
  static bool can(const frt_step *s)                                                               \
  {                                                                                                \
    return may(s, kind);                                                                           \
  }                                                                                                \
  static frt_status plan(frt_step *s)                                                              \
  {                                                                                                \
    return frt__conv_plan(s, kind);                                                                \
  }
#define FRT_CONV_FIELDS                                                                            \
  .name = "onednn", .channels_last = true, .can = can, .plan = plan, .ready = frt__conv_ready,     \
  .run = frt__conv_run, .free = frt__conv_free
