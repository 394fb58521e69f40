// lt.c -- 1 where a < b, else 0, of i32.
#include "cpu/chain/compare.h"

FRT_COMPARE_I32(a < b)

FRT_KERNEL(lt) = {.name = "own", .can = frt__compare_can, .run = run};
