// manifest.c -- the photos of one split: paths in one pool of text and their label columns. Lists
// of a hundred thousand files live here, not in the Lua heap.
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>

#include "image.h"

struct frt_manifest {
  char *pool;
  size_t used, cap;
  int64_t *path;  // where it starts in the pool
  int32_t *label; // [n, n_columns]
  int32_t n, n_columns, cap_path, cap_label;
  int32_t refs; // the owner and every loader that reads it
};

frt_status frt_manifest_new(frt_manifest **out, int32_t n_columns)
{
  *out = NULL;
  FRT_CHECK(n_columns >= 0 && n_columns <= 1024, FRT_EARG, "data: 0 to 1024 label columns, got %d",
            n_columns);
  frt_manifest *m = frt__zalloc(sizeof *m);
  FRT_CHECK(m, FRT_ENOMEM, "out of memory: a list of photos");
  m->n_columns = n_columns;
  m->refs = 1;
  *out = m;
  return FRT_OK;
}

void frt_manifest_free(frt_manifest *m)
{
  if (m && --m->refs == 0) {
    frt__free(m->pool);
    frt__free(m->path);
    frt__free(m->label);
    frt__free(m);
  }
}

frt_status frt_manifest_add(frt_manifest *m, const char *path, const int32_t *labels)
{
  size_t bytes = strlen(path) + 1;
  FRT_CHECK(m->n < INT32_MAX / (m->n_columns + 1), FRT_EARG, "data: too many photos");
  if (m->used + bytes > m->cap) {
    size_t cap = FRT_MAX(2 * m->cap, m->used + bytes + 4096);
    char *pool = frt__realloc(m->pool, cap);
    FRT_CHECK(pool, FRT_ENOMEM, "out of memory: %zu bytes for a list of photos", cap);
    m->pool = pool;
    m->cap = cap;
  }
  FRT_TRY(frt__grow(&m->path, &m->cap_path, m->n + 1, sizeof *m->path));
  FRT_TRY(frt__grow(&m->label, &m->cap_label, (m->n + 1) * m->n_columns, sizeof *m->label));
  memcpy(m->pool + m->used, path, bytes);
  m->path[m->n] = (int64_t)m->used;
  m->used += bytes;
  for (int32_t c = 0; c < m->n_columns; c++) {
    m->label[(size_t)m->n * (size_t)m->n_columns + (size_t)c] = labels[c];
  }
  m->n++;
  return FRT_OK;
}

int32_t frt_manifest_count(const frt_manifest *m)
{
  return m->n;
}

frt_manifest *frt__manifest_keep(frt_manifest *m)
{
  m->refs++;
  return m;
}

int32_t frt__manifest_columns(const frt_manifest *m)
{
  return m->n_columns;
}

const char *frt_manifest_path(const frt_manifest *m, int32_t i)
{
  return i >= 0 && i < m->n ? m->pool + m->path[i] : NULL;
}

int32_t frt_manifest_label(const frt_manifest *m, int32_t i, int32_t column)
{
  bool there = i >= 0 && i < m->n && column >= 0 && column < m->n_columns;
  return there ? m->label[(size_t)i * (size_t)m->n_columns + (size_t)column] : -1;
}

// --- folders ----------------------------------------------------------------------------------
// Whether it is a folder. What the machine refuses to look at is no answer; what isn't there, as a
// link that leads nowhere, is none.
static frt_status look_at(const char *path, bool *folder)
{
  struct stat st;
  *folder = false;
  if (stat(path, &st)) {
    FRT_CHECK(errno == ENOENT || errno == ENOTDIR || errno == ELOOP, FRT_EIO,
              "cannot look at '%s': %s", path, strerror(errno));
    return FRT_OK;
  }
  *folder = S_ISDIR(st.st_mode);
  return FRT_OK;
}

frt_status frt_folder_there(const char *path, int32_t *there)
{
  bool folder;
  *there = 0;
  FRT_TRY(look_at(path, &folder));
  *there = folder;
  return FRT_OK;
}

static int by_bytes(const void *a, const void *b)
{
  return strcmp(*(char *const *)a, *(char *const *)b);
}

typedef struct names {
  char **p;
  int32_t n, cap;
} names;

static void names_free(names *l)
{
  for (int32_t i = 0; i < l->n; i++) {
    frt__free(l->p[i]);
  }
  frt__free(l->p);
}

static frt_status names_add(names *l, const char *name)
{
  FRT_TRY(frt__grow(&l->p, &l->cap, l->n + 1, sizeof *l->p));
  l->p[l->n] = frt__strdup(name);
  FRT_CHECK(l->p[l->n], FRT_ENOMEM, "out of memory: the names in a folder");
  l->n++;
  return FRT_OK;
}

// Names that don't start with a dot, sorted by bytes. `l` is to be freed in any case.
static frt_status names_of(const char *dir, names *l)
{
  DIR *d = opendir(dir);
  FRT_CHECK(d, FRT_EIO, "cannot read folder '%s': %s", dir, strerror(errno));
  frt_status status = FRT_OK;
  for (;;) {
    errno = 0;
    struct dirent *e = readdir(d);
    if (!e) { // the end, or a disk or network that gave up half-way
      if (errno != 0) {
        status =
          frt_error_set(FRT_EIO, "cannot read folder '%s' to its end: %s", dir, strerror(errno));
      }
      break;
    }
    if (e->d_name[0] != '.') {
      status = names_add(l, e->d_name);
      if (status != FRT_OK) {
        break;
      }
    }
  }
  closedir(d);
  if (l->n > 1) {
    qsort(l->p, (size_t)l->n, sizeof *l->p, by_bytes);
  }
  return status;
}

// dir/name in *path, which grows.
static frt_status join(frt__buffer *path, const char *dir, const char *name)
{
  size_t n = strlen(dir);
  FRT_TRY(frt__buffer_need(path, n + strlen(name) + 2));
  const char *slash = n > 0 && dir[n - 1] == '/' ? "" : "/";
  snprintf((char *)path->p, path->cap, "%s%s%s", dir, slash, name);
  return FRT_OK;
}

static frt_status list(const char *dir, names *l, frt__buffer *path, frt__buffer *text)
{
  FRT_TRY(names_of(dir, l));
  size_t bytes = 1, used = 0;
  for (int32_t i = 0; i < l->n; i++) {
    bytes += strlen(l->p[i]) + 2;
  }
  FRT_TRY(frt__buffer_need(text, bytes));
  for (int32_t i = 0; i < l->n; i++) {
    FRT_TRY(join(path, dir, l->p[i]));
    bool folder;
    FRT_TRY(look_at((const char *)path->p, &folder));
    used += (size_t)snprintf((char *)text->p + used, text->cap - used, folder ? "%s/\n" : "%s\n",
                             l->p[i]);
  }
  text->p[used] = 0;
  return FRT_OK;
}

frt_status frt_folder_list(const char *dir, char **out)
{
  names l = {0};
  frt__buffer path = {0}, text = {0};
  frt_status status = list(dir, &l, &path, &text);
  names_free(&l);
  frt__free(path.p);
  if (status != FRT_OK) {
    frt__free(text.p);
    text.p = NULL;
  }
  *out = (char *)text.p;
  return status;
}

void frt_folder_free(char *names)
{
  frt__free(names);
}

static bool photo_name(const char *name)
{
  static const char *const extensions[] = {"jpg",  "jpeg", "png",  "webp", "gif", "tif",
                                           "tiff", "bmp",  "heic", "heif", "avif"};
  const char *dot = strrchr(name, '.');
  for (int32_t i = 0; dot && i < FRT_COUNT(extensions); i++) {
    if (strcasecmp(dot + 1, extensions[i]) == 0) {
      return true;
    }
  }
  return false;
}

static frt_status scan(frt_manifest *m, const char *dir, const int32_t *labels, names *l,
                       frt__buffer *path)
{
  FRT_TRY(names_of(dir, l));
  for (int32_t i = 0; i < l->n; i++) {
    if (photo_name(l->p[i])) {
      FRT_TRY(join(path, dir, l->p[i]));
      bool folder;
      FRT_TRY(look_at((const char *)path->p, &folder));
      if (!folder) {
        FRT_TRY(frt_manifest_add(m, (const char *)path->p, labels));
      }
    }
  }
  return FRT_OK;
}

frt_status frt_manifest_scan(frt_manifest *m, const char *dir, const int32_t *labels,
                             int32_t *n_added)
{
  names l = {0};
  frt__buffer path = {0};
  int32_t before = m->n;
  frt_status status = scan(m, dir, labels, &l, &path);
  names_free(&l);
  frt__free(path.p);
  *n_added = m->n - before;
  return status;
}

int32_t frt_manifest_largest(const frt_manifest *m, int64_t *bytes)
{
  int32_t largest = -1, step = m->n / 4096 + 1;
  *bytes = 0;
  for (int32_t i = 0; i < m->n; i += step) {
    struct stat st;
    if (stat(m->pool + m->path[i], &st) == 0 && (int64_t)st.st_size > *bytes) {
      *bytes = (int64_t)st.st_size;
      largest = i;
    }
  }
  return largest;
}

uint64_t frt_manifest_hash(const frt_manifest *m)
{
  uint64_t h = 0;
  for (int32_t i = 0; i < m->n; i++) {
    const char *path = m->pool + m->path[i];
    struct stat st;
    int64_t is[3] = {-1, 0, 0};
    if (stat(path, &st) == 0) {
      is[0] = (int64_t)st.st_size;
      is[1] = (int64_t)st.st_mtim.tv_sec;
      is[2] = (int64_t)st.st_mtim.tv_nsec;
    }
    h = frt__hash(frt__hash(h, path, strlen(path)), is, sizeof is);
  }
  return h;
}
