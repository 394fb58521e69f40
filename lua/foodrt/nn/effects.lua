--- effects: what a forward pass moves besides its result: running statistics. They are assigned as they are recorded, but not
--- by passes that only look (the second one of a sharpness-aware step, a teacher's).
---   effects.put(running_mean, ref)      by a layer; ref: what C knows of the new value
---   effects.without(fn, …)              fn(…), and nothing that it passes moves
local lib, err = require "foodrt.core.ffi", require "foodrt.core.err"
local C, check = lib.C, lib.check
local effects = {}

local off = false

--- the variable has this value after the step.
function effects.put(variable, ref)
  if not off then check(C.frt_assign(variable.ref, ref)) end
end

local function back(was, ok, ...)
  off = was
  if not ok then error((...), 0) end
  return ...
end

--- what fn(…) returns; statistics stay as they are.
function effects.without(fn, ...)
  local was = off
  off = true
  return back(was, err.catch(fn, ...))
end

return effects
