// image.h -- what the files of this room share: decoding, resampling, colour, augment draws, order.
// Pixels are 8-bit sRGB everywhere between the decoder and the batch slot: a photo's are R G B
// interleaved, a view's three planes.
#pragma once
#include "base/base.h"
#include "image/kernels.h"

enum { FRT__MAX_PIXELS = 100000000, FRT__MAX_AUGMENT = 64 };
enum { FRT__BILINEAR = 0, FRT__BICUBIC = 1, FRT__LANCZOS = 2, FRT__NEAREST = 3 };

typedef struct frt__rect {
  int32_t x, y, w, h;
} frt__rect;

// A buffer that only grows; big ones are given back by frt__scratch_trim.
typedef struct frt__buffer {
  uint8_t *p;
  size_t cap;
} frt__buffer;
frt_status frt__buffer_need(frt__buffer *b, size_t bytes);

// What one thread needs to turn files into views.
typedef struct frt__jpeg frt__jpeg; // jpeg.h
typedef struct frt__scratch {
  frt__buffer file, rgb, half, taps, tile, view, small;
  frt__jpeg *jpeg;
  bool big; // what lies here is the one big photo (source.h)
} frt__scratch;
void frt__scratch_trim(frt__scratch *s);
void frt__scratch_free(frt__scratch *s);

// --- open.c, read.c, read_vips.c --------------------------------------------------------------
// An opened photo: size after orientation, nothing decoded yet.
typedef struct frt__header {
  int32_t w, h, orientation, bands, bits;
  const char *format;
  bool is_jpeg;
  bool mirror_x, mirror_y; // upright x (y) counts from the file's right or lower edge
} frt__header;

// A photo is opened, looked at and read, in three calls in a row (source.h has its inside).
typedef struct frt__source frt__source;
// The header. FRT_EDATA: its bytes (or that there is no file) say that it is no photo. FRT_EIO,
// FRT_ENOMEM, FRT_EDEVICE: the machine refuses, which says nothing of the photo.
frt_status frt__open(frt__source *f, frt__scratch *s, const char *path);
// Of a JPEG: it will be decoded at 1/shrink (2, 4, 8); f->header.w and h are then those.
frt_status frt__open_smaller(frt__source *f, int32_t shrink);
// The part's pixels, upright, in the scratch's buffers; none for a part without area.
frt_status frt__read(frt__source *f, frt__rect part, frt__pixels *out);
void frt__close(frt__source *f);
void frt__decode_thread_end(void); // before a thread that decoded ends

// --- bmp.c ------------------------------------------------------------------------------------
frt_status frt__bmp_size(const uint8_t *file, size_t bytes, int64_t *w, int64_t *h, int32_t *bits);
frt_status frt__bmp_read(const uint8_t *file, size_t bytes, frt__rect part, uint8_t *rgb);

// --- resample.c -------------------------------------------------------------------------------
// Pillow's resize(size, filter, box), bit for bit: dst[ow, oh] of src's box, mirrored where asked.
// dst_stride in bytes; plane: bytes from one plane of dst to the next, 0: R G B interleaved.
typedef struct frt__resize {
  frt__pixels src;
  frt__box box;
  uint8_t *dst;
  int32_t ow, oh;
  size_t dst_stride, plane;
  int32_t filter;
  bool mirror_x, mirror_y;
} frt__resize;
frt_status frt__resample(frt__scratch *s, const frt__resize *r);

// --- colour.c ---------------------------------------------------------------------------------
// A list of operations; contrast is a blend with the mean of what grey is when its turn comes.
enum { FRT__CONTRAST = FRT__GREY + 1 };
typedef struct frt__colours {
  frt__colour_op op[4 * FRT__MAX_AUGMENT];
  int32_t n;
} frt__colours;
void frt__colours_add(frt__colours *list, int32_t kind, double factor, double from);
// Applies them to a view of n pixels; normalised to nhwc, where given, else in place.
void frt__colours_run(frt__colours *list, uint8_t *planes, int64_t n, const frt__normal *normal,
                      float *nhwc);
void frt__normal_make(frt__normal *t, const float mean[3], const float std[3]);

// --- random.c ---------------------------------------------------------------------------------
typedef struct frt__rng {
  uint32_t counter[4], key[2], word[4];
  int32_t left;
} frt__rng;
typedef struct frt__key {
  int64_t seed, epoch, sample;
} frt__key;
frt__rng frt__rng_at(const frt__key *key, uint32_t op);
double frt__rng_unit(frt__rng *r);                          // [0, 1)
double frt__rng_between(frt__rng *r, double lo, double hi); // [lo, hi)
int32_t frt__rng_below(frt__rng *r, int32_t n);             // 0 .. n-1
// Place i of a permutation of 0..n-1 that (seed, epoch) names.
int32_t frt__order_at(int64_t seed, int64_t epoch, int32_t n, int32_t i);
// The try-th stand-in for a photo that can't be read.
int32_t frt__substitute(const frt__key *key, int32_t n, int32_t attempt);

// --- view.c -----------------------------------------------------------------------------------
// Maps the canvas (what the augments made) to the photo, both in pixels with the corner at 0:
// photo = m * (x, y, 1).
typedef struct frt__geometry {
  double m[6];
  double w, h;   // of the canvas
  frt__box clip; // of the photo: what may be read; a crop hides the rest
  double pw, ph; // of the photo
  int32_t filter;
} frt__geometry;
frt_status frt__view_check(const frt_view *view);
// Of a photo of w x h pixels, by the draws of `key`.
frt__geometry frt__view_geometry(const frt_view *view, const frt__key *key, double w, double h);
// How small (1, 2, 4, 8) a JPEG may be decoded, and the geometry on what that gives: `h` is the
// header then.
int32_t frt__view_shrink(const frt_view *view, const frt__geometry *g, const frt__header *h);
void frt__view_smaller(frt__geometry *g, const frt__header *h, double shrink);
// The part of the photo that is read for it; without area where the view looks past the photo.
frt__rect frt__view_part(const frt__geometry *g);
bool frt__view_upright(const frt__geometry *g);
// Photo pixels per canvas pixel along the photo's x and y.
double frt__view_density_x(const frt__geometry *g);
double frt__view_density_y(const frt__geometry *g);

// --- render.c ---------------------------------------------------------------------------------
// File -> the view's pixels, normalised, in nhwc.
frt_status frt__view_decode(frt__scratch *s, const frt_view *view, const frt__normal *normal,
                            const char *path, const frt__key *key, float *nhwc);

frt_manifest *frt__manifest_keep(frt_manifest *m); // one more frt_manifest_free is due
int32_t frt__manifest_columns(const frt_manifest *m);
bool frt__alloc_refused(void); // base: one of frt_alloc_fail's failures is due
