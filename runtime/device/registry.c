// registry.c -- the devices of this process: backends that are built in, plug-ins that lie beside
// the library as libfoodrt_NAME.so, and which one carries the plans.
#define _GNU_SOURCE // dladdr
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "device/backend.h"

enum { MOST = 16, KERNELS = 512 };
static frt_device devices[MOST];
static int32_t n_devices;
static frt_device *current;

// Kernels of the current device by op, found by name once: a table with open addressing.
static struct {
  const frt_op *op;
  const frt_kernel *kernel;
} known[KERNELS];
static int32_t n_known;

// --- plug-ins -----------------------------------------------------------------------------------
static const frt_op *op_named(const char *name)
{
  for (int32_t i = 0; i < frt_op_table_len; i++) {
    if (strcmp(frt_op_table[i]->name, name) == 0) {
      return frt_op_table[i];
    }
  }
  return NULL;
}

static void *zeroed(size_t bytes)
{
  return frt__zalloc(bytes);
}

static const frt_services services = {
  .abi = FRT_BACKEND_ABI,
  .error_set = frt_error_set,
  .alloc = zeroed,
  .free = frt__free,
  .threads = frt_threads,
  .philox = frt__philox,
  .op = op_named,
  .reference = frt__reference_kernel,
  .run_in_order = frt__run_in_order,
};

// The folder this library lies in, with its last slash.
static void own_folder(char *out, size_t room)
{
  Dl_info info;
  out[0] = '\0';
  if (dladdr((const void *)own_folder, &info) && info.dli_fname) {
    const char *slash = strrchr(info.dli_fname, '/');
    const size_t n = slash ? (size_t)(slash - info.dli_fname) + 1 : 0;
    if (n < room) {
      memcpy(out, info.dli_fname, n);
      out[n] = '\0';
    }
  }
}

static frt_status load_plugin(const char *name, const frt_backend **out)
{
  char path[1024];
  own_folder(path, sizeof path);
  const size_t used = strlen(path);
  snprintf(path + used, sizeof path - used, "libfoodrt_%s.so", name);
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  FRT_CHECK(library, FRT_EDEVICE, "device '%s': there is no such backend here (%s)", name,
            dlerror());
  frt_plugin plugin;
  void *symbol = dlsym(library, FRT_PLUGIN_SYMBOL);
  memcpy(&plugin, &symbol, sizeof plugin);
  *out = plugin ? plugin(&services) : NULL;
  if (!*out || (*out)->abi != FRT_BACKEND_ABI) {
    dlclose(library);
    return frt_error_set(FRT_EDEVICE,
                         "device '%s': its library was built for another version of foodrt", name);
  }
  return FRT_OK;
}

// --- devices ------------------------------------------------------------------------------------
static frt_status open_device(const char *name, frt_device **out)
{
  static const frt_backend *const built_in[] = {&frt__backend_cpu, &frt__backend_reference};
  for (int32_t i = 0; i < n_devices; i++) {
    if (strcmp(devices[i].name, name) == 0) {
      *out = &devices[i];
      return FRT_OK;
    }
  }
  char backend_name[32];
  const size_t n = strcspn(name, ":");
  FRT_CHECK(n > 0 && strlen(name) < sizeof backend_name && n_devices < MOST &&
              strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == n,
            FRT_EARG, "device: must be 'cpu', 'reference' or a backend's name, got '%s'", name);
  memcpy(backend_name, name, n);
  backend_name[n] = '\0';
  const frt_backend *backend = NULL;
  for (int32_t i = 0; i < FRT_COUNT(built_in); i++) {
    backend = strcmp(built_in[i]->name, backend_name) == 0 ? built_in[i] : backend;
  }
  if (!backend) {
    FRT_TRY(load_plugin(backend_name, &backend));
  }
  frt_device *d = &devices[n_devices];
  *d = (frt_device){.backend = backend, .space = &frt__host_memory};
  snprintf(d->name, sizeof d->name, "%s", name);
  if (backend->open) {
    FRT_TRY(backend->open(d, name[n] ? name + n + 1 : ""));
  }
  n_devices++;
  *out = d;
  return FRT_OK;
}

frt_device *frt__device(void)
{
  if (!current) {
    open_device("cpu", &current); // built in: it can't fail
  }
  return current;
}

frt_status frt_device_use(const char *name)
{
  frt_device *d;
  FRT_CHECK(name, FRT_EARG, "device: a name must be given");
  FRT_TRY(open_device(name, &d));
  if (d != current) {
    current = d;
    memset(known, 0, sizeof known);
    n_known = 0;
  }
  return FRT_OK;
}

const char *frt_device_name(void)
{
  return frt__device()->name;
}

const char *frt_device_banner(void)
{
  static frt_device_info info;
  frt_device *d = frt__device();
  memset(&info, 0, sizeof info);
  if (d->backend->info) {
    d->backend->info(d, &info);
  }
  return info.banner;
}

frt_status frt_device_set(const char *key, const char *value)
{
  frt_device *d = frt__device();
  FRT_CHECK(key && value && d->backend->set, FRT_EARG, "device %s: has no settings", d->name);
  return d->backend->set(d, key, value);
}

const char *frt_device_get(const char *key)
{
  frt_device *d = frt__device();
  return key && d->backend->get ? d->backend->get(d, key) : NULL;
}

const frt_kernel *frt__kernel(const frt_op *op)
{
  frt_device *d = frt__device();
  uint32_t at = (uint32_t)((uintptr_t)op / 64) % KERNELS;
  while (known[at].op && known[at].op != op) {
    at = (at + 1) % KERNELS;
  }
  if (!known[at].op) {
    const frt_kernel *k = d->backend->kernel(d, op);
    if (n_known >= KERNELS / 2) { // more ops than anybody has
      return k;
    }
    n_known++;
    known[at].op = op;
    known[at].kernel = k;
  }
  return known[at].kernel;
}

bool frt__lowers(frt_lowering what)
{
  const frt_lowering *l = frt__device()->backend->lowerings;
  while (l && *l != FRT_LOWER_END && *l != what) {
    l++;
  }
  return l && *l == what;
}

// Whether one of the steps [from, to) writes to this address.
static bool written_by(const frt_job *job, const void *at, int32_t from, int32_t to)
{
  for (int32_t i = from; i < to; i++) {
    const frt_step *s = job->step[i];
    for (int32_t k = 0; k < s->n_out; k++) {
      if (s->args[s->n_in + k] == at) {
        return true;
      }
    }
  }
  return false;
}

// Whether an update may write, as far as its settings are in memory before step `now`.
static frt_status check_settings(const frt_job *job, int32_t now, int32_t update)
{
  const frt_step *s = job->step[update];
  double setting[FRT_MAX_SETTING] = {0};
  if (!(s->op->flags & FRT_UPDATE) || !s->op->update.check) {
    return FRT_OK;
  }
  for (int32_t k = 0; k < s->op->update.first; k++) {
    if (written_by(job, s->args[k], now, update)) {
      return FRT_OK;
    }
    setting[k] = s->in[k]->shape.dtype == FRT_F64 ? *(const double *)s->args[k]
                                                  : (double)*(const float *)s->args[k];
  }
  return s->op->update.check(s->op, setting);
}

// Before the first write all updates are asked, each again before it runs.
static frt_status before_write(frt_job *job, int32_t now, bool first)
{
  job->refused = true;
  for (int32_t i = now; i < (first ? job->n : now + 1); i++) {
    job->failed = i;
    FRT_TRY(check_settings(job, now, i));
  }
  job->failed = now;
  job->refused = false;
  return FRT_OK;
}

frt_status frt__run_in_order(frt_job *job)
{
  bool first = true;
  for (int32_t i = 0; i < job->n; i++) {
    const frt_step *s = job->step[i];
    job->failed = i;
    if (s->writes) {
      FRT_TRY(job->before_write ? job->before_write(job->arg, i) : before_write(job, i, first));
      first = false;
    }
    const double start = job->seconds ? frt__clock() : 0;
    FRT_TRY(s->kernel->run(s, s->args, s->args + s->n_in, s->room));
    if (job->seconds) {
      job->seconds[i] += frt__clock() - start;
    }
    job->done = i + 1;
    if (job->after) {
      FRT_TRY(job->after(job->arg, i));
    }
  }
  return FRT_OK;
}
