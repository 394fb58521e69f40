// buffer.c -- buffers: the host's come from the pool of big blocks, others from their space's own
// functions; both are counted and limited alike.
#include "base/buffer.h"

const frt_memory_space frt__host_memory = {.name = "host"};

enum { PART = 4 << 20 }; // bytes on their way through the host at a time

frt_status frt__buffer_new(frt_buffer *out, const frt_memory_space *space, size_t bytes,
                           const char *what)
{
  *out = (frt_buffer){0};
  void *at;
  if (space == &frt__host_memory) {
    FRT_TRY(frt__block_new(&at, bytes, what));
  } else {
    FRT_TRY(frt__account_take(bytes, what));
    frt_status status = space->alloc(space->owner, bytes, &at);
    if (status != FRT_OK) {
      frt__account_give(bytes);
      return status == FRT_ENOMEM ? frt_error_set(FRT_ENOMEM, "out of memory on %s: %.1f MB for %s",
                                                  space->name, (double)bytes / 1e6, what)
                                  : status;
    }
  }
  *out = (frt_buffer){.space = space, .at = at, .bytes = bytes};
  return FRT_OK;
}

frt_status frt__buffer_grow(frt_buffer *b, size_t bytes, const char *what)
{
  if (frt__on_host(b)) {
    frt_status status = frt__block_grow(&b->at, b->bytes, bytes, what);
    b->bytes = bytes;
    if (status != FRT_OK) {
      *b = (frt_buffer){0};
    }
    return status;
  }
  const frt_memory_space *space = b->space;
  frt__buffer_free(b);
  return frt__buffer_new(b, space, bytes, what);
}

void frt__buffer_free(frt_buffer *b)
{
  if (b->space && frt__on_host(b)) {
    frt__block_free(b->at, b->bytes);
  } else if (b->space) {
    b->space->free(b->space->owner, b->at, b->bytes);
    frt__account_give(b->bytes);
  }
  *b = (frt_buffer){0};
}

frt_status frt__buffer_write(const frt_buffer *b, size_t from, const void *src, size_t bytes)
{
  char *at = (char *)b->at + from;
  if (!frt__on_host(b)) {
    return b->space->upload(b->space->owner, at, src, bytes);
  }
  if (at != src) {
    memcpy(at, src, bytes);
  }
  return FRT_OK;
}

frt_status frt__buffer_read(const frt_buffer *b, size_t from, void *dst, size_t bytes)
{
  const char *at = (const char *)b->at + from;
  if (!frt__on_host(b)) {
    return b->space->download(b->space->owner, dst, at, bytes);
  }
  memcpy(dst, at, bytes);
  return FRT_OK;
}

frt_status frt__buffer_fill(const frt_buffer *b, int byte)
{
  if (!frt__on_host(b)) {
    return b->space->fill(b->space->owner, b->at, byte, b->bytes);
  }
  memset(b->at, byte, b->bytes);
  return FRT_OK;
}

frt_status frt__buffer_hash(const frt_buffer *b, uint64_t *hash)
{
  if (frt__on_host(b)) {
    *hash = frt__hash(*hash, b->at, b->bytes);
    return FRT_OK;
  }
  void *copy = frt__alloc(b->bytes + 1);
  FRT_CHECK(copy, FRT_ENOMEM, "out of memory: hashing a tensor");
  frt_status status = frt__buffer_read(b, 0, copy, b->bytes);
  *hash = status == FRT_OK ? frt__hash(*hash, copy, b->bytes) : *hash;
  frt__free(copy);
  return status;
}

frt_status frt__buffer_copy(const frt_buffer *to, const frt_buffer *from)
{
  if (frt__on_host(from)) {
    return frt__buffer_write(to, 0, from->at, from->bytes);
  }
  if (frt__on_host(to)) {
    return frt__buffer_read(from, 0, to->at, from->bytes);
  }
  if (to->space == from->space) {
    return to->space->copy(to->space->owner, to->at, from->at, from->bytes);
  }
  const size_t part = FRT_MIN((size_t)PART, from->bytes);
  void *room = frt__alloc(part + 1);
  FRT_CHECK(room, FRT_ENOMEM, "out of memory: a copy between devices");
  frt_status status = FRT_OK;
  for (size_t at = 0; at < from->bytes && status == FRT_OK; at += part) {
    const size_t n = FRT_MIN(part, from->bytes - at);
    status = frt__buffer_read(from, at, room, n);
    status = status == FRT_OK ? frt__buffer_write(to, at, room, n) : status;
  }
  frt__free(room);
  return status;
}

frt_status frt__buffer_move(frt_buffer *b, const frt_memory_space *space, const char *what)
{
  if (!b->space || b->space == space) {
    return FRT_OK;
  }
  frt_buffer made;
  FRT_TRY(frt__buffer_new(&made, space, b->bytes, what));
  frt_status status = frt__buffer_copy(&made, b);
  if (status != FRT_OK) {
    frt__buffer_free(&made);
    return status;
  }
  frt__buffer_free(b);
  *b = made;
  return FRT_OK;
}
