// isa.h -- for files that are compiled once per instruction set (CMakeLists.txt): FRT_K(name) is
// frt__name_avx512 where FRT_ISA is avx512.
#pragma once
#ifdef FRT_ISA
#define FRT_K_PASTE(name, isa) frt__##name##_##isa
#define FRT_K_EXPAND(name, isa) FRT_K_PASTE(name, isa)
#define FRT_K(name) FRT_K_EXPAND(name, FRT_ISA)
#define FRT_ISA_EXPAND(isa) #isa
#define FRT_ISA_TEXT(isa) FRT_ISA_EXPAND(isa)
#endif
#define FRT_INLINE static inline __attribute__((always_inline, unused))
