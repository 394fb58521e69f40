--- foodrt doctor: what this machine offers and what foodrt found of it, one fact per line; --json for
--- programs. Status 1 when something that training needs is missing.
local host, read = require "foodrt.host", require("foodrt.core.file").read
local doctor = {}

doctor.usage = [[
usage: foodrt doctor [--json]
  versions, processor, instruction set, threads, memory and libraries as foodrt sees them]]

local function gib(bytes)
  return ("%.1f GiB"):format(bytes / 2 ^ 30)
end

-- The least of what the machine has and what the control group allows, in bytes.
local function memory()
  local text = read "/proc/meminfo" or ""
  local function kib(name) return (tonumber(text:match(name .. ":%s*(%d+)")) or 0) * 1024 end
  local limit = tonumber(read "/sys/fs/cgroup/memory.max" or "")
  return kib "MemTotal", kib "MemAvailable", limit
end

-- Whether the dynamic linker finds a library that is opened at run time.
local function library(names)
  local ffi = require "ffi"
  for _, name in ipairs(names) do
    if pcall(ffi.load, name) then return name end
  end
  return nil
end

local function facts()
  local list = {}
  local function add(name, value, missing)
    list[#list + 1] = { name = name, value = value, missing = missing }
  end
  add("foodrt", host.version)
  add("LuaJIT", (host.luajit:gsub("^LuaJIT ", "")))
  add("root", host.root)
  add("processor", (read "/proc/cpuinfo" or ""):match "model name%s*:%s*([^\n]+)" or jit.arch)
  local ok, lib = pcall(function() return require("foodrt.core.ffi") end)
  if ok then
    local why = lib.ffi.string(lib.C.frt_isa_why())
    add("instruction set", lib.ffi.string(lib.C.frt_isa()) .. (why ~= "" and (" (%s)"):format(why) or ""))
    add("threads", lib.C.frt_threads())
    add("ops", lib.C.frt_op_count())
  else
    add("library", "cannot be loaded: " .. tostring(lib), true)
  end
  local total, available, limit = memory()
  add("memory", ("%s, %s available"):format(gib(total), gib(available)) .. (limit and ", limit " .. gib(limit) or ""))
  local vips = library { "libvips.so.42" }
  add("photos", vips or "libvips is missing: apt install libvips42", not vips)
  add("weights", library { "libcurl.so.4", "libcurl-gnutls.so.4" } or "libcurl is missing: apt install libcurl4 (to fetch weights)")
  local cuda = io.open(host.root .. "/lib/libfoodrt_cuda.so")
  if cuda then cuda:close() end
  add("CUDA", cuda and "built" or "off: foodrt was built without it")
  return list
end

--- in arguments after "doctor"; out exit status
function doctor.run(args)
  if args[1] and args[1] ~= "--json" or args[2] then
    require("foodrt.cli").usage_error("doctor: unknown argument '%s'", args[1] == "--json" and args[2] or args[1])
  end
  local status, object = 0, {}
  for _, fact in ipairs(facts()) do
    if fact.missing then status = 1 end
    object[fact.name:gsub(" ", "_"):lower()] = fact.value
    if not args[1] then print(("%-16s %s"):format(fact.name, fact.value)) end
  end
  if args[1] then
    object.ok = status == 0
    print(require("foodrt.core.json").encode(object, true))
  end
  return status
end

return doctor
