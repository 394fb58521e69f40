--- foodrt: the front end. Parts are loaded when they are first named, so that starting costs nothing.
---   local frt = require "foodrt"
---   local model = frt.models.efficientnet_b0 { classes = 10 }
local err = require "foodrt.core.err"

local PARTS = { nn = "nn", models = "models", data = "data", run = "run", rng = "core.rng", augment = "data.augment",
  loss = "train.loss", optim = "train.optim", sched = "train.sched", metrics = "train.metric", phase = "train.phase",
  trainer = "train.trainer", task = "train.task", hook = "train.hook", rule = "train.rule", transform = "train.transform",
  ensemble = "run.ensemble" }
local FILES = { load = true, save = true }

local frt = {}

-- names(): tables whose keys are what can be read from frt, for completion at the prompt
setmetatable(frt, { names = function() return PARTS, FILES, require("foodrt.tensor").api end, __index = function(_, name)
  local value
  if PARTS[name] then
    value = require("foodrt." .. PARTS[name])
  elseif FILES[name] then
    value = require("foodrt.core.io")[name]
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
