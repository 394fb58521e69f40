// pickle.h -- a restricted reader of Python pickles (protocols 2 to 5): tensors, storages, plain
// containers, numbers and text. Whatever else a pickle names is passed over, and what would run
// something is refused by that name; nothing runs.
#pragma once
#include "io/file.h"

typedef enum frt_pk_kind {
  FRT_PK_NONE,
  FRT_PK_BOOL,    // i
  FRT_PK_INT,     // i
  FRT_PK_BIG,     // text: little-endian bytes of a whole number beyond 64 bits
  FRT_PK_FLOAT,   // d
  FRT_PK_TEXT,    // text
  FRT_PK_LIST,    // at: box
  FRT_PK_TUPLE,   // at: box
  FRT_PK_DICT,    // at: box of keys and values in turn
  FRT_PK_GLOBAL,  // at: what it is, frt_pk_global
  FRT_PK_STORAGE, // at: storage
  FRT_PK_TENSOR,  // at: tensor
  FRT_PK_FOREIGN, // at: foreign; an object of somebody's class, or the class
  FRT_PK_MARK,
} frt_pk_kind;

typedef struct frt_pk_value {
  int32_t kind, at;
  union {
    int64_t i;
    double d;
    struct {
      uint32_t start, length; // in frt_pickle.text
    } text;
  };
} frt_pk_value;

typedef struct frt_pk_box {
  frt_pk_value *item;
  int32_t n, cap;
} frt_pk_box;

typedef struct frt_pk_storage {
  uint32_t key, key_length; // in frt_pickle.text
  int32_t type;             // index into frt__st_types
  uint64_t n;               // elements
  uint64_t first;           // where a view begins in what `key` names
  uint64_t place;           // in the file, once found
} frt_pk_storage;

typedef struct frt_pk_tensor {
  int32_t storage, ndim;
  uint64_t first, dim[8], stride[8]; // in elements
} frt_pk_tensor;

// Pickles are read one after the other from bytes [at, end) of a file; boxes, storages and tensors
// of all of them live until frt__pk_free().
typedef struct frt_pickle {
  const char *path;
  int fd;
  uint64_t begin, end; // of the section that is read
  char *text;          // what has been read of it
  uint64_t have, cap, at;
  frt_pk_value *stack, *memo;
  frt_pk_box *box;
  frt_pk_storage *storage;
  frt_pk_tensor *tensor;
  char **foreign; // names that were passed over, each once
  int32_t n_stack, cap_stack, n_memo, cap_memo, n_box, cap_box, n_storage, cap_storage, n_tensor,
    cap_tensor, n_foreign, cap_foreign;
  int64_t n_items; // in boxes and on the stack, ever
} frt_pickle;

// Reads the next pickle; *out is what it holds.
frt_status frt__pk_read(frt_pickle *p, frt_pk_value *out);
void frt__pk_free(frt_pickle *p);
bool frt__pk_is_text(const frt_pickle *p, const frt_pk_value *v, const char *text);

// --- between the machine (pickle.c) and what names mean (pickle_names.c)
frt_status frt__pk_damaged(const frt_pickle *p, const char *what);
#define FRT_PK_NEED(cond, what)                                                                    \
  do {                                                                                             \
    if (!(cond)) {                                                                                 \
      frt__pk_damaged(p, what);                                                                    \
      return FRT_EDATA; /* a constant: the compiler sees that this is not FRT_OK */                \
    }                                                                                              \
  } while (0)
frt_status frt__pk_push(frt_pickle *p, frt_pk_value v);
frt_status frt__pk_pop(frt_pickle *p, frt_pk_value *out);
// Adds `n` values to a container.
frt_status frt__pk_extend(frt_pickle *p, int32_t box, const frt_pk_value *from, int32_t n);
// Takes the `n` uppermost values into a new container and pushes it; `drop` more go with them.
frt_status frt__pk_collect(frt_pickle *p, int32_t kind, int32_t n, int32_t drop);
// The operations GLOBAL, REDUCE and BINPERSID.
frt_status frt__pk_push_global(frt_pickle *p, const char *module, int module_n, const char *name,
                               int name_n);
frt_status frt__pk_reduce(frt_pickle *p);
// Other ways to make an object (NEWOBJ and its like): `n` uppermost values are class and arguments.
frt_status frt__pk_object(frt_pickle *p, int32_t n);
frt_status frt__pk_persistent(frt_pickle *p);
