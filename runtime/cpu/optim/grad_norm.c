// grad_norm.c -- the length of all gradients as one vector, added up in double.
#include "cpu/kernels.h"

static bool can(const frt_step *s)
{
  for (int32_t k = 0; k < s->n_in; k++) {
    if (s->in[k] == NULL || s->in[k]->shape.dtype != FRT_F32) {
      return false;
    }
  }
  return s->n_in > 0;
}
static frt_status plan(frt_step *s)
{
  int64_t *numel = frt__alloc(sizeof *numel * (size_t)s->n_in);
  FRT_CHECK(numel != NULL, FRT_ENOMEM, "out of memory: grad_norm");
  for (int32_t k = 0; k < s->n_in; k++) {
    numel[k] = frt__numel(&s->in[k]->shape);
  }
  s->state = numel;
  s->scratch = frt__kernels()->norm_scratch(s->n_in, numel);
  return FRT_OK;
}
static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  *(float *)out[0] =
    (float)frt__kernels()->norm(s->n_in, (const float *const *)in, s->state, scratch);
  return FRT_OK;
}
static void drop(frt_step *s)
{
  frt__free(s->state);
  s->state = NULL;
}

FRT_KERNEL(grad_norm) = {
  .name = "own",
  .any_layout = true,
  .can = can,
  .plan = plan,
  .run = run,
  .free = drop,
};
