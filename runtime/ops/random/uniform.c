/// uniform -- random numbers in [0, 1) that follow from seed, place, step and sample alone.
///
///     y[i, j] = (word >> 8) / 2^24, where word is number j mod 4 of Philox4x32-10 with
///     counter {j / 4, step's high 32 bits, step's low 32 bits, low 32 bits of sample + i}
///     key     {low 32 bits of seed ^ key_lo, high 32 bits of seed ^ key_hi}
///     i counts along the first dimension, j through the rest in row-major order
///
/// in    seed, step, sample  f32, f64 or i32 scalars: whole numbers of 0 .. 2^53
/// out   y                   dtype [shape]; f64 holds the same numbers as f32
/// attr  ndim, shape         y's dimensions
/// attr  key_hi, key_lo      64 bits that name the place: module path and call number
/// attr  dtype               0 f32, 1 f64
/// grad  none: draws do not depend on anything with a slope
/// errs  FRT_EARG when a scalar is not such a number
/// from  Salmon, Moraes, Dror and Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3"
#include "ops/random/random.h"

static const frt_attr attrs[] = {
  {"ndim",   1,           0,       0,       FRT_MAX_DIM,  "dimensions of y"          },
  {"shape",  FRT_MAX_DIM, 0,       0,       FRT_MAX_SIZE, "the dimensions"           },
  {"key_hi", 1,           0,       0,       4294967295,   "high 32 bits of the place"},
  {"key_lo", 1,           0,       0,       4294967295,   "low 32 bits of the place" },
  {"dtype",  1,           FRT_F32, FRT_F32, FRT_F64,      "0 f32, 1 f64"             },
};

static const frt_case cases[] = {
  {"rows of a batch", 3, {{0}, {0}, {0}}, "iii", 9, {2, 3, 7, 0, 0, 0, 0, 17, 4e9, FRT_F32}},
  {"one per sample",  3, {{0}, {0}, {0}}, "iii", 9, {4, 5, 1, 1, 1, 0, 0, 1, 2, FRT_F32}   },
  {"scalar",          3, {{0}, {0}, {0}}, "iii", 9, {0, 0, 0, 0, 0, 0, 0, 1, 2, FRT_F32}   },
};

static frt_status infer(const frt_infer *c)
{
  for (int32_t k = 0; k < 3; k++) {
    int32_t dtype = c->x[k]->dtype;
    FRT_CHECK(frt__numel(c->x[k]) == 1, FRT_ESHAPE, "uniform: input %d must be a scalar, got %s",
              k + 1, frt__shape_text(c->x[k]));
    FRT_CHECK(frt__is_real(dtype) || dtype == FRT_I32, FRT_ESHAPE,
              "uniform: input %d must be f32, f64 or i32, got %s", k + 1, frt__dtype_name(dtype));
  }
  c->y[0] = frt__shape_attr((int32_t)c->attr[FRT_UNIFORM_DTYPE], c->attr + FRT_UNIFORM_NDIM);
  return FRT_OK;
}

static frt_status whole(const frt_call *c, int32_t k, const char *what, uint64_t *out)
{
  double v = frt__get(c->x[k], c->xs[k]->dtype, 0);
  FRT_CHECK(v >= 0 && v <= 9007199254740992 && v == floor(v), FRT_EARG,
            "uniform: %s must be a whole number of 0 to 2^53, got %g", what, v);
  *out = (uint64_t)v;
  return FRT_OK;
}

static frt_status forward(const frt_call *c)
{
  uint64_t seed = 0, step = 0, sample = 0;
  FRT_TRY(whole(c, 0, "seed", &seed));
  FRT_TRY(whole(c, 1, "step", &step));
  FRT_TRY(whole(c, 2, "sample", &sample));
  const frt_shape *y = c->ys[0];
  int64_t rows = y->ndim > 0 ? y->dim[0] : 1, n = rows > 0 ? frt__numel(y) / rows : 0;
  uint32_t hi = (uint32_t)c->attr[FRT_UNIFORM_KEY_HI], lo = (uint32_t)c->attr[FRT_UNIFORM_KEY_LO];
  for (int64_t i = 0; i < rows; i++) {
    uint32_t id = (uint32_t)(sample + (uint64_t)i);
    if (y->dtype == FRT_F32) {
      frt__uniform(FRT_OUT(float, 0) + i * n, n, seed, hi, lo, step, id);
      continue;
    }
    // As floats in the upper half of the row's bytes, then widened from the front.
    double *row = FRT_OUT(double, 0) + i * n;
    float *narrow = (float *)row + n;
    frt__uniform(narrow, n, seed, hi, lo, step, id);
    for (int64_t j = 0; j < n; j++) {
      float value;
      memcpy(&value, narrow + j, sizeof value);
      double wide = (double)value;
      memcpy(row + j, &wide, sizeof wide);
    }
  }
  return FRT_OK;
}

FRT_OP(uniform) = {
  .name = "uniform",
  .doc = "random numbers in [0, 1) that follow from seed, place, step and sample alone",
  .n_in = 3,
  .n_out = 1,
  .flags = FRT_RANDOM | FRT_NO_GRAD,
  .attr = attrs,
  .n_attr = FRT_COUNT(attrs),
  .cases = cases,
  .n_case = FRT_COUNT(cases),
  .infer = infer,
  .forward = forward,
};
