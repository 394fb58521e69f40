// random.h -- attributes of the ops that draw numbers.
#pragma once
#include "ops/elementwise/elementwise.h"
#include "ops/shape/shape.h"

enum {
  FRT_UNIFORM_NDIM, // as FRT_SHAPE_NDIM, FRT_SHAPE_DIMS
  FRT_UNIFORM_KEY_HI = FRT_SHAPE_DIMS + FRT_MAX_DIM,
  FRT_UNIFORM_KEY_LO,
  FRT_UNIFORM_DTYPE,
};
