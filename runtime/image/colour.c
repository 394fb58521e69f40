// colour.c -- brightness, contrast, saturation, hue, grey and normalisation of a view, in as few
// passes as contrast lets be: it needs a mean of what came before. The loops are
// kernels/colour.c's.
#include <string.h>

#include "image.h"

void frt__colours_add(frt__colours *list, int32_t kind, double factor, double from)
{
  list->op[list->n++] = (frt__colour_op){kind, (float)factor, (float)from};
}

void frt__colours_run(frt__colours *list, uint8_t *planes, int64_t n, const frt__normal *normal,
                      float *nhwc)
{
  const frt__photo_kernels *k = frt__photo();
  frt__colour c = {
    .plane = {planes, planes + n, planes + 2 * n},
      .n = n, .op = list->op
  };
  for (frt__colour_op *op = list->op; op < list->op + list->n; op++) {
    c.n_ops = (int32_t)(op - c.op);
    if (op->kind == FRT__CONTRAST) {
      double mean = (double)k->colour_sum(&c) / (double)n;
      *op = (frt__colour_op){FRT__BLEND, op->factor, (float)(int32_t)(mean + 0.5)};
      c.op = op;
    }
  }
  c.n_ops = (int32_t)(list->op + list->n - c.op);
  c.normal = normal;
  c.nhwc = nhwc;
  if (c.n_ops > 0 || nhwc) {
    k->colour(&c);
  }
}

void frt__normal_make(frt__normal *t, const float mean[3], const float std[3])
{
  uint8_t ramp[256];
  float got[256][3];
  for (int32_t v = 0; v < 256; v++) {
    ramp[v] = (uint8_t)v;
    for (int32_t c = 0; c < 3; c++) {
      t->table[c][v] = ((float)v / 255.0f - mean[c]) / std[c];
    }
  }
  memcpy(t->mean, mean, sizeof t->mean);
  memcpy(t->std, std, sizeof t->std);
  t->exact = true;
  frt__colour c = {
    .plane = {ramp, ramp, ramp},
      .n = 256, .normal = t, .nhwc = got[0]
  };
  frt__photo()->colour(&c);
  for (int32_t v = 0; v < 256; v++) {
    for (int32_t k = 0; k < 3; k++) {
      t->exact = t->exact && memcmp(&got[v][k], &t->table[k][v], sizeof(float)) == 0;
    }
  }
}
