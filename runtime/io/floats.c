// floats.c -- numbers of safetensors files in other widths: what is narrower than the runtime's
// types widened, floats rounded to fp16 and bf16.
#include "io/safetensors.h"

#include <math.h>

int32_t frt__st_type_of(int32_t dtype)
{
  static const char *const names[] = {
    [FRT_F32] = "F32", [FRT_F64] = "F64", [FRT_I32] = "I32", [FRT_BF16] = "BF16",
    [FRT_U8] = "U8",   [FRT_I64] = "I64", [FRT_F16] = "F16",
  };
  for (int32_t i = 0; dtype >= 0 && dtype < FRT_COUNT(names) && i < frt__st_type_count; i++) {
    if (strcmp(frt__st_types[i].name, names[dtype]) == 0) {
      return i;
    }
  }
  return -1;
}

static bool is(int32_t type, const char *name)
{
  return strcmp(frt__st_types[type].name, name) == 0;
}

bool frt__st_is_float(int32_t type)
{
  return is(type, "F32") || is(type, "F64") || is(type, "F16") || is(type, "BF16");
}

static float from_bits(uint32_t bits)
{
  float v;
  memcpy(&v, &bits, sizeof v);
  return v;
}

static uint32_t to_bits(float v)
{
  uint32_t bits;
  memcpy(&bits, &v, sizeof bits);
  return bits;
}

static float from_half(uint16_t h)
{
  uint32_t sign = (uint32_t)(h & 0x8000) << 16, e = h >> 10 & 31, m = h & 0x3ff;
  if (e == 0) {
    float v = (float)m * 0x1p-24f;
    return sign ? -v : v;
  }
  return from_bits(sign | (e == 31 ? 0x7f800000u : (e + 112) << 23) | m << 13);
}

void frt__st_widen(int32_t type, const void *from, void *to, size_t n)
{
  const uint16_t *h = from;
  float *f = to;
  int32_t *w = to;
  if (is(type, "F16")) {
    for (size_t i = 0; i < n; i++) {
      f[i] = from_half(h[i]);
    }
  } else if (is(type, "BF16")) {
    for (size_t i = 0; i < n; i++) {
      f[i] = from_bits((uint32_t)h[i] << 16);
    }
  } else if (is(type, "I16")) {
    for (size_t i = 0; i < n; i++) {
      w[i] = ((const int16_t *)from)[i];
    }
  } else if (is(type, "U16")) {
    for (size_t i = 0; i < n; i++) {
      w[i] = h[i];
    }
  } else if (is(type, "I8")) {
    for (size_t i = 0; i < n; i++) {
      w[i] = ((const int8_t *)from)[i];
    }
  } else { // U32
    for (size_t i = 0; i < n; i++) {
      ((int64_t *)to)[i] = ((const uint32_t *)from)[i];
    }
  }
}

static uint16_t to_bf16(float v)
{
  uint32_t b = to_bits(v);
  if ((b & 0x7fffffffu) > 0x7f800000u) {
    return (uint16_t)(b >> 16 | 0x40); // not a number stays one
  }
  return (uint16_t)((b + 0x7fffu + (b >> 16 & 1)) >> 16);
}

static uint16_t to_half(float v)
{
  uint32_t b = to_bits(v), sign = b >> 16 & 0x8000, a = b & 0x7fffffffu;
  if (a > 0x7f800000u) {
    return (uint16_t)(sign | 0x7e00 | (a >> 13 & 0x3ff));
  }
  if (a >= 0x477ff000u) { // 65520 rounds to what fp16 has no number for
    return (uint16_t)(sign | 0x7c00);
  }
  if (a < 0x38800000u) { // below 2^-14: multiples of 2^-24
    return (uint16_t)(sign | (uint32_t)lrintf(from_bits(a) * 0x1p24f));
  }
  uint32_t m = a - 0x38000000u;
  return (uint16_t)(sign | (m + 0xfffu + (m >> 13 & 1)) >> 13);
}

bool frt__st_recast(int32_t from_type, const void *from, int32_t to_type, void *to, size_t n,
                    double *bad)
{
  bool f32 = is(from_type, "F32"), f64 = is(from_type, "F64"), f16 = is(from_type, "F16");
  bool half = is(to_type, "F16"), wide = is(to_type, "F32");
  const uint16_t *h = from;
  for (size_t i = 0; i < n; i++) {
    double exact = f64   ? ((const double *)from)[i]
                   : f32 ? ((const float *)from)[i]
                   : f16 ? from_half(h[i])
                         : from_bits((uint32_t)h[i] << 16);
    float v = (float)exact, back = v;
    if (wide) {
      ((float *)to)[i] = v;
    } else {
      uint16_t narrow = half ? to_half(v) : to_bf16(v);
      ((uint16_t *)to)[i] = narrow;
      back = half ? from_half(narrow) : from_bits((uint32_t)narrow << 16);
    }
    if (isinf(back) && isfinite(exact)) {
      *bad = exact;
      return false;
    }
  }
  return true;
}
