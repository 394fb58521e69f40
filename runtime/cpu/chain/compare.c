// compare.c -- eq, lt, le of i32 with broadcasting: 1 where the comparison holds, else 0. Those of
// f32 run in elementwise chains.
#include "device/kernel.h"

static bool can(const frt_step *s)
{
  return s->in[0]->shape.dtype == FRT_I32 && s->in[1]->shape.dtype == FRT_I32;
}

#define COMPARE(id, expr)                                                                          \
  static frt_status id(const frt_step *s, void *const *in, void *const *out, void *scratch)        \
  {                                                                                                \
    (void)scratch;                                                                                 \
    const frt_shape *xs[2] = {&s->in[0]->shape, &s->in[1]->shape}, *ys[1] = {&s->out[0]->shape};   \
    const frt_call c = {.n_in = 2, .n_out = 1, .xs = xs, .ys = ys};                                \
    const int32_t *pa = in[0], *pb = in[1];                                                        \
    float *y = out[0];                                                                             \
    frt_walk w;                                                                                    \
    frt__walk_start(&w, &c);                                                                       \
    for (int64_t i = 0; i < w.n; i++) {                                                            \
      const int32_t a = pa[frt__walk_at(&w, 0, i)], b = pb[frt__walk_at(&w, 1, i)];                \
      y[i] = (expr) ? 1.0f : 0.0f;                                                                 \
    }                                                                                              \
    return FRT_OK;                                                                                 \
  }
COMPARE(equal, a == b)
COMPARE(less, a < b)
COMPARE(less_equal, a <= b)

FRT_KERNEL(eq) = {.name = "own", .can = can, .run = equal};
FRT_KERNEL(lt) = {.name = "own", .can = can, .run = less};
FRT_KERNEL(le) = {.name = "own", .can = can, .run = less_equal};
