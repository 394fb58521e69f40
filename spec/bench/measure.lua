-- measure.lua: what the benchmarks of our own side share: clocks, input, the lines they print.
local T, lib = require "foodrt.tensor", require "foodrt.core.ffi"
local C, ffi = lib.C, lib.ffi
ffi.cdef "typedef struct { long s, ns; } bench_time; int clock_gettime(int, bench_time *);"
local measure, time = {}, ffi.new "bench_time"

--- seconds of CPU this process has used
function measure.cpu()
  ffi.C.clock_gettime(2, time)
  return tonumber(time.s) + 1e-9 * tonumber(time.ns)
end

--- [batch, 3, size, size] of noise, as the loader gives photos
function measure.photos(batch, size)
  local n = batch * 3 * size * size
  local bytes = ffi.new("float[?]", n)
  C.frt_fill_normal(bytes, n, 1, "x", 0, 1)
  measure.kept = bytes  -- the tensor reads it where it lies
  return T.wrap_data({ batch, 3, size, size }, "f32", bytes, true)
end

--- peak and present RSS in MB
function measure.rss()
  local status = io.open "/proc/self/status":read "*a"
  return tonumber(status:match "VmHWM:%s+(%d+)") / 1024, tonumber(status:match "VmRSS:%s+(%d+)") / 1024
end

local function profile(step)
  C.frt_profile(1)
  for _ = 1, 3 do step() end
  local info, one, kinds, list, total = ffi.new "frt_plan_info", ffi.new "frt_step_info", {}, {}, 0
  C.frt_plan_last()
  C.frt_plan_get(info)
  for i = 0, info.n_steps - 1 do
    C.frt_plan_step(i, one)
    local kind = ffi.string(one.op) .. " " .. ffi.string(one.kernel)
    if not kinds[kind] then
      kinds[kind] = { kind, 0, 0 }
      list[#list + 1] = kinds[kind]
    end
    kinds[kind][2], kinds[kind][3] = kinds[kind][2] + one.seconds, kinds[kind][3] + 1
    total = total + one.seconds
  end
  table.sort(list, function(a, b) return a[2] > b[2] end)
  print(("profile: %.1f ms, arena %.1f MB"):format(total * 1e3, tonumber(info.arena) / 1e6))
  for i = 1, math.min(20, #list) do print(("%9.2f ms %4d  %s"):format(list[i][2] * 1e3, list[i][3], list[i][1])) end
end

-- the arena of the plan that ran last, in MB, and by how many percent it lies above the most bytes alive at once
local function arena()
  local info = ffi.new "frt_plan_info"
  C.frt_plan_last()
  C.frt_plan_get(info)
  print(("arena %.1f\nabove %.2f"):format(tonumber(info.arena) / 1e6, 100 * (tonumber(info.arena) / tonumber(info.bound) - 1)))
end

--- runs `step` n times: a line each with wall ms and CPU ms, then "rss" and the peak; FOODRT_PROFILE=1: the time by
--- kind of step. plan: also the arena, and what the resident set grew by from the middle step to the last.
function measure.steps(n, step, plan)
  local half
  for i = 1, n do
    local wall, used = C.frt_now(), measure.cpu()
    step()
    print(("%.2f %.2f"):format((C.frt_now() - wall) * 1e3, (measure.cpu() - used) * 1e3))
    io.flush()
    if plan and i == math.ceil(n / 2) then half = select(2, measure.rss()) end
  end
  local peak, now = measure.rss()
  print(("rss %.1f"):format(peak))
  if plan then
    print(("growth %.1f"):format(now - half))
    arena()
  end
  if os.getenv "FOODRT_PROFILE" then profile(step) end
end

return measure
