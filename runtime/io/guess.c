// guess.c -- what people give for weights by mistake: pages instead of downloads, pointers instead
// of files, archives, photos, recipes. The words say what it is and what to do.
#include "io/guess.h"

#include <ctype.h>
#include <stdio.h>
#include <strings.h>

typedef struct kind {
  int at; // where the mark stands
  const char *mark;
  int n;
  const char *words;
} kind;

#define MARK(at, mark, words)                                                                      \
  {                                                                                                \
    at, mark, sizeof(mark) - 1, words                                                              \
  }
static const kind kinds[] = {
  MARK(0, "version https://git-lfs",
       "a Git LFS pointer, which stands for a file that was not fetched (git lfs pull fetches it)"),
  MARK(0, "version https://hawser",
       "a Git LFS pointer, which stands for a file that was not fetched"),
  MARK(0, "\x1f\x8b", "compressed by gzip (gunzip unpacks it)"),
  MARK(0,
       "\xfd"
       "7zXZ",
       "compressed by xz (unxz unpacks it)"),
  MARK(0, "BZh", "compressed by bzip2 (bunzip2 unpacks it)"),
  MARK(0, "\x28\xb5\x2f\xfd", "compressed by zstd (unzstd unpacks it)"),
  MARK(0, "\x04\x22\x4d\x18", "compressed by lz4 (unlz4 unpacks it)"),
  MARK(0, "7z\xbc\xaf\x27\x1c", "a 7z archive (unpack it first)"),
  MARK(0, "Rar!\x1a\x07", "a rar archive (unpack it first)"),
  MARK(257, "ustar",
       "a tar archive (tar xf unpacks it; those that PyTorch wrote before 2017 are not "
       "read)"),
  MARK(0, "\xff\xd8\xff", "a photo (JPEG)"),
  MARK(0, "\x89PNG\r\n\x1a\n", "a photo (PNG)"),
  MARK(0, "GIF8", "a photo (GIF)"),
  MARK(8, "WEBP", "a photo (WebP)"),
  MARK(0, "II*\0", "a photo (TIFF)"),
  MARK(0, "MM\0*", "a photo (TIFF)"),
  MARK(4, "ftypheic", "a photo (HEIC)"),
  MARK(4, "ftypheix", "a photo (HEIC)"),
  MARK(4, "ftypmif1", "a photo (HEIF)"),
  MARK(4, "ftypavif", "a photo (AVIF)"),
  MARK(4, "ftyp", "a video"),
  MARK(0, "%PDF-", "a PDF document"),
  MARK(0,
       "\x7f"
       "ELF",
       "a program"),
  MARK(0, "MZ\x90", "a program for Windows"),
  MARK(0, "\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes (export its weights to safetensors)"),
  MARK(4, "TFL3", "a TensorFlow Lite model"),
  MARK(0, "GGUF", "a GGUF file, of language models"),
  MARK(0, "\x93NUMPY", "one array of numpy (.npz files with named arrays are read)"),
  MARK(0, "SQLite format 3", "a SQLite database"),
};

static bool begins(const unsigned char *at, size_t n, const char *word)
{
  size_t length = strlen(word);
  return n >= length && strncasecmp((const char *)at, word, length) == 0;
}

static bool is_text(const unsigned char *head, size_t n)
{
  for (size_t i = 0; i < n; i++) {
    bool blank = head[i] == '\n' || head[i] == '\r' || head[i] == '\t' || head[i] == '\f';
    if ((head[i] < 0x20 && !blank) || head[i] == 0x7f) {
      return false;
    }
  }
  return n > 0;
}

static const char *text_kind(const unsigned char *at, size_t n, const char *path)
{
  static const char *const lua[] = {"--", "local ", "return ", "return{", "require"};
  size_t length = strlen(path);
  bool recipe = length > 4 && strcmp(path + length - 4, ".lua") == 0;
  for (int i = 0; i < FRT_COUNT(lua); i++) {
    recipe |= begins(at, n, lua[i]);
  }
  if (recipe) {
    return "Lua: a recipe or a script";
  }
  if (begins(at, n, "<!doctype html") || begins(at, n, "<html") || begins(at, n, "<head")) {
    return "a web page (HTML): the download was answered by a page, not by the file";
  }
  if (begins(at, n, "<?xml") || begins(at, n, "<error") || begins(at, n, "<svg")) {
    return "XML: perhaps a server's answer instead of the file";
  }
  if (begins(at, n, "{") || begins(at, n, "[")) {
    return "JSON";
  }
  return begins(at, n, "import ") || begins(at, n, "#!") || begins(at, n, "from ") ? "a script"
                                                                                   : NULL;
}

bool frt__guess(const unsigned char *head, size_t n, const char *path, char out[FRT_GUESS_TEXT])
{
  const char *words = n == 0 ? "it is empty" : NULL;
  for (int i = 0; i < FRT_COUNT(kinds) && !words; i++) {
    const kind *k = &kinds[i];
    bool here = n >= (size_t)(k->at + k->n) && memcmp(head + k->at, k->mark, (size_t)k->n) == 0;
    words = here ? k->words : NULL;
  }
  if (!words && is_text(head, n)) {
    const unsigned char *at = head;
    size_t left = n;
    if (left >= 3 && memcmp(at, "\xef\xbb\xbf", 3) == 0) { // a byte order mark
      at += 3;
      left -= 3;
    }
    while (left > 0 && isspace(*at)) {
      at++;
      left--;
    }
    words = text_kind(at, left, path);
    if (!words) {
      size_t line = 0;
      while (line < left && line < 60 && at[line] != '\n' && at[line] != '\r') {
        line++;
      }
      snprintf(out, FRT_GUESS_TEXT, "text that begins with '%.*s'", (int)line, (const char *)at);
      return true;
    }
  }
  if (words) {
    snprintf(out, FRT_GUESS_TEXT, "%s%s", words[0] == 'i' && words[1] == 't' ? "" : "it is ",
             words);
  }
  return words != NULL;
}
