-- plans: what the engine's specs ask about plans, and arming of allocation failures.
local T = require "foodrt.tensor"
local lib = require "foodrt.core.ffi"
local C, ffi = lib.C, lib.ffi

local plans = {}
local info = ffi.new "frt_plan_info"

--- the addressed plan's numbers and the cache's: a frt_plan_info, good until the next call.
function plans.info()
  C.frt_plan_get(info)
  return info
end

--- how many plans were compiled while fn ran
function plans.compiled(fn, ...)
  local before = tonumber(plans.info().compiled)
  fn(...)
  return tonumber(plans.info().compiled) - before
end

--- names of the steps that would compute `...`
function plans.steps(...)
  local names = {}
  for i, s in ipairs(T.plan(...)) do names[i] = s.op end
  return names
end

--- how many of those are called `name`
function plans.count(name, ...)
  local n = 0
  for _, op in ipairs(plans.steps(...)) do
    if op == name then n = n + 1 end
  end
  return n
end

--- the kernel of the first step called `name`
function plans.kernel(name, ...)
  for _, s in ipairs(T.plan(...)) do
    if s.op == name then return s.kernel end
  end
end

--- fails unless the plan for `...` finds in memory what its steps read
function plans.verify(...)
  T.plan(...)
  if tonumber(C.frt_plan_verify()) ~= 0 then error(ffi.string(C.frt_error_last()), 2) end
end

--- whether the library is built with sanitizers: they are slow and keep freed memory for a while
function plans.is_sanitized()
  local file = assert(io.open "/proc/self/maps")
  local maps = file:read "*a"
  file:close()
  return maps:find("libasan", 1, true) ~= nil
end

--- seconds of processor time that fn takes: the best of n, for other programs run on this machine too
function plans.best(n, fn)
  local best = math.huge
  for _ = 1, n do
    local start = os.clock()
    fn()
    best = math.min(best, os.clock() - start)
  end
  return best
end

return plans
