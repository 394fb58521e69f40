// reduce.h -- sum, mean, amax, amin, prod of f32 over any dimensions, in either layout.
#pragma once
#include "device/kernel.h"

typedef enum frt_reduction {
  FRT_REDUCE_SUM,
  FRT_REDUCE_MEAN,
  FRT_REDUCE_MAX,
  FRT_REDUCE_MIN,
  FRT_REDUCE_PROD,
} frt_reduction;

bool frt__reduce_can(const frt_step *s);
frt_status frt__reduce_plan(frt_step *s); // of sum and mean
void frt__reduce_run(const frt_step *s, frt_reduction kind, const float *x, float *y,
                     void *scratch);
// The sum of a * b, both like s->in[0]; frt__reduce_is_rows says whether that is possible.
bool frt__reduce_is_rows(const frt_step *s);
void frt__reduce_products(const frt_step *s, const void *a, const void *b, float *y, void *scratch);
// fused_load_sum: the same of x computed as it is read, times y where there is one.
void frt__reduce_loaded(const frt_step *s, void *const *in, float *y, void *scratch);
