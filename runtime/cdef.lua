-- cdef.lua: cuts what LuaJIT reads out of foodrt.h.   luajit cdef.lua foodrt.h cdef.h
local header = assert(io.open(arg[1])):read "*a"
local text = assert(header:match "/%* ffi:begin %*/(.-)/%* ffi:end %*/", "no ffi marks in " .. arg[1])
local out = assert(io.open(arg[2], "w"))
out:write((text:gsub("FRT_API ", "")))
out:close()
