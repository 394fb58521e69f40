// zip.c -- the input is a zip file, be it PyTorch's or numpy's, whose first four bytes are given.
#include "fuzz.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t n)
{
  unsigned char *file = malloc(n + 4);
  memcpy(file, "PK\3\4", 4);
  memcpy(file + 4, data, n);
  fuzz_file(file, n + 4);
  free(file);
  return 0;
}
