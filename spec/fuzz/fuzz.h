// fuzz.h -- what the fuzz targets share: an input as a file that frt_file_open() reads, and
// everything that can be asked of a file once it is open.
#pragma once
#include "io/pth.h"

// Opens a file of these bytes and, if that works, lists, verifies, hashes, reads and converts it.
void fuzz_file(const void *data, size_t n);

// A zip file of stored entries with right checksums in *out (which is freed by the caller).
typedef struct fuzz_entry {
  const char *name;
  const void *data;
  size_t n;
} fuzz_entry;
size_t fuzz_zip(const fuzz_entry *entries, int n, unsigned char **out);
