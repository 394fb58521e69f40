// isa.h -- one source for several instruction sets. Files named *_simd.c are compiled once for each
// (CMakeLists.txt): there FRT_K(name) is frt__name_avx512 where FRT_ISA is avx512, and a function
// that begins with FRT_SIMD goes into its folder's table (runtime/tables.lua). Which of them is
// used is chosen here, once for all (isa.c).
#pragma once
#include <stdint.h>

#define FRT_INLINE static inline __attribute__((always_inline, unused))

// The instruction sets there is code for, the best last.
#if defined(__x86_64__)
#define FRT_EACH_ISA(f) f(base) f(avx2) f(avx512) f(avx512_bf16)
#else
#define FRT_EACH_ISA(f) f(base)
#endif

// The one in use: its place in FRT_EACH_ISA.
int32_t frt__isa(void);

#ifdef FRT_ISA
#define FRT_K_PASTE(name, isa) frt__##name##_##isa
#define FRT_K_EXPAND(name, isa) FRT_K_PASTE(name, isa)
#define FRT_K(name) FRT_K_EXPAND(name, FRT_ISA)
#define FRT_SIMD      // in the table of every instruction set
#define FRT_SIMD_BF16 // only where there is arithmetic on bf16; NULL elsewhere
#endif
