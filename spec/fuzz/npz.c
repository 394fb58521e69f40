// npz.c -- the input is one array in a .npz file, past the checksum.
#include "fuzz.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t n)
{
  const fuzz_entry entries[] = {
    {"w.npy", data, n}
  };
  unsigned char *file;
  size_t size = fuzz_zip(entries, 1, &file);
  fuzz_file(file, size);
  free(file);
  return 0;
}
