// guess.h -- what a file is that holds no weights, told by its first bytes.
#pragma once
#include "base/base.h"

enum { FRT_GUESS = 512, FRT_GUESS_TEXT = 256 };

// Says in words what the first `n` bytes (at most FRT_GUESS) are those of, and what to do about it;
// false: nothing that is known.
bool frt__guess(const unsigned char *head, size_t n, const char *path, char out[FRT_GUESS_TEXT]);
