// file.h -- whole files: reading at an offset, and replacing so that a crash or a full disk leaves
// the old file as it was.
#pragma once
#include "base/base.h"

// A file being written: a new one beside its target under a name of its own, or, where the target
// is no regular file (a pipe, a device) or its folder takes no new files, the target itself.
typedef struct frt_replace {
  int fd;
  char *temp;   // NULL: the target itself is written
  char *target; // behind all symbolic links
  char *path;   // as it was given, for messages
} frt_replace;

frt_status frt__replace_start(frt_replace *r, const char *path);
frt_status frt__replace_write(frt_replace *r, const void *data, size_t bytes);
// Syncs, renames over the target, syncs the folder. Frees r whatever happens.
frt_status frt__replace_finish(frt_replace *r);
void frt__replace_abandon(frt_replace *r);

// fsync, 0 or an errno: where a file system has no such thing, what is written is as safe as it
// gets.
int frt__sync(int fd);

// --- names of unfinished files (temp.c)
enum { FRT_TEMP_TAG = 40 };
// A word that no other process makes: machine, process and chance.
void frt__temp_tag(char out[FRT_TEMP_TAG]);
// Removes what dead processes left in a folder (".NAME.TAG.tmp").
void frt__temp_sweep(const char *folder);

// Opens a regular file for reading.
frt_status frt__file_open(const char *path, int *fd, uint64_t *size);
frt_status frt__file_pread(int fd, const char *path, void *dst, size_t bytes, uint64_t offset);
