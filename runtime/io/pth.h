// pth.h -- PyTorch's .pth and .bin files, read into the same frt_file as safetensors files.
#pragma once
#include "io/safetensors.h"

// Whether the first bytes (at least 16, zeros behind the end) are those of a pickle or a zip file.
bool frt__pth_is(const unsigned char *head);
// place: where in the file the weights lie, NULL: the usual places.
frt_status frt__pth_open(frt_file *f, uint64_t size, bool zip, const char *place);
// Takes off names what wrappers of PyTorch put there ("module.", "_orig_mod.").
void frt__strip_names(frt_file *f);
// All values of a strided tensor one after the other; the caller frees *out.
frt_status frt__pth_gather(const frt_file *f, const frt_st_tensor *t, char **out);
// Compares the tensors' bytes with the checksums of the zip file, where there is one.
frt_status frt__pth_verify(const frt_file *f);
void frt__pth_close(frt_file *f);

// --- numpy's .npz
struct frt_zip;
bool frt__npz_is(const struct frt_zip *z); // whether a zip file has arrays in it
// All arrays of the zip file frt_file.zip as tensors; f->bytes is the file's size.
frt_status frt__npz_take(frt_file *f);
