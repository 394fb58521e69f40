--- schedule.each: every batch is an update: forward, backward, clipping, update, averages and measures are one plan.
local rng = require "foodrt.core.rng"
local Each = {}
Each.__index = Each

local function record(s, batch, o)
  local out = s:record(batch, "mean")
  out.norm = s:apply(out.groups[1].grads, o, out.loss)
  return out
end

function Each.batch(_, s, batch, o)
  rng.begin(o.step, 0)
  local out = s:attempt(function()
    local made = record(s, batch, o)
    s.api.realize(made.loss, made.norm)
    return made
  end)
  return out, true
end

function Each.flush(_) end

function Each.plans(_, s, batch)
  local out = record(s, batch, {})
  return { step = s.plan(out.loss, out.norm) }
end

function Each.state(_) end

function Each.bytes(_)
  return 0
end

function Each.mark(_)
  return function() end
end

return { new = function() return setmetatable({ k = 1 }, Each) end }
