// vips.c -- opens libvips on first use: one thread per image (the workers are the parallelism), no
// operation cache (memory stays flat), no loaders that parse untrusted formats, nothing on stderr.
#include "vips.h"

#include <dlfcn.h>
#include <pthread.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static frt__vips_api api;
static char why[400]; // empty: it is open
static bool is_open;

static const frt__symbol functions[] = {
  {"vips_init",                  &api.init                 },
  {"vips_concurrency_set",       &api.concurrency_set      },
  {"vips_cache_set_max",         &api.cache_set_max        },
  {"vips_block_untrusted_set",   &api.block_untrusted_set  },
  {"vips_thread_shutdown",       &api.thread_shutdown      },
  {"vips_error_buffer",          &api.error_buffer         },
  {"vips_error_clear",           &api.error_clear          },
  {"vips_image_new_from_buffer", &api.image_new_from_buffer},
  {"vips_image_get_orientation", &api.image_get_orientation},
  {"vips_image_hasalpha",        &api.image_hasalpha       },
  {"vips_image_get_typeof",      &api.image_get_typeof     },
  {"vips_colourspace",           &api.colourspace          },
  {"vips_icc_transform",         &api.icc_transform        },
  {"vips_flatten",               &api.flatten              },
  {"vips_cast",                  &api.cast                 },
  {"vips_array_double_newv",     &api.array_double_newv    },
  {"vips_area_unref",            &api.area_unref           },
  {"vips_region_new",            &api.region_new           },
  {"vips_region_prepare",        &api.region_prepare       },
  {"g_object_unref",             &api.object_unref         }, // found through libvips's own dependencies
  {"g_log_set_handler",          &api.log_set_handler      },
};

static void ignore(const char *domain, GLogLevelFlags level, const char *text, gpointer data)
{
  (void)domain, (void)level, (void)text, (void)data;
}

static void open_library(void)
{
  const char *missing;
  if (!frt__library("libvips.so.42", FRT_COUNT(functions), functions, &missing)) {
    if (missing) {
      snprintf(why, sizeof why, "photos need libvips 8.13 or later: this one has no %s", missing);
    } else {
      snprintf(why, sizeof why, "photos need libvips (apt install libvips42): %s", dlerror());
    }
    return;
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
