// library.c -- shared libraries that are opened on first use, so that starting costs nothing and
// what is not used need not be there.
#include "base/base.h"

#include <dlfcn.h>

void *frt__library(const char *name, int32_t n, const frt__symbol *symbols, const char **missing)
{
  *missing = NULL;
  void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
  for (int32_t i = 0; library && i < n; i++) {
    void *found = dlsym(library, symbols[i].name);
    if (!found) {
      *missing = symbols[i].name;
      return NULL;
    }
    memcpy(symbols[i].to, &found, sizeof found);
  }
  return library;
}
