// json.h -- a strict reader of JSON that lies in memory: no extensions, numbers only as whole
// numbers from 0, strings decoded in place.
#pragma once
#include "base/base.h"

typedef struct frt_json {
  char *start, *at, *end;
} frt_json;

void frt__json_space(frt_json *j);
// Takes `c` (after white space) if it comes next.
bool frt__json_take(frt_json *j, char c);
// A string, decoded in place and closed by a zero; NULL when there is none or it is damaged (bad
// escape, control character, invalid UTF-8, a zero).
char *frt__json_string(frt_json *j);
// Length of the valid UTF-8 character at `p` (1 to 4 bytes), 0 when it is not one.
int frt__utf8_length(const unsigned char *p, const unsigned char *end);
// Takes a word such as null (after white space) if it comes next.
bool frt__json_word(frt_json *j, const char *word);
bool frt__json_whole(frt_json *j, uint64_t *out);
