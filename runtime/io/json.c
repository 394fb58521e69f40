// json.c -- strict JSON (RFC 8259), as far as safetensors headers need it.
#include "io/json.h"

void frt__json_space(frt_json *j)
{
  while (j->at < j->end && (*j->at == ' ' || *j->at == '\n' || *j->at == '\t' || *j->at == '\r')) {
    j->at++;
  }
}

bool frt__json_take(frt_json *j, char c)
{
  frt__json_space(j);
  if (j->at < j->end && *j->at == c) {
    j->at++;
    return true;
  }
  return false;
}

bool frt__json_word(frt_json *j, const char *word)
{
  size_t n = strlen(word);
  frt__json_space(j);
  if ((size_t)(j->end - j->at) < n || memcmp(j->at, word, n) != 0) {
    return false;
  }
  j->at += n;
  return true;
}

static bool hex4(const char *at, const char *end, uint32_t *out)
{
  if (end - at < 4) {
    return false;
  }
  *out = 0;
  for (int i = 0; i < 4; i++) {
    char c = at[i];
    uint32_t digit = c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
                     : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a' + 10)
                     : c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A' + 10)
                                            : 16u;
    if (digit > 15) {
      return false;
    }
    *out = *out << 4 | digit;
  }
  return true;
}

static char *put_utf8(char *to, uint32_t c)
{
  if (c < 0x80) {
    *to++ = (char)c;
  } else if (c < 0x800) {
    *to++ = (char)(0xc0 | c >> 6);
    *to++ = (char)(0x80 | (c & 0x3f));
  } else if (c < 0x10000) {
    *to++ = (char)(0xe0 | c >> 12);
    *to++ = (char)(0x80 | (c >> 6 & 0x3f));
    *to++ = (char)(0x80 | (c & 0x3f));
  } else {
    *to++ = (char)(0xf0 | c >> 18);
    *to++ = (char)(0x80 | (c >> 12 & 0x3f));
    *to++ = (char)(0x80 | (c >> 6 & 0x3f));
    *to++ = (char)(0x80 | (c & 0x3f));
  }
  return to;
}

// \uXXXX, or two of them for a character beyond the first 65536. `*from` stands behind "\u".
static bool unicode(char **from, const char *end, char **to)
{
  uint32_t c, low;
  if (!hex4(*from, end, &c) || c == 0 || (c >= 0xdc00 && c <= 0xdfff)) {
    return false;
  }
  *from += 4;
  if (c >= 0xd800 && c <= 0xdbff) {
    if (end - *from < 6 || (*from)[0] != '\\' || (*from)[1] != 'u' || !hex4(*from + 2, end, &low) ||
        low < 0xdc00 || low > 0xdfff) {
      return false;
    }
    *from += 6;
    c = 0x10000 + ((c - 0xd800) << 10 | (low - 0xdc00));
  }
  *to = put_utf8(*to, c);
  return true;
}

int frt__utf8_length(const unsigned char *p, const unsigned char *end)
{
  if (p < end && p[0] < 0x80) {
    return 1;
  }
  int n = p[0] >= 0xc2 && p[0] <= 0xdf   ? 2
          : (p[0] & 0xf0) == 0xe0        ? 3
          : p[0] >= 0xf0 && p[0] <= 0xf4 ? 4
                                         : 0;
  if (n == 0 || end - p < n) {
    return 0;
  }
  for (int i = 1; i < n; i++) {
    if ((p[i] & 0xc0) != 0x80) {
      return 0;
    }
  }
  bool overlong = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90);
  bool surrogate = p[0] == 0xed && p[1] >= 0xa0;
  bool beyond = p[0] == 0xf4 && p[1] >= 0x90;
  return overlong || surrogate || beyond ? 0 : n;
}

static bool escape(char **from, const char *end, char **to)
{
  static const char code[] = "\"\\/bfnrt", means[] = "\"\\/\b\f\n\r\t";
  if (*from >= end) {
    return false;
  }
  char c = *(*from)++;
  if (c == 'u') {
    return unicode(from, end, to);
  }
  const char *found = c ? strchr(code, c) : NULL;
  if (!found) {
    return false;
  }
  *(*to)++ = means[found - code];
  return true;
}

char *frt__json_string(frt_json *j)
{
  if (!frt__json_take(j, '"')) {
    return NULL;
  }
  char *text = j->at, *to = text, *from = text;
  while (from < j->end) {
    unsigned char c = (unsigned char)*from;
    if (c == '"') {
      *to = 0;
      j->at = from + 1;
      return text;
    }
    if (c == '\\') {
      from++;
      if (!escape(&from, j->end, &to)) {
        break;
      }
    } else if (c < 0x20) {
      break;
    } else {
      int n = frt__utf8_length((unsigned char *)from, (unsigned char *)j->end);
      if (n == 0) {
        break;
      }
      memmove(to, from, (size_t)n);
      to += n;
      from += n;
    }
  }
  j->at = from;
  return NULL;
}

bool frt__json_whole(frt_json *j, uint64_t *out)
{
  frt__json_space(j);
  char *start = j->at;
  uint64_t v = 0;
  while (j->at < j->end && *j->at >= '0' && *j->at <= '9') {
    if (v > ((uint64_t)INT64_MAX - 9) / 10) {
      return false;
    }
    v = v * 10 + (uint64_t)(*j->at++ - '0');
  }
  bool leading_zero = *start == '0' && j->at - start > 1;
  *out = v;
  return j->at > start && !leading_zero;
}
