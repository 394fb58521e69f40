// pickle.c -- the input is the pickle of a .pth file in a zip container with two storages: names,
// calls, memos, shapes and strides, past the checksums.
#include "fuzz.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t n)
{
  static const unsigned char storage[64] = {1, 2, 3};
  const fuzz_entry entries[] = {
    {"archive/data.pkl", data,    n },
    {"archive/data/0",   storage, 64},
    {"archive/data/1",   storage, 24},
  };
  unsigned char *file;
  size_t size = fuzz_zip(entries, 3, &file);
  fuzz_file(file, size);
  free(file);
  return 0;
}
