// shape.c -- what gives numbers another place: each a strided copy (move.c).
#include "ops/shape/shape.h"
#include "cpu/kernels.h"
#include "cpu/move/move.h"

// Dimensions in another order: one strided copy.
static frt_status run_permute(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  (void)scratch;
  int64_t from[FRT_MAX_DIM];
  frt_move m = {.ndim = s->out[0]->shape.ndim};
  frt__value_steps(s->in[0], from);
  frt__value_steps(s->out[0], m.to);
  for (int32_t i = 0; i < m.ndim; i++) {
    m.dim[i] = s->out[0]->shape.dim[i];
    m.from[i] = from[(int32_t)s->attr[FRT_PERMUTE_ORDER + i]];
  }
  frt__move(m, frt__item_bytes(s->out[0]), in[0], out[0]);
  return FRT_OK;
}

FRT_KERNEL(permute) = {
  .name = "own", .can = frt__can_move, .run = run_permute, .bf16_in = 1, .bf16_out = 1};

// A range of one dimension: one strided copy.
static frt_status run_narrow(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  (void)scratch;
  const frt_shape *y = &s->out[0]->shape;
  const size_t size = frt__item_bytes(s->out[0]);
  const int32_t dim = (int32_t)s->attr[FRT_NARROW_DIM];
  frt_move m = {.ndim = y->ndim};
  frt__value_steps(s->in[0], m.from);
  frt__value_steps(s->out[0], m.to);
  memcpy(m.dim, y->dim, sizeof m.dim);
  frt__move(m, size,
            (const char *)in[0] + (int64_t)s->attr[FRT_NARROW_START] * m.from[dim] * (int64_t)size,
            out[0]);
  return FRT_OK;
}

FRT_KERNEL(narrow) = {.name = "own",
                      .any_layout = true,
                      .can = frt__can_move,
                      .run = run_narrow,
                      .bf16_in = 1,
                      .bf16_out = 1};

// Broadcasting to a shape: one strided copy with steps of 0.
static frt_status run_expand(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  (void)scratch;
  const frt_shape *x = &s->in[0]->shape, *y = &s->out[0]->shape;
  int64_t from[FRT_MAX_DIM];
  frt_move m = {.ndim = y->ndim};
  frt__value_steps(s->in[0], from);
  frt__value_steps(s->out[0], m.to);
  const int32_t missing = y->ndim - x->ndim;
  for (int32_t i = 0; i < m.ndim; i++) {
    m.dim[i] = y->dim[i];
    m.from[i] = i < missing || x->dim[i - missing] == 1 ? 0 : from[i - missing];
  }
  frt__move(m, frt__item_bytes(s->out[0]), in[0], out[0]);
  return FRT_OK;
}

FRT_KERNEL(expand) = {.name = "own", .any_layout = true, .can = frt__can_move, .run = run_expand};

// Dimensions reversed: one strided copy with negative steps.
static frt_status run_flip(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  (void)scratch;
  const frt_shape *y = &s->out[0]->shape;
  const size_t size = frt__item_bytes(s->out[0]);
  const uint32_t mask = (uint32_t)s->attr[FRT_FLIP_MASK];
  int64_t at = 0;
  frt_move m = {.ndim = y->ndim};
  frt__value_steps(s->in[0], m.from);
  frt__value_steps(s->out[0], m.to);
  memcpy(m.dim, y->dim, sizeof m.dim);
  for (int32_t i = 0; i < m.ndim; i++) {
    if (mask >> i & 1) {
      at += (m.dim[i] - 1) * m.from[i];
      m.from[i] = -m.from[i];
    }
  }
  frt__move(m, size, (const char *)in[0] + at * (int64_t)size, out[0]);
  return FRT_OK;
}

FRT_KERNEL(flip) = {.name = "own", .any_layout = true, .can = frt__can_move, .run = run_flip};

// Tensors side by side along one dimension: one strided copy each.
static frt_status run_cat(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  (void)scratch;
  const frt_shape *y = &s->out[0]->shape;
  const size_t size = frt__item_bytes(s->out[0]);
  const int32_t dim = (int32_t)s->attr[FRT_CAT_DIM];
  char *at = out[0];
  for (int32_t k = 0; k < s->n_in; k++) {
    frt_move m = {.ndim = y->ndim};
    frt__value_steps(s->in[k], m.from);
    frt__value_steps(s->out[0], m.to);
    memcpy(m.dim, s->in[k]->shape.dim, sizeof m.dim);
    frt__move(m, size, in[k], at);
    at += m.dim[dim] * m.to[dim] * (int64_t)size;
  }
  return FRT_OK;
}

FRT_KERNEL(cat) = {.name = "own",
                   .any_layout = true,
                   .can = frt__can_move,
                   .run = run_cat,
                   .bf16_in = ~0u,
                   .bf16_out = 1};

// A border of one value around a tensor.
static bool can_pad(const frt_step *s)
{
  return s->out[0]->shape.dtype == FRT_F32 && frt__can_move(s);
}

static frt_status run_pad(const frt_step *s, void *const *in, void *const *out, void *scratch)
{
  (void)scratch;
  const frt_shape *x = &s->in[0]->shape, *y = &s->out[0]->shape;
  const float value = (float)s->attr[FRT_PAD_VALUE];
  int64_t at = 0;
  frt_move m = {.ndim = y->ndim};
  frt__value_steps(s->in[0], m.from);
  frt__value_steps(s->out[0], m.to);
  for (int32_t i = 0; i < m.ndim; i++) {
    const int64_t before = (int64_t)s->attr[FRT_PAD_BEFORE + i];
    m.dim[i] = x->dim[i];
    at += before * m.to[i];
  }
  const size_t size = frt__item_bytes(s->out[0]);
  uint16_t bf16 = 0;
  if (frt__bf16(s->out[0])) {
    frt__kernels()->to_bf16(&value, 1, &bf16);
  }
  frt__fill(size, frt__numel(y), frt__bf16(s->out[0]) ? (const void *)&bf16 : &value, out[0]);
  frt__move(m, size, in[0], (char *)out[0] + at * (int64_t)size);
  return FRT_OK;
}

FRT_KERNEL(pad) = {
  .name = "own", .any_layout = true, .can = can_pad, .run = run_pad, .bf16_in = 1, .bf16_out = 1};
