--- ffi: reads the declarations once, opens the library, turns status codes into errors at the user's line,
--- and lists the library's ops. Everything in Lua reaches C through here.
local ffi = require "ffi"
local err = require "foodrt.core.err"

local function root()
  local host = package.loaded["foodrt.host"]
  if host and host.root then return host.root end
  local build = os.getenv "FOODRT_BUILD"
  if build and build ~= "" then return build end
  local above = debug.getinfo(1, "S").source:match "^@(.*)lua/foodrt/ffi%.lua$" or ""
  return above:match "^(.*)/share/foodrt/$" or above .. "build"  -- by text: in a build tree lua/ is a link
end

local ROOT = root()

-- Declarations live as long as the process; a spec runner may load this file more than once.
if not pcall(ffi.typeof, "frt_shape") then
  local path = ROOT .. "/share/foodrt/cdef.h"
  local file, why = io.open(path)
  if not file then error("foodrt is not built: " .. why, 0) end
  ffi.cdef(file:read "*a")
  file:close()
end
local LIBRARY = ROOT .. "/lib/libfoodrt.so"
local C = ffi.load(LIBRARY)
local host = package.loaded["foodrt.host"]
if host then host.attach(LIBRARY) end

local M = { C = C, ffi = ffi, root = ROOT }

--- raises the library's message at the user's line when `status` is not 0.
function M.check(status, prefix)
  if status ~= 0 then err.user("%s%s", prefix or "", ffi.string(C.frt_error_last())) end
end

--- like check, for what fails late (realize, plan): names the line that recorded the node, when known.
function M.check_late(status)
  if status ~= 0 then
    err.at(ffi.string(C.frt_error_line()), "%s", ffi.string(C.frt_error_last()))
  end
end

local told = {}

--- says, once, when fewer compute threads came than were asked for, or another instruction set.
--- in   say  takes a line; left out, it goes to standard error
function M.tell_machine(say)
  for _, asks in ipairs { "frt_threads_why", "frt_isa_why" } do
    local why = not told[asks] and ffi.string(C[asks]()) or ""
    if why ~= "" then
      told[asks] = true
      if say then say(why) else io.stderr:write("foodrt: ", why, "\n") end
    end
  end
end

local function read_op(i, info)
  C.frt_op_at(i, info)
  local op = {
    name = ffi.string(info.name), doc = info.doc ~= nil and ffi.string(info.doc) or "",
    index = i, n_in = info.n_in, n_out = info.n_out, flags = info.flags, attrs = {}, n_numbers = 0,
  }
  for k = 0, info.n_attr - 1 do
    local a = info.attr[k]
    op.attrs[k + 1] = {
      name = ffi.string(a.name), n = a.n, dflt = a.dflt, min = a.min, max = a.max,
      doc = a.doc ~= nil and ffi.string(a.doc) or "",
    }
    op.n_numbers = op.n_numbers + a.n
  end
  return op
end

--- every op by name: { name, doc, index, n_in, n_out, flags, n_numbers (of all attributes together),
--- attrs = { { name, n, dflt, min, max, doc }, … } }
M.ops = {}
do
  local info = ffi.new "frt_op_info"
  for i = 0, C.frt_op_count() - 1 do
    local op = read_op(i, info)
    M.ops[op.name] = op
  end
end

return M
