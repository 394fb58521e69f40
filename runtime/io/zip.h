// zip.h -- the directory of a zip file. PyTorch stores entries as they are; numpy may compress
// them.
#pragma once
#include "io/file.h"

typedef struct frt_zip_entry {
  char *name;
  uint64_t begin, size; // of its bytes in the file
  uint64_t packed;      // bytes in the file where it is compressed, else 0
  uint32_t crc;
} frt_zip_entry;

typedef struct frt_zip {
  char *directory;      // names lie here
  frt_zip_entry *entry; // by name
  int32_t n, cap;
} frt_zip;

frt_status frt__zip_open(frt_zip *z, int fd, const char *path, uint64_t size);
void frt__zip_free(frt_zip *z);
const frt_zip_entry *frt__zip_find(const frt_zip *z, const char *name);
// Unpacks all entries: *fd is closed and another, *size is how long that one is.
frt_status frt__zip_inflate(frt_zip *z, int *fd, const char *path, uint64_t *size);
// Compares the bytes of an entry with its checksum.
frt_status frt__zip_check(const frt_zip_entry *e, int fd, const char *path);
