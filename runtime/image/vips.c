// vips.c -- opens libvips on first use: one thread per image (the workers are the parallelism), no
// operation cache (memory stays flat), no loaders that parse untrusted formats, nothing on stderr.
#include "vips.h"

#include <dlfcn.h>
#include <pthread.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static frt__vips_api api;
static char why[400]; // empty: it is open
static bool is_open;

static const struct {
  const char *name;
  size_t at;
} functions[] = {
#define F(member, symbol)                                                                          \
  {                                                                                                \
    symbol, offsetof(frt__vips_api, member)                                                        \
  }
  F(init, "vips_init"),
  F(concurrency_set, "vips_concurrency_set"),
  F(cache_set_max, "vips_cache_set_max"),
  F(block_untrusted_set, "vips_block_untrusted_set"),
  F(thread_shutdown, "vips_thread_shutdown"),
  F(error_buffer, "vips_error_buffer"),
  F(error_clear, "vips_error_clear"),
  F(image_new_from_buffer, "vips_image_new_from_buffer"),
  F(image_get_orientation, "vips_image_get_orientation"),
  F(image_hasalpha, "vips_image_hasalpha"),
  F(image_get_typeof, "vips_image_get_typeof"),
  F(colourspace, "vips_colourspace"),
  F(icc_transform, "vips_icc_transform"),
  F(flatten, "vips_flatten"),
  F(cast, "vips_cast"),
  F(array_double_newv, "vips_array_double_newv"),
  F(area_unref, "vips_area_unref"),
  F(region_new, "vips_region_new"),
  F(region_prepare, "vips_region_prepare"),
  F(object_unref, "g_object_unref"), // found through libvips's own dependencies
  F(log_set_handler, "g_log_set_handler"),
#undef F
};

static void ignore(const char *domain, GLogLevelFlags level, const char *text, gpointer data)
{
  (void)domain, (void)level, (void)text, (void)data;
}

static void open_library(void)
{
  void *lib = dlopen("libvips.so.42", RTLD_NOW | RTLD_LOCAL);
  if (!lib) {
    snprintf(why, sizeof why, "photos need libvips (apt install libvips42): %s", dlerror());
    return;
  }
  for (int32_t i = 0; i < FRT_COUNT(functions); i++) {
    void *f = dlsym(lib, functions[i].name);
    if (!f) {
      snprintf(why, sizeof why, "photos need libvips 8.13 or later: this one has no %s",
               functions[i].name);
      return;
    }
    memcpy((char *)&api + functions[i].at, &f, sizeof f);
  }
  if (api.init("foodrt")) {
    snprintf(why, sizeof why, "libvips does not start: %s", api.error_buffer());
    return;
  }
  api.concurrency_set(1);
  api.cache_set_max(0);
  api.block_untrusted_set(1);
  api.log_set_handler("VIPS", G_LOG_LEVEL_MASK | G_LOG_FLAG_FATAL | G_LOG_FLAG_RECURSION, ignore,
                      NULL);
  is_open = true;
}

frt_status frt__vips(const frt__vips_api **out)
{
  pthread_once(&once, open_library);
  FRT_CHECK(is_open, FRT_EDEVICE, "%s", why);
  *out = &api;
  return FRT_OK;
}

const frt__vips_api *frt__vips_if_open(void)
{
  return is_open ? &api : NULL;
}
