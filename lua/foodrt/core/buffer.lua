--- buffer: C arrays as long as data or a model asks for. LuaJIT makes none of 2 GB or more.
---   local p = buffer.new("float", n)   -- zeroed; float * or float[n]: keep it, not only a pointer into it
local ffi = require "ffi"
ffi.cdef "void *calloc(size_t n, size_t size); void free(void *p);"
local buffer = {}

local LARGE = 2 ^ 28  -- bytes: above, memory of C, which goes with what is returned

function buffer.new(ctype, n)
  local size = ffi.sizeof(ctype)
  if n * size < LARGE then return ffi.new(ctype .. "[?]", n) end
  local p = ffi.C.calloc(n, size)
  if p == nil then  -- what the collector knows to be free may be given back first
    collectgarbage()
    p = ffi.C.calloc(n, size)
  end
  if p == nil then error(("out of memory: a buffer of %.1f GB"):format(n * size / 2 ^ 30), 0) end
  return ffi.gc(ffi.cast(ffi.typeof("$ *", ffi.typeof(ctype)), p), ffi.C.free)
end

return buffer
