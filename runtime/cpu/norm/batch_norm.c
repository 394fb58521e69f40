// batch_norm.c -- batch norm with given statistics (evaluation, or frozen), NHWC.
#include "cpu/norm/bn.h"
#include "ops/norm/norm.h"

static frt_status plan(frt_step *s)
{
  FRT_TRY(frt__bn_plan(s));
  s->scratch += (size_t)s->in[0]->shape.dim[1] * sizeof(float); // the variances' inverse roots
  return FRT_OK;
}
static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  frt_bn g = frt__bn_sizes(s, FRT_ACT_NONE);
  const frt_kernels *k = frt__kernels();
  const float *var = in[4];
  float *rstd = (float *)((char *)scratch + k->bn_scratch(&g));
  for (int64_t c = 0; c < g.c; c++) {
    rstd[c] = (float)(1 / sqrt((double)var[c] + s->attr[FRT_BATCH_NORM_EPS]));
  }
  k->bn_apply(&g, in[0], in[1], in[2], in[3], rstd, NULL, out[0], scratch);
  return FRT_OK;
}

FRT_KERNEL(batch_norm) = {
  .name = "own",
  .channels_last = true,
  .in_place = true,
  .can = frt__bn_can,
  .plan = plan,
  .run = run,
};
