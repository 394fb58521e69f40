// path.c -- names of files and folders as the system knows them.
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "io/file.h"

frt_status frt_path_real(const char *path, char *out, size_t room)
{
  char whole[PATH_MAX];
  FRT_CHECK(realpath(path, whole), FRT_EIO, "cannot find '%s': %s", path, strerror(errno));
  FRT_CHECK(strlen(whole) < room, FRT_EIO, "'%s' is too long a name", path);
  memcpy(out, whole, strlen(whole) + 1);
  return FRT_OK;
}
