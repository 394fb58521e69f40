-- isas: the instruction sets of the CPU's own kernels that this machine has, the plainest first. Specs of kernels
-- run under each: C.frt_set_isa(name) before, C.frt_set_isa "auto" after.
local lib = require "foodrt.core.ffi"
local C = lib.C

local isas, was = {}, lib.ffi.string(C.frt_isa())  -- FOODRT_ISA's, where it is set
for _, name in ipairs { "base", "avx2", "avx512" } do
  if tonumber(C.frt_set_isa(name)) == 0 then isas[#isas + 1] = name end
end
C.frt_set_isa(was)
return isas
