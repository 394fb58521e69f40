// lower.c -- what a backend has kernels for becomes one step: its list of lowerings in its order,
// then what is computed again instead of kept, then elementwise chains.
#include "plan/plan.h"

static frt_status (*const lowering[])(frt_plan *) = {
  [FRT_LOWER_ATTENTION] = frt__lower_attention,
  [FRT_LOWER_CONV_ACT] = frt__lower_conv_act,
  [FRT_LOWER_CONV_RESIDUAL] = frt__lower_conv_residual,
  [FRT_LOWER_PRODUCT_SUM] = frt__lower_product_sum,
  [FRT_LOWER_BATCH_NORM] = frt__lower_batch_norm,
  [FRT_LOWER_GATE] = frt__lower_gate,
  [FRT_LOWER_CHAIN] = frt__lower_chain,
};

// While every step's output is checked each node stays a step of its own, so that the check names
// the right one; chains are cut to single ops then.
frt_status frt__pass_lower(frt_plan *p)
{
  for (const frt_lowering *l = frt__device()->backend->lowerings; *l && !frt__graph.finite; l++) {
    if (*l != FRT_LOWER_CHAIN) {
      FRT_TRY(lowering[*l](p));
    }
  }
  if (!frt__graph.finite) {
    FRT_TRY(frt__pass_checkpoint(p));
    FRT_TRY(frt__pass_recompute(p));
  }
  FRT_TRY(frt__pass_expand(p));
  frt__drop_unread(p); // a chain of what nobody reads would have no outputs
  return frt__lowers(FRT_LOWER_CHAIN) ? frt__lower_chain(p) : FRT_OK;
}
