// sha256.c -- SHA-256 (FIPS 180-4): of a file, to check what was fetched; of bytes, to know a
// recipe again.
#include <fcntl.h>
#include <unistd.h>

#include "io/file.h"

static const uint32_t K[64] = {
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
  0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
  0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
  0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
  0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
  0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
  0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
  0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t turn(uint32_t v, int n)
{
  return v >> n | v << (32 - n);
}

static void block(uint32_t state[8], const unsigned char *p)
{
  uint32_t w[64], s[8];
  for (int i = 0; i < 16; i++) {
    w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 | (uint32_t)p[4 * i + 2] << 8 |
           p[4 * i + 3];
  }
  for (int i = 16; i < 64; i++) {
    uint32_t a = turn(w[i - 15], 7) ^ turn(w[i - 15], 18) ^ w[i - 15] >> 3;
    uint32_t b = turn(w[i - 2], 17) ^ turn(w[i - 2], 19) ^ w[i - 2] >> 10;
    w[i] = w[i - 16] + a + w[i - 7] + b;
  }
  memcpy(s, state, sizeof s);
  for (int i = 0; i < 64; i++) {
    uint32_t a = turn(s[4], 6) ^ turn(s[4], 11) ^ turn(s[4], 25);
    uint32_t t1 = s[7] + a + ((s[4] & s[5]) ^ (~s[4] & s[6])) + K[i] + w[i];
    uint32_t b = turn(s[0], 2) ^ turn(s[0], 13) ^ turn(s[0], 22);
    uint32_t t2 = b + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
    memmove(s + 1, s, sizeof *s * 7);
    s[4] += t1;
    s[0] = t1 + t2;
  }
  for (int i = 0; i < 8; i++) {
    state[i] += s[i];
  }
}

static const uint32_t BEGIN[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                  0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

// Blocks of the last n bytes of `size`, which `tail` has room of 128 more for: the end is marked,
// filled and closed by the length in bits.
static void last_blocks(uint32_t state[8], unsigned char *tail, size_t n, uint64_t size)
{
  size_t full = (n + 9 + 63) & ~(size_t)63;
  memset(tail + n, 0, full - n);
  tail[n] = 0x80;
  for (int i = 0; i < 8; i++) {
    tail[full - 1 - (size_t)i] = (unsigned char)(size * 8 >> 8 * i);
  }
  for (size_t i = 0; i < full; i += 64) {
    block(state, tail + i);
  }
}

static void written(const uint32_t state[8], char out[65])
{
  static const char digits[] = "0123456789abcdef";
  for (int i = 0; i < 64; i++) {
    out[i] = digits[state[i / 8] >> (28 - 4 * (i % 8)) & 15];
  }
  out[64] = 0;
}

void frt_sha256(const void *data, size_t bytes, char out[65])
{
  const unsigned char *p = data;
  unsigned char tail[64 + 128];
  uint32_t state[8];
  size_t whole = bytes & ~(size_t)63;
  memcpy(state, BEGIN, sizeof state);
  for (size_t i = 0; i < whole; i += 64) {
    block(state, p + i);
  }
  if (bytes > whole) {
    memcpy(tail, p + whole, bytes - whole);
  }
  last_blocks(state, tail, bytes - whole, bytes);
  written(state, out);
}

static frt_status hash_file(int fd, const char *path, uint64_t size, uint32_t state[8])
{
  enum { CHUNK = 1 << 16 };
  unsigned char chunk[CHUNK + 128];
  for (uint64_t at = 0;;) {
    size_t n = (size_t)FRT_MIN(size - at, (uint64_t)CHUNK);
    FRT_TRY(frt__file_pread(fd, path, chunk, n, at));
    at += n;
    if (at == size) {
      last_blocks(state, chunk, n, size);
      return FRT_OK;
    }
    for (size_t i = 0; i < n; i += 64) {
      block(state, chunk + i);
    }
  }
}

frt_status frt_file_sha256(const char *path, char out[65])
{
  uint32_t state[8];
  int fd;
  uint64_t size;
  memcpy(state, BEGIN, sizeof state);
  FRT_TRY(frt__file_open(path, &fd, &size));
  frt_status status = hash_file(fd, path, size, state);
  close(fd);
  FRT_TRY(status);
  written(state, out);
  return FRT_OK;
}
