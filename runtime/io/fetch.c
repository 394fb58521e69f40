// fetch.c -- files from the network by libcurl, which is opened on first use. What arrives is added
// to the end of a file, so a broken transfer goes on where it stopped.
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/file.h"

// The few numbers of libcurl's stable interface that are used (curl/curl.h). Protocols are given as
// bits, not by name: that is what every libcurl since 7.19.4 understands.
enum {
  OPT_TIMEOUT_QUIET = 20, // LOW_SPEED_TIME
  OPT_SLOW = 19,          // LOW_SPEED_LIMIT
  OPT_NOBODY = 44,
  OPT_FAILONERROR = 45,
  OPT_FOLLOW = 52,
  OPT_MAX_REDIRECTS = 68,
  OPT_CONNECT_TIMEOUT = 78,
  OPT_NO_SIGNAL = 99,
  OPT_PROTOCOLS = 181,
  OPT_REDIRECT_PROTOCOLS = 182,
  OPT_WRITE_DATA = 10001,
  OPT_URL = 10002,
  OPT_RANGE = 10007,
  OPT_ERROR_BUFFER = 10010,
  OPT_USER_AGENT = 10018,
  OPT_HEADER_DATA = 10029,
  OPT_CA_FILE = 10065,
  OPT_WRITE = 20011,
  OPT_HEADER = 20079,
  INFO_STATUS = 0x200002,
  HTTP = 1,
  HTTPS = 2,
  CONNECT_S = 10,
  MAX_HEADERS = 1 << 16,
  ERROR_SIZE = 256, // CURL_ERROR_SIZE
};

typedef struct message { // CURLMsg
  int what;
  void *easy;
  union {
    void *any;
    int result;
  } data;
} message;

static struct {
  void *library;
  int (*global_init)(long);
  void *(*easy_init)(void);
  int (*easy_setopt)(void *, int, ...);
  int (*easy_getinfo)(void *, int, ...);
  void (*easy_cleanup)(void *);
  const char *(*easy_strerror)(int);
  void *(*multi_init)(void);
  int (*multi_add_handle)(void *, void *);
  int (*multi_remove_handle)(void *, void *);
  int (*multi_perform)(void *, int *);
  int (*multi_wait)(void *, void *, unsigned, int, int *);
  message *(*multi_info_read)(void *, int *);
  int (*multi_cleanup)(void *);
} curl;

struct frt_fetch {
  void *easy, *multi;
  char *path;
  int fd; // < 0: only the headers are asked for
  uint64_t from, got, limit;
  bool too_long, io_failed;
  int io_code;
  char *headers;
  size_t n_headers;
  char why[ERROR_SIZE];
};

static const frt__symbol symbols[] = {
  {"curl_global_init",         &curl.global_init        },
  {"curl_easy_init",           &curl.easy_init          },
  {"curl_easy_setopt",         &curl.easy_setopt        },
  {"curl_easy_getinfo",        &curl.easy_getinfo       },
  {"curl_easy_cleanup",        &curl.easy_cleanup       },
  {"curl_easy_strerror",       &curl.easy_strerror      },
  {"curl_multi_init",          &curl.multi_init         },
  {"curl_multi_add_handle",    &curl.multi_add_handle   },
  {"curl_multi_remove_handle", &curl.multi_remove_handle},
  {"curl_multi_perform",       &curl.multi_perform      },
  {"curl_multi_wait",          &curl.multi_wait         },
  {"curl_multi_info_read",     &curl.multi_info_read    },
  {"curl_multi_cleanup",       &curl.multi_cleanup      },
};

static frt_status open_library(void)
{
  static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  static const char *const names[] = {"libcurl.so.4", "libcurl-gnutls.so.4"};
  pthread_mutex_lock(&lock);
  bool ok = curl.library != NULL;
  for (int n = 0; n < FRT_COUNT(names) && !ok; n++) {
    const char *missing;
    void *library = frt__library(names[n], FRT_COUNT(symbols), symbols, &missing);
    ok = library != NULL;
    ok = ok && curl.global_init(3) == 0; // CURL_GLOBAL_ALL
    curl.library = ok ? library : NULL;
  }
  pthread_mutex_unlock(&lock);
  FRT_CHECK(ok, FRT_EDEVICE, "libcurl is missing: apt install libcurl4");
  return FRT_OK;
}

static size_t take_body(char *data, size_t size, size_t n, void *user)
{
  frt_fetch *f = user;
  size_t left = size * n;
  if (f->fd < 0) {
    return left;
  }
  if (f->from > 0 && f->got == 0) {
    long status = 0;
    curl.easy_getinfo(f->easy, INFO_STATUS, &status);
    if (status != 206) { // the server sends the whole file again
      f->from = 0;
      if (ftruncate(f->fd, 0) != 0 || lseek(f->fd, 0, SEEK_SET) != 0) {
        f->io_failed = true;
        f->io_code = errno;
        return 0;
      }
    }
  }
  f->too_long = f->limit > 0 && f->from + f->got + left > f->limit;
  while (left > 0 && !f->too_long) {
    ssize_t k = write(f->fd, data, left);
    if (k < 0 && errno == EINTR) {
      continue;
    }
    if (k <= 0) {
      f->io_failed = true;
      f->io_code = errno;
      return 0;
    }
    data += k;
    left -= (size_t)k;
    f->got += (uint64_t)k;
  }
  return f->too_long ? 0 : size * n;
}

static size_t take_header(char *data, size_t size, size_t n, void *user)
{
  frt_fetch *f = user;
  size_t left = size * n;
  if (f->n_headers + left < MAX_HEADERS) {
    memcpy(f->headers + f->n_headers, data, left);
    f->n_headers += left;
    f->headers[f->n_headers] = 0;
  }
  return left;
}

void frt_fetch_free(frt_fetch *f)
{
  if (!f) {
    return;
  }
  if (f->multi && f->easy) {
    curl.multi_remove_handle(f->multi, f->easy);
  }
  if (f->easy) {
    curl.easy_cleanup(f->easy);
  }
  if (f->multi) {
    curl.multi_cleanup(f->multi);
  }
  if (f->fd >= 0) {
    close(f->fd);
  }
  frt__free(f->headers);
  frt__free(f->path);
  frt__free(f);
}

static frt_status open_file(frt_fetch *f, const char *path)
{
  struct stat st;
  f->path = frt__strdup(path);
  f->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  FRT_CHECK(f->path && f->fd >= 0, FRT_EIO, "'%s': can't be written: %s", path, strerror(errno));
  FRT_CHECK(fstat(f->fd, &st) == 0, FRT_EIO, "'%s': %s", path, strerror(errno));
  f->from = (uint64_t)st.st_size;
  return FRT_OK;
}

// Where the certificates of a mirror's own authority lie, as the curl command has it.
static const char *authorities(void)
{
  const char *file = getenv("CURL_CA_BUNDLE");
  file = file && file[0] ? file : getenv("SSL_CERT_FILE");
  return file && file[0] ? file : NULL;
}

static frt_status prepare(frt_fetch *f, const char *url, const char *path, int32_t silent_s)
{
  f->headers = frt__zalloc(MAX_HEADERS);
  FRT_CHECK(f->headers, FRT_ENOMEM, "'%s': out of memory", url);
  if (path) {
    FRT_TRY(open_file(f, path));
  }
  f->easy = curl.easy_init();
  f->multi = curl.multi_init();
  FRT_CHECK(f->easy && f->multi, FRT_ENOMEM, "'%s': out of memory", url);
  // Only https, unless the address itself (of a mirror) is http.
  long protocols = strncmp(url, "http://", 7) == 0 ? HTTP | HTTPS : HTTPS;
  int bad = curl.easy_setopt(f->easy, OPT_URL, url);
  bad |= curl.easy_setopt(f->easy, OPT_PROTOCOLS, protocols);
  bad |= curl.easy_setopt(f->easy, OPT_REDIRECT_PROTOCOLS, protocols);
  bad |= curl.easy_setopt(f->easy, OPT_FOLLOW, path ? 1L : 0L);
  bad |= curl.easy_setopt(f->easy, OPT_MAX_REDIRECTS, 8L);
  bad |= curl.easy_setopt(f->easy, OPT_NOBODY, path ? 0L : 1L);
  bad |= curl.easy_setopt(f->easy, OPT_FAILONERROR, 1L);
  bad |= curl.easy_setopt(f->easy, OPT_NO_SIGNAL, 1L);
  bad |=
    curl.easy_setopt(f->easy, OPT_CONNECT_TIMEOUT, (long)FRT_MIN(silent_s, (int32_t)CONNECT_S));
  bad |= curl.easy_setopt(f->easy, OPT_SLOW, 1L);
  bad |= curl.easy_setopt(f->easy, OPT_TIMEOUT_QUIET, (long)silent_s);
  bad |= curl.easy_setopt(f->easy, OPT_USER_AGENT, "foodrt");
  bad |= curl.easy_setopt(f->easy, OPT_ERROR_BUFFER, f->why);
  bad |= curl.easy_setopt(f->easy, OPT_WRITE, take_body);
  bad |= curl.easy_setopt(f->easy, OPT_WRITE_DATA, f);
  bad |= curl.easy_setopt(f->easy, OPT_HEADER, take_header);
  bad |= curl.easy_setopt(f->easy, OPT_HEADER_DATA, f);
  if (authorities()) {
    bad |= curl.easy_setopt(f->easy, OPT_CA_FILE, authorities());
  }
  if (f->from > 0) { // not RESUME_FROM, which makes an error of a server that knows no ranges
    char range[32];
    snprintf(range, sizeof range, "%llu-", (unsigned long long)f->from);
    bad |= curl.easy_setopt(f->easy, OPT_RANGE, range);
  }
  FRT_CHECK(!bad, FRT_EDEVICE, "'%s': this libcurl is too old", url);
  FRT_CHECK(curl.multi_add_handle(f->multi, f->easy) == 0, FRT_EDEVICE, "'%s': libcurl failed",
            url);
  return FRT_OK;
}

frt_status frt_fetch_start(const char *url, const char *path, uint64_t limit, int32_t silent_s,
                           frt_fetch **out)
{
  FRT_CHECK(silent_s >= 1, FRT_EARG, "'%s': a timeout of less than a second", url);
  FRT_TRY(open_library());
  frt_fetch *f = frt__zalloc(sizeof *f);
  FRT_CHECK(f, FRT_ENOMEM, "'%s': out of memory", url);
  f->fd = -1;
  f->limit = limit;
  frt_status status = prepare(f, url, path, silent_s);
  if (status != FRT_OK) {
    frt_fetch_free(f);
    return status;
  }
  *out = f;
  return FRT_OK;
}

static frt_status finish(frt_fetch *f, int result)
{
  FRT_CHECK(!f->io_failed, FRT_EIO, "'%s': can't be written: %s", f->path, strerror(f->io_code));
  FRT_CHECK(!f->too_long, FRT_EDATA, "the server sends more than the %llu bytes it announced",
            (unsigned long long)f->limit);
  FRT_CHECK(result == 0, FRT_EIO, "%s", f->why[0] ? f->why : curl.easy_strerror(result));
  int code = f->fd >= 0 ? frt__sync(f->fd) : 0;
  FRT_CHECK(code == 0, FRT_EIO, "'%s': can't be written: %s", f->path, strerror(code));
  return FRT_OK;
}

// A server that hangs up must not end the process: SIGPIPE waits, and is dropped.
static int perform(frt_fetch *f, int *still)
{
  sigset_t pipe, before, pending;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &pipe, &before);
  int result = curl.multi_perform(f->multi, still);
  sigpending(&pending);
  if (sigismember(&pending, SIGPIPE) && !sigismember(&before, SIGPIPE)) {
    int taken;
    sigwait(&pipe, &taken);
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return result;
}

frt_status frt_fetch_step(frt_fetch *f, int32_t wait_ms, int32_t *running, uint64_t *bytes)
{
  int still = 0, left, ready;
  FRT_CHECK(perform(f, &still) == 0, FRT_EDEVICE, "libcurl failed");
  *bytes = f->from + f->got;
  *running = still;
  if (still) {
    curl.multi_wait(f->multi, NULL, 0, wait_ms, &ready);
    return FRT_OK;
  }
  message *m = curl.multi_info_read(f->multi, &left);
  FRT_CHECK(m, FRT_EDEVICE, "libcurl failed");
  return finish(f, m->data.result);
}

const char *frt_fetch_headers(const frt_fetch *f)
{
  return f->headers;
}

int32_t frt_fetch_status(const frt_fetch *f)
{
  long status = 0;
  curl.easy_getinfo(f->easy, INFO_STATUS, &status);
  return (int32_t)status;
}
