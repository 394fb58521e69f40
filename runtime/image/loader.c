// loader.c -- worker threads fill a fixed ring of batch slots in the epoch's order. What is in a
// batch depends on seed, epoch and its number only: not on threads, timing or where the epoch was
// entered.
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

#include "image.h"

enum { MAX_TRIES = 64, MAX_THREADS = 256 };

// A photo that could not be read, in the row that wanted it.
typedef struct bad {
  struct bad *next;
  int32_t id;
  char why[];
} bad;

typedef struct row {
  frt_status status; // FRT_OK, FRT_EDATA (left out), anything else ends the run
  bad *bads;         // in the order of the tries
  char *error;       // the message of a status that ends the run
} row;

typedef struct slot {
  float *x;
  int32_t *labels, *ids;
  uint8_t *skipped;
  row *rows;
  int32_t n, n_done, n_kept, n_skipped;
  bool ready;
} slot;

struct frt_loader {
  frt_manifest *manifest;
  frt_view view;
  frt__normal normal;
  frt_augment *augment;
  frt_loader_options opt;
  int32_t n_photos, n_columns, n_batches, n_slots, n_threads;
  size_t slot_bytes;
  slot *slots;
  pthread_t *threads;

  pthread_mutex_t lock;
  pthread_cond_t work, done; // a slot is free; a batch is ready
  bool synced, stop;
  int32_t next_batch, next_row; // what is given to a worker next
  int32_t handed, released;     // batches before these were given out, given back
  bool any;                     // a photo was handed out
  double wait_s;
  bad **seen; // bad photos of the batches handed out
  int32_t *seen_batch;
  int32_t n_seen, cap_seen, cap_seen_batch;
};

// --- one row ----------------------------------------------------------------------------------
static frt_status note(row *r, int32_t id)
{
  size_t bytes = strlen(frt_error_last()) + 1;
  bad *b = frt__alloc(sizeof *b + bytes);
  FRT_CHECK(b, FRT_ENOMEM, "out of memory: the list of bad photos");
  b->next = NULL;
  b->id = id;
  memcpy(b->why, frt_error_last(), bytes);
  bad **end = &r->bads;
  while (*end) {
    end = &(*end)->next;
  }
  *end = b;
  return FRT_OK;
}

// A photo whose pixels nobody needs: written by the one who computes with it, read here.
static bool is_kept(const frt_loader *l, int32_t id)
{
  return l->opt.kept && __atomic_load_n(&l->opt.kept[id], __ATOMIC_ACQUIRE);
}

static frt_status fill_row(const frt_loader *l, frt__scratch *s, slot *slot, int32_t batch,
                           int32_t i)
{
  int32_t place = batch * l->opt.batch + i;
  int32_t first =
    l->opt.shuffle ? frt__order_at(l->opt.seed, l->opt.epoch, l->n_photos, place) : place;
  frt__key key = {l->opt.seed, l->opt.epoch, first};
  int32_t tries = l->opt.on_bad == FRT_BAD_SUBSTITUTE ? MAX_TRIES : 1;
  for (int32_t attempt = 0; attempt < tries; attempt++) {
    int32_t id = attempt ? frt__substitute(&key, l->n_photos, attempt) : first;
    frt__key own = {l->opt.seed, l->opt.epoch % FRT_MAX(l->opt.views, 1), id};
    bool kept = is_kept(l, id);
    frt_status status = FRT_OK;
    if (!kept) {
      size_t numel = (size_t)l->view.size * (size_t)l->view.size * 3;
      status = frt__view_decode(s, &l->view, &l->normal, frt_manifest_path(l->manifest, id),
                                l->opt.views ? &own : &key, slot->x + (size_t)i * numel);
    }
    if (status == FRT_OK) {
      slot->skipped[i] = kept;
      slot->ids[i] = id;
      for (int32_t c = 0; c < l->n_columns; c++) {
        slot->labels[c * l->opt.batch + i] =
          frt_manifest_label(l->manifest, id, c) + l->opt.label_base;
      }
      return FRT_OK;
    }
    if (status != FRT_EDATA) {
      return status;
    }
    FRT_TRY(note(&slot->rows[i], id));
    if (l->opt.on_bad == FRT_BAD_ERROR) {
      return frt_error_set(FRT_EIO, "%s", slot->rows[i].bads->why);
    }
  }
  FRT_CHECK(l->opt.on_bad == FRT_BAD_SKIP, FRT_EIO,
            "data: no photo can be read (%d tries, the first: %s)", tries, slot->rows[i].bads->why);
  return FRT_EDATA;
}

static void work_row(const frt_loader *l, frt__scratch *s, slot *slot, int32_t batch, int32_t i)
{
  row *r = &slot->rows[i];
  r->status = fill_row(l, s, slot, batch, i);
  if (r->status != FRT_OK && r->status != FRT_EDATA) {
    r->error = frt__strdup(frt_error_last());
  }
  frt__scratch_trim(s);
}

// Closes the gaps of rows that were left out.
static void compact(const frt_loader *l, slot *slot)
{
  size_t numel = (size_t)l->view.size * (size_t)l->view.size * 3;
  int32_t kept = 0;
  slot->n_skipped = 0;
  for (int32_t i = 0; i < slot->n; i++) {
    if (slot->rows[i].status != FRT_OK) {
      continue;
    }
    if (kept < i) {
      memcpy(slot->x + (size_t)kept * numel, slot->x + (size_t)i * numel, numel * sizeof(float));
      slot->ids[kept] = slot->ids[i];
      slot->skipped[kept] = slot->skipped[i];
      for (int32_t c = 0; c < l->n_columns; c++) {
        slot->labels[c * l->opt.batch + kept] = slot->labels[c * l->opt.batch + i];
      }
    }
    slot->n_skipped += slot->skipped[kept];
    kept++;
  }
  slot->n_kept = kept;
}

static int32_t batch_size(const frt_loader *l, int32_t batch)
{
  return FRT_MIN(l->opt.batch, l->n_photos - batch * l->opt.batch);
}

static void *worker(void *arg)
{
  frt_loader *l = arg;
  frt__scratch s = {0};
  pthread_mutex_lock(&l->lock);
  for (;;) {
    while (!l->stop && l->next_batch < l->n_batches && l->next_batch >= l->released + l->n_slots) {
      pthread_cond_wait(&l->work, &l->lock);
    }
    if (l->stop || l->next_batch >= l->n_batches) {
      break;
    }
    int32_t batch = l->next_batch, i = l->next_row++;
    slot *slot = &l->slots[batch % l->n_slots];
    if (i == 0) {
      slot->n = batch_size(l, batch);
      slot->n_done = 0;
    }
    if (l->next_row == slot->n) {
      l->next_batch++;
      l->next_row = 0;
    }
    pthread_mutex_unlock(&l->lock);
    work_row(l, &s, slot, batch, i);
    pthread_mutex_lock(&l->lock);
    if (++slot->n_done == slot->n) {
      pthread_mutex_unlock(&l->lock);
      compact(l, slot);
      pthread_mutex_lock(&l->lock);
      slot->ready = true;
      pthread_cond_signal(&l->done);
    }
  }
  pthread_mutex_unlock(&l->lock);
  frt__scratch_free(&s);
  frt__decode_thread_end();
  return NULL;
}

// --- opening and closing ------------------------------------------------------------------------
static frt_status check(const frt_manifest *m, const frt_view *view, const frt_loader_options *o)
{
  FRT_TRY(frt__view_check(view));
  FRT_CHECK(frt_manifest_count(m) > 0, FRT_EARG, "data: no photos to load");
  FRT_CHECK(o->batch >= 1 && o->batch <= 65536, FRT_EARG, "data: batch must be 1 to 65536, got %d",
            o->batch);
  FRT_CHECK(o->threads >= 0 && o->threads <= MAX_THREADS, FRT_EARG,
            "data: threads must be 0 to %d, got %d", MAX_THREADS, o->threads);
  FRT_CHECK(o->prefetch >= 0 && o->prefetch <= 64, FRT_EARG,
            "data: prefetch must be 0 to 64, got %d", o->prefetch);
  FRT_CHECK(o->views >= 0, FRT_EARG, "data: views must not be negative, got %d", o->views);
  FRT_CHECK(o->start >= 0, FRT_EARG, "data: start must not be negative, got %d", o->start);
  FRT_CHECK(o->on_bad >= 0 && o->on_bad <= FRT_BAD_ERROR, FRT_EARG, "data: unknown on_bad %d",
            o->on_bad);
  return FRT_OK;
}

static frt_status make_slots(frt_loader *l)
{
  size_t batch = (size_t)l->opt.batch, columns = (size_t)l->n_columns;
  l->slot_bytes = batch * (size_t)l->view.size * (size_t)l->view.size * 3 * sizeof(float);
  l->slots = frt__zalloc(sizeof *l->slots * (size_t)l->n_slots);
  FRT_CHECK(l->slots, FRT_ENOMEM, "out of memory: the loader");
  for (int32_t i = 0; i < l->n_slots; i++) {
    slot *s = &l->slots[i];
    void *x;
    FRT_TRY(frt__block_new(&x, l->slot_bytes, "a batch of photos"));
    s->x = x;
    s->ids = frt__zalloc(batch * (1 + columns) * sizeof(int32_t));
    s->skipped = frt__zalloc(batch);
    s->rows = frt__zalloc(batch * sizeof *s->rows);
    FRT_CHECK(s->ids && s->skipped && s->rows, FRT_ENOMEM, "out of memory: the loader");
    s->labels = s->ids + batch;
  }
  return FRT_OK;
}

static frt_status start_threads(frt_loader *l, int32_t n)
{
  l->threads = frt__zalloc(sizeof *l->threads * (size_t)n);
  FRT_CHECK(l->threads, FRT_ENOMEM, "out of memory: the loader");
  pthread_condattr_t a;
  pthread_condattr_init(&a);
  pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
  pthread_mutex_init(&l->lock, NULL);
  pthread_cond_init(&l->work, NULL);
  pthread_cond_init(&l->done, &a);
  pthread_condattr_destroy(&a);
  l->synced = true;
  // Signals are for the thread that waits for them.
  sigset_t all, was;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &was);
  int failed = 0;
  while (l->n_threads < n && !failed) {
    failed = frt__alloc_refused() ? 11 : pthread_create(&l->threads[l->n_threads], NULL, worker, l);
    l->n_threads += failed ? 0 : 1;
  }
  pthread_sigmask(SIG_SETMASK, &was, NULL);
  // Batches don't depend on the number of threads: one is enough.
  FRT_CHECK(l->n_threads > 0, FRT_ENOMEM,
            "data: cannot start a loader thread: %s; see ulimit -u, ulimit -v and the container's "
            "limit of processes",
            strerror(failed));
  return FRT_OK;
}

static frt_status fill_loader(frt_loader *l, const frt_view *view)
{
  size_t bytes = sizeof *l->augment * (size_t)view->n_augment;
  l->augment = frt__alloc(bytes);
  FRT_CHECK(l->augment, FRT_ENOMEM, "out of memory: the loader");
  if (bytes > 0) {
    memcpy(l->augment, view->augment, bytes);
  }
  l->view.augment = l->augment;
  l->n_photos = frt_manifest_count(l->manifest);
  l->n_columns = frt__manifest_columns(l->manifest);
  l->opt.batch = FRT_MIN(l->opt.batch, l->n_photos);
  l->n_batches =
    l->opt.drop_last ? l->n_photos / l->opt.batch : (l->n_photos + l->opt.batch - 1) / l->opt.batch;
  l->next_batch = l->handed = l->released = FRT_MIN(l->opt.start, l->n_batches);
  l->n_slots = (l->opt.prefetch ? l->opt.prefetch : 2) + 1;
  FRT_TRY(make_slots(l));
  return start_threads(l, l->opt.threads ? l->opt.threads
                                         : FRT_MIN(frt_cpus(""), (int32_t)MAX_THREADS));
}

frt_status frt_loader_new(frt_loader **out, frt_manifest *m, const frt_view *view,
                          const frt_loader_options *options)
{
  *out = NULL;
  FRT_TRY(check(m, view, options));
  frt_loader *l = frt__zalloc(sizeof *l);
  FRT_CHECK(l, FRT_ENOMEM, "out of memory: the loader");
  l->manifest = frt__manifest_keep(m);
  l->view = *view;
  frt__normal_make(&l->normal, view->mean, view->std);
  l->opt = *options;
  frt_status status = fill_loader(l, view);
  if (status != FRT_OK) {
    frt_loader_free(l);
    return status;
  }
  *out = l;
  return FRT_OK;
}

static void clear_rows(slot *s, int32_t n)
{
  for (int32_t i = 0; i < n && s->rows; i++) {
    for (bad *b = s->rows[i].bads, *next; b; b = next) {
      next = b->next;
      frt__free(b);
    }
    frt__free(s->rows[i].error);
    s->rows[i] = (row){0};
  }
}

void frt_loader_free(frt_loader *l)
{
  if (!l) {
    return;
  }
  if (l->synced) {
    pthread_mutex_lock(&l->lock);
    l->stop = true;
    pthread_cond_broadcast(&l->work);
    pthread_mutex_unlock(&l->lock);
    for (int32_t i = 0; i < l->n_threads; i++) {
      pthread_join(l->threads[i], NULL);
    }
    pthread_cond_destroy(&l->work);
    pthread_cond_destroy(&l->done);
    pthread_mutex_destroy(&l->lock);
  }
  for (int32_t i = 0; l->slots && i < l->n_slots; i++) {
    clear_rows(&l->slots[i], l->opt.batch);
    frt__block_free(l->slots[i].x, l->slot_bytes);
    frt__free(l->slots[i].ids);
    frt__free(l->slots[i].skipped);
    frt__free(l->slots[i].rows);
  }
  for (int32_t i = 0; i < l->n_seen; i++) {
    frt__free(l->seen[i]);
  }
  frt_manifest_free(l->manifest);
  frt__free(l->seen);
  frt__free(l->seen_batch);
  frt__free(l->slots);
  frt__free(l->threads);
  frt__free(l->augment);
  frt__free(l);
}

// --- the consumer's side ------------------------------------------------------------------------
int32_t frt_loader_batches(const frt_loader *l)
{
  return l->n_batches;
}

double frt_loader_wait_s(const frt_loader *l)
{
  return l->wait_s;
}

static void release(frt_loader *l)
{
  if (l->released < l->handed) {
    slot *s = &l->slots[l->released % l->n_slots];
    clear_rows(s, s->n);
    s->ready = false;
    l->released++;
    pthread_cond_broadcast(&l->work);
  }
}

// Moves the batch's bad photos to the list that the caller can read, in row order.
static frt_status take_bads(frt_loader *l, slot *s, int32_t batch, int32_t *n_bad)
{
  for (int32_t i = 0; i < s->n; i++) {
    while (s->rows[i].bads) {
      FRT_TRY(frt__grow(&l->seen, &l->cap_seen, l->n_seen + 1, sizeof *l->seen));
      FRT_TRY(frt__grow(&l->seen_batch, &l->cap_seen_batch, l->n_seen + 1, sizeof *l->seen_batch));
      bad *b = s->rows[i].bads;
      s->rows[i].bads = b->next;
      l->seen[l->n_seen] = b;
      l->seen_batch[l->n_seen++] = batch;
      ++*n_bad;
    }
  }
  return FRT_OK;
}

static frt_status wait_ready(frt_loader *l, const slot *s)
{
  while (!s->ready) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += 50000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_cond_timedwait(&l->done, &l->lock, &until);
    FRT_CHECK(s->ready || !frt_interrupted(), FRT_ESTATE, "data: interrupted");
  }
  return FRT_OK;
}

static frt_status row_errors(const slot *s)
{
  for (int32_t i = 0; i < s->n; i++) {
    const row *r = &s->rows[i];
    if (r->status != FRT_OK && r->status != FRT_EDATA) {
      return frt_error_set(r->status == FRT_EIO ? FRT_EDATA : r->status, "%s",
                           r->error ? r->error : "out of memory: a message");
    }
  }
  return FRT_OK;
}

static frt_status next(frt_loader *l, frt_batch *out)
{
  for (release(l); l->handed < l->n_batches; release(l)) {
    slot *s = &l->slots[l->handed % l->n_slots];
    FRT_TRY(wait_ready(l, s));
    FRT_TRY(row_errors(s));
    int32_t index = l->handed++;
    FRT_TRY(take_bads(l, s, index, &out->n_bad));
    if (s->n_kept > 0) {
      l->any = true;
      out->n = s->n_kept;
      out->index = index;
      out->n_columns = l->n_columns;
      out->x = s->x;
      out->labels = s->labels;
      out->ids = s->ids;
      out->capacity = l->opt.batch;
      out->skipped = s->skipped;
      out->n_skipped = s->n_skipped;
      return FRT_OK;
    }
  }
  FRT_CHECK(l->any || l->opt.start > 0 || l->n_seen == 0, FRT_EDATA,
            "data: none of the %d photos can be read; the first: %s", l->n_seen, l->seen[0]->why);
  return FRT_OK;
}

frt_status frt_loader_next(frt_loader *l, frt_batch *out)
{
  *out = (frt_batch){0};
  double start = frt__clock();
  pthread_mutex_lock(&l->lock);
  frt_status status = next(l, out);
  pthread_mutex_unlock(&l->lock);
  out->wait_s = frt__clock() - start;
  l->wait_s += out->wait_s;
  return status;
}

int32_t frt_loader_bad_count(const frt_loader *l)
{
  return l->n_seen;
}

frt_status frt_loader_bad(const frt_loader *l, int32_t i, frt_bad_photo *out)
{
  FRT_CHECK(i >= 0 && i < l->n_seen, FRT_EARG, "data: bad photo %d of %d", i, l->n_seen);
  const bad *b = l->seen[i];
  *out = (frt_bad_photo){b->id, l->seen_batch[i], frt_manifest_path(l->manifest, b->id), b->why};
  return FRT_OK;
}
