// planes.h -- NHWC maps for the pooling and resizing kernels: means of windows over all channels at
// once, and work split into a sample's blocks of channels where results are scattered.
#pragma once
#include "device/kernel.h"
#include "ops/pool/pool.h"

enum { FRT_CHANNELS = 64, FRT_SMALL_MAP = 16384 };

// A block of channels of one sample; consecutive pixels are `step` floats apart.
typedef struct frt_block {
  int64_t sample, first, n, step;
} frt_block;

static inline int64_t frt__blocks(const frt_shape *s)
{
  return s->dim[0] * ((s->dim[1] + FRT_CHANNELS - 1) / FRT_CHANNELS);
}

static inline frt_block frt__block_at(const frt_shape *s, int64_t i)
{
  const int64_t per = (s->dim[1] + FRT_CHANNELS - 1) / FRT_CHANNELS;
  const int64_t first = i % per * FRT_CHANNELS;
  return (frt_block){i / per, first, FRT_MIN(s->dim[1] - first, FRT_CHANNELS), s->dim[1]};
}

// Where the block's first pixel lies in a map of that many pixels a sample.
static inline int64_t frt__block_start(const frt_block *b, int64_t pixels)
{
  return b->sample * pixels * b->step + b->first;
}

static inline void frt__block_clear(float *x, const frt_block *b, int64_t pixels)
{
  for (int64_t i = 0; i < pixels; i++) {
    memset(x + i * b->step, 0, sizeof *x * (size_t)b->n);
  }
}

// y[0..c-1] = mean over a window of one sample's map.
static inline void frt__mean_at(const float *map, int64_t width, int64_t c, frt_window k, float *y)
{
  const float scale = (float)(1.0 / k.count);
  memset(y, 0, sizeof *y * (size_t)c);
  for (int64_t py = k.y0; py < k.y1; py++) {
    for (int64_t px = k.x0; px < k.x1; px++) {
      const float *x = map + (py * width + px) * c;
      for (int64_t i = 0; i < c; i++) {
        y[i] += x[i];
      }
    }
  }
  for (int64_t i = 0; i < c; i++) {
    y[i] *= scale;
  }
}

// The gradient of a mean, added to a block of a map.
static inline void frt__share_at(float *map, int64_t width, const frt_block *b, frt_window k,
                                 const float *dy)
{
  const float scale = (float)(1.0 / k.count);
  for (int64_t py = k.y0; py < k.y1; py++) {
    for (int64_t px = k.x0; px < k.x1; px++) {
      float *x = map + (py * width + px) * b->step;
      for (int64_t i = 0; i < b->n; i++) {
        x[i] += dy[i] * scale;
      }
    }
  }
}

static inline bool frt__planes_can(const frt_step *s)
{
  return s->in[0]->shape.dtype == FRT_F32;
}
