// buffer.h -- bytes that lie in some device's memory. The host follows a buffer's address only
// where the memory is the host's own; everyone else reads, writes and copies ranges.
#pragma once
#include "base/base.h"

typedef struct frt_memory_space frt_memory_space;
// Where bytes can lie. The functions of a host's memory are NULL: an address is a pointer there.
// What is counted, limited, refused on purpose and kept for later lies above (buffer.c).
struct frt_memory_space {
  const char *name; // "host", "cuda:0": for messages
  void *owner;      // what the functions get: the device
  frt_status (*alloc)(void *owner, size_t bytes, void **at);
  void (*free)(void *owner, void *at, size_t bytes); // behind everything that still uses it
  frt_status (*upload)(void *owner, void *at, const void *src, size_t bytes);
  frt_status (*download)(void *owner, void *dst, const void *at, size_t bytes);
  frt_status (*copy)(void *owner, void *dst, const void *src, size_t bytes);
  frt_status (*fill)(void *owner, void *at, int byte, size_t bytes);
};
extern const frt_memory_space frt__host_memory;

typedef struct frt_buffer {
  const frt_memory_space *space; // NULL: there is none yet
  void *at;                      // an address of that space
  size_t bytes;
} frt_buffer;

static inline bool frt__on_host(const frt_buffer *b)
{
  return b->space == &frt__host_memory;
}
// Uninitialised bytes; `what` is for the message of FRT_ENOMEM.
frt_status frt__buffer_new(frt_buffer *out, const frt_memory_space *space, size_t bytes,
                           const char *what);
// At least `bytes`; nobody may count on what it holds. On failure it is gone.
frt_status frt__buffer_grow(frt_buffer *b, size_t bytes, const char *what);
void frt__buffer_free(frt_buffer *b); // leaves an empty one
// Ranges in bytes. src, dst: host memory.
frt_status frt__buffer_write(const frt_buffer *b, size_t from, const void *src, size_t bytes);
frt_status frt__buffer_read(const frt_buffer *b, size_t from, void *dst, size_t bytes);
// frt__hash of all bytes, as they would be on the host.
frt_status frt__buffer_hash(const frt_buffer *b, uint64_t *hash);
frt_status frt__buffer_fill(const frt_buffer *b, int byte);
// Whole buffers of equal size, of any two spaces.
frt_status frt__buffer_copy(const frt_buffer *to, const frt_buffer *from);
// Brings the bytes into another space; nothing happens where they are there.
frt_status frt__buffer_move(frt_buffer *b, const frt_memory_space *space, const char *what);
