// safetensors.c -- the input is the whole file; zip files and pickles have targets of their own.
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t n)
{
  unsigned char head[16] = {0};
  memcpy(head, data, n < 16 ? n : 16);
  if (frt__pth_is(head)) {
    return -1;
  }
  fuzz_file(data, n);
  return 0;
}
