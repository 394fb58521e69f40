// stream.c -- the input is what follows the magic number in a .pth file of the older container.
#include "fuzz.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t n)
{
  static const unsigned char magic[] = {0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46,
                                        0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, '.'};
  unsigned char *file = malloc(n + sizeof magic);
  memcpy(file, magic, sizeof magic);
  memcpy(file + sizeof magic, data, n);
  fuzz_file(file, n + sizeof magic);
  free(file);
  return 0;
}
