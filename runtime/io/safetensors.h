// safetensors.h -- an open safetensors file, as the files of this room see it. The format: 8 bytes
// of header length (little endian), a JSON header, then the bytes of all tensors one after the
// other.
#pragma once
#include "io/file.h"

typedef struct frt_st_type {
  const char *name;
  int32_t size;  // bytes of an element, rounded up
  int32_t dtype; // what it is read as, -1: not readable
  int32_t bits;  // of an element
} frt_st_type;
extern const frt_st_type frt__st_types[];
extern const int32_t frt__st_type_count;

typedef struct frt_st_tensor {
  char *name;
  int32_t type, ndim; // type: index into frt__st_types; ndim may be more than dim holds
  uint64_t dim[8];
  uint64_t rest;       // product of the sizes that dim does not hold
  uint64_t begin, end; // in the data section
  // Tensors of .pth files may lie otherwise than row after row: strides in elements, bytes from the
  // first to the last value.
  uint64_t stride[8], span;
  bool strided;
} frt_st_tensor;

typedef struct frt_st_pair {
  char *key, *value;
} frt_st_pair;

struct frt_file {
  char *path;
  int fd;
  char *header;          // names and texts point into it
  uint64_t data, bytes;  // where the data section begins, and how long it is
  frt_st_tensor *tensor; // by name
  frt_st_pair *meta;     // by key
  int32_t n_tensor, cap_tensor, n_meta, cap_meta;
  char *notes; // lines on what the file holds besides and was passed over, or NULL
  int32_t n_notes, cap_notes;
  struct frt_zip *zip; // NULL unless the file is one
};

// Reads the header (frt_file.header, .data, .bytes are set) into tensors and metadata, and checks
// it.
frt_status frt__st_parse(frt_file *f, char *text, size_t length);
// Adds a line to what is to be said of the file.
__attribute__((format(printf, 2, 3))) frt_status frt__file_note(frt_file *f, const char *fmt, ...);
// Sorts tensors and metadata by name; no name twice.
frt_status frt__st_check_names(frt_file *f);

// --- floats in other widths
// -----------------------------------------------------------------------------------------------
int32_t frt__st_type_of(int32_t dtype); // index into frt__st_types, -1: none
// `n` elements of a type that is read as a wider one (frt_st_type.dtype), widened.
void frt__st_widen(int32_t type, const void *from, void *to, size_t n);
bool frt__st_is_float(int32_t type); // F32, F64, F16, BF16
// Floats of one type as F32, F16 or BF16, rounded to nearest even. False: *bad is a finite value
// that the narrow type can't hold.
bool frt__st_recast(int32_t from_type, const void *from, int32_t to_type, void *to, size_t n,
                    double *bad);

// --- writing
// -----------------------------------------------------------------------------------------------
typedef struct frt_st_item {
  const char *name;
  const void *data;
  void *own; // data that goes with the item, else NULL
  int32_t type, ndim;
  uint64_t dim[8], bytes, begin;
} frt_st_item;

// --- the two halves of "foodrt.hash": tensors (name, dtype, shape, bytes), and metadata
// -------------------
enum { FRT_ST_CHUNK = 1 << 20 }; // bytes are hashed in chunks of this size
#define FRT_ST_HASH_KEY "foodrt.hash"
#define FRT_ST_FORMAT_KEY                                                                          \
  "foodrt.format" // says that there is a hash, should its own key be damaged
uint64_t frt__st_hash_name(uint64_t h, const char *name, int32_t type, int32_t ndim,
                           const uint64_t *dim);
uint64_t frt__st_hash_pair(uint64_t h, const char *key, const char *value);
