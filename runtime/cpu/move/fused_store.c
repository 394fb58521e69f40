// fused_store.c -- a map stored as f32 into one stored as bf16, or back; the layout stays.
#include "cpu/kernels.h"

enum { PART = 16384 };

static bool can(const frt_step *s)
{
  return frt__bf16(s->in[0]) != frt__bf16(s->out[0]) && s->in[0]->layout == s->out[0]->layout;
}

static frt_status run(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  const int64_t n = frt__numel(&s->out[0]->shape);
  const bool to = frt__bf16(s->out[0]);
  (void)scratch;
#pragma omp parallel for schedule(static) if (n > PART)
  for (int64_t at = 0; at < n; at += PART) {
    const int64_t count = FRT_MIN(PART, n - at);
    if (to) {
      frt__kernels()->to_half((const float *)in[0] + at, count, (uint16_t *)out[0] + at);
    } else {
      frt__kernels()->from_half((const uint16_t *)in[0] + at, count, (float *)out[0] + at);
    }
  }
  return FRT_OK;
}

FRT_KERNEL(fused_store) = {.name = "own", .any_layout = true, .can = can, .run = run};
