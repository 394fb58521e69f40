--- foodrt: the front end. Parts are loaded when they are first named, so that starting costs nothing.
---   local frt = require "foodrt"
---   local model = frt.models.efficientnet_b0 { classes = 10 }
local err = require "foodrt.err"

local PARTS = { nn = true, models = true, loss = true, optim = true, sched = true, data = true, augment = true,
  metrics = true, ensemble = true, trainer = true, run = true, phase = true, rng = true }
local FILES = { load = true, save = true }

local frt = {}

-- names(): tables whose keys are what can be read from frt, for completion at the prompt
setmetatable(frt, { names = function() return PARTS, FILES, require("foodrt.tensor").api end, __index = function(_, name)
  local value
  if PARTS[name] then
    value = require("foodrt." .. name)
  elseif FILES[name] then
    value = require("foodrt.io")[name]
  else
    local api = require("foodrt.tensor").api
    value = api[name]
    if value == nil then
      err.user("frt has no '%s'%s", tostring(name), err.hint(name, PARTS, FILES, api))
    end
  end
  rawset(frt, name, value)
  return value
end })

return frt
