// file.h -- whole files: reading at an offset, and replacing so that a crash or a full disk leaves
// the old file as it was.
#pragma once
#include "base/base.h"

// A file being replaced: written beside its target under a temporary name.
typedef struct frt_replace {
  int fd;
  char *temp;       // "<path>.tmp"
  const char *path; // borrowed
} frt_replace;

frt_status frt__replace_start(frt_replace *r, const char *path);
frt_status frt__replace_write(frt_replace *r, const void *data, size_t bytes);
// Syncs, renames over the target, syncs the folder. Frees r whatever happens.
frt_status frt__replace_finish(frt_replace *r);
void frt__replace_abandon(frt_replace *r);

// Opens a regular file for reading.
frt_status frt__file_open(const char *path, int *fd, uint64_t *size);
frt_status frt__file_pread(int fd, const char *path, void *dst, size_t bytes, uint64_t offset);
