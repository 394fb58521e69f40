// copies.c -- a value in another place, another layout, another store.
#include "cpu/kernels.h"
#include "cpu/move/move.h"

// The same bytes in another place.
static bool can_fused_copy(const frt_step *s)
{
  return frt__value_bytes(s->in[0]) == frt__value_bytes(s->out[0]);
}

static frt_status run_fused_copy(const frt_step *s, void *const *in, void *const *out,
                                 void *scratch)
{
  (void)scratch;
  frt__copy(in[0], out[0], frt__value_bytes(s->out[0]));
  return FRT_OK;
}

FRT_KERNEL(fused_copy) = {
  .name = "own", .any_layout = true, .can = can_fused_copy, .run = run_fused_copy};

// A 4-D value from plain to channels-last or back.
static frt_status run_fused_layout(const frt_step *s, void *const *in, void *const *out,
                                   void *scratch)
{
  (void)scratch;
  frt_move m = {.ndim = s->out[0]->shape.ndim};
  memcpy(m.dim, s->out[0]->shape.dim, sizeof m.dim);
  frt__value_steps(s->in[0], m.from);
  frt__value_steps(s->out[0], m.to);
  frt__move(m, frt__item_bytes(s->out[0]), in[0], out[0]);
  return FRT_OK;
}

FRT_KERNEL(fused_layout) = {.name = "own",
                            .any_layout = true,
                            .can = frt__can_move,
                            .run = run_fused_layout,
                            .bf16_in = 1,
                            .bf16_out = 1};

// A map stored as f32 into one stored as bf16, or back; the layout stays.
enum { PART = 16384 };

static bool can_fused_store(const frt_step *s)
{
  return frt__bf16(s->in[0]) != frt__bf16(s->out[0]) && s->in[0]->layout == s->out[0]->layout;
}

static frt_status run_fused_store(const frt_step *s, void *const *in, void *const *out,
                                  void *scratch)
{
  const int64_t n = frt__numel(&s->out[0]->shape);
  const bool to = frt__bf16(s->out[0]);
  (void)scratch;
#pragma omp parallel for schedule(static) if (n > PART)
  for (int64_t at = 0; at < n; at += PART) {
    const int64_t count = FRT_MIN(PART, n - at);
    if (to) {
      frt__kernels()->to_bf16((const float *)in[0] + at, count, (uint16_t *)out[0] + at);
    } else {
      frt__kernels()->from_bf16((const uint16_t *)in[0] + at, count, (float *)out[0] + at);
    }
  }
  return FRT_OK;
}

FRT_KERNEL(fused_store) = {
  .name = "own", .any_layout = true, .can = can_fused_store, .run = run_fused_store};
