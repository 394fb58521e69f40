// json.c -- the input is text; its first byte says in which order strings, numbers and marks are
// tried.
#include "fuzz.h"

#include <stdlib.h>

#include "io/json.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t n)
{
  if (n < 1) {
    return -1;
  }
  char *text = malloc(n);
  memcpy(text, data + 1, n - 1);
  text[n - 1] = 0;
  frt_json j = {text, text, text + n - 1};
  static const char marks[] = "{}[]:,";
  for (bool more = true; more;) {
    char *before = j.at, *s;
    uint64_t v;
    if (data[0] & 1 && frt__json_whole(&j, &v)) {
      continue;
    }
    if ((s = frt__json_string(&j))) {
      const unsigned char *at = (const unsigned char *)s, *end = at + strlen(s);
      while (at < end) { // what is decoded is UTF-8
        int step = frt__utf8_length(at, end);
        if (step == 0) {
          abort();
        }
        at += step;
      }
      continue;
    }
    if (j.at < j.start || j.at > j.end) {
      abort();
    }
    j.at = before;
    more = false;
    for (int i = 0; marks[i] && !more; i++) {
      more = frt__json_take(&j, marks[i]);
    }
  }
  free(text);
  return 0;
}
