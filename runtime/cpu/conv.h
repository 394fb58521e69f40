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
