--- rule: gradient rules: how the gradients of a batch are recorded. `plain` differentiates the loss; others look elsewhere first
--- (sharpness-aware steps), at another model too (distillation), or at worse photos (adversarial steps). When gradients are
--- added up and applied is the update schedule's business (../schedule/), so that the two compose.
---
---   rule.define("mine", { "mine", rho = { "number", 0.05 } }, function(options) return object end)
---
--- The object's methods; only record is needed:
---   record(self, pass)     records and returns what pass:forward() gave for the pass that is reported, with groups = what
---                          pass:gradients(out) gave. `pass` has, besides: batch, params (what is trained), step (train/step.lua)
---     pass:forward { effects = false }   a forward pass; running statistics move with it, unless effects = false; every pass of
---                                        a batch draws the same random numbers
---     pass:gradients(out)                the gradients of that pass: { { grads (by parameter), weight (nil: of the mean) }, … },
---                                        of means or of sums as the schedule asks; a rule passes on what it is given
---   state(self)            tensors by name, and a table of numbers and texts: what a checkpoint keeps; nil: nothing
---   load(self, tensors, info)
---   mark(self)             a function that takes the object back to where it is now: a step that fails undoes itself
local opt, err = require "foodrt.core.opt", require "foodrt.core.err"
local rule = {}

local kinds = {}

--- registers a rule; frt.rule.NAME { options } then makes one.
function rule.define(name, spec, make)
  kinds[name] = function(given)
    local options = opt.check(spec, given)
    return { rule = name, options = options, make = function() return make(options) end }
  end
  return kinds[name]
end

rule.define("plain", { "plain" }, require "foodrt.train.rule.plain")

--- whether v is what frt.rule.NAME { … } returned.
function rule.is(v)
  return type(v) == "table" and type(v.make) == "function" and type(v.rule) == "string"
end

return setmetatable(rule, { __index = function(_, name)
  local make = kinds[name]
  if not make then err.user("no gradient rule '%s'%s", tostring(name), err.hint(name, kinds)) end
  return make
end })
