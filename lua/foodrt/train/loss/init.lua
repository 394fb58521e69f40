--- loss: what training makes small. A loss is a module to call: loss(logits, labels) -> its mean, a scalar tensor;
--- loss:terms(logits, labels) -> (sum, weight), what a trainer adds up (base.lua). Labels are i32 [N] with class numbers
--- from 1 (0: missing, of weight 0), or soft targets f32 [N, K].
---   local loss = frt.loss.focal { gamma = 2, alpha = 1 }
---   loss(model(x), labels):backward()
---
--- A recipe's `loss` may also be any module of one's own (with parameters, which are trained, saved and resumed; with a
--- method `terms` it says its weight), or a plain function, whose value is a mean over the photos of a batch.
local T = require "foodrt.tensor"
local base, module = require "foodrt.train.loss.base", require "foodrt.nn.module"
local err, line, opt = require "foodrt.core.err", require "foodrt.core.line", require "foodrt.core.opt"

local KINDS = { "cross_entropy", "focal", "bce", "mse", "kl" }
local loss = {}
for _, name in ipairs(KINDS) do loss[name] = require("foodrt.train.loss." .. name) end

--- frt.loss.define(spec, o): a kind of loss of one's own, see foodrt.train.loss.base.
loss.define, loss.REDUCTION = base.define, base.REDUCTION

-- --- what a trainer asks of a loss --------------------------------------------------------------------------
local function is_scalar(t)
  return T.is(t) and t:numel() == 1
end

-- A plain function, or a loss that is a sum or one number by itself: a mean of weight n.
local function plain(fn, logits, target, batch)
  local user = type(fn) == "function" and line.is_user(fn)
  local value = user and line.user(fn, logits, target, batch) or fn(logits, target, batch)
  if not is_scalar(value) then err.user("recipe: the loss must be one number, got %s", opt.show(value)) end
  return { mean = value, weight = batch.n }
end

--- a batch's part of the loss: { sum or mean (tensors []), weight (a number or a tensor []) }. loss.sum and loss.mean give the
--- other of the two.
--- in   fn      a loss, a module, or a function (logits, target, batch) -> scalar
---      batch   { n = photos, … }
function loss.part(fn, logits, target, batch)
  if type(fn) == "function" or rawget(fn, "reduction") == "sum" or rawget(fn, "reduction") == "none" or not fn.terms then
    return plain(fn, logits, target, batch)
  end
  local sum, weight
  if line.is_user(fn.terms) then
    sum, weight = line.user(fn.terms, fn, logits, target, batch)
  else
    sum, weight = fn:terms(logits, target, batch)
  end
  if not is_scalar(sum) then err.user("recipe: the loss must be one number, got %s", opt.show(sum)) end
  if not is_scalar(weight) and not (type(weight) == "number" and weight > 0 and weight < math.huge) then
    err.user("recipe: 'terms' of the loss must return its sum and its weight, the weight is %s", opt.show(weight))
  end
  return { sum = sum, weight = weight }
end

--- a part's mean, a tensor [].
function loss.mean(part)
  if not part.mean then part.mean = base.mean(part.sum, part.weight) end
  return part.mean
end

--- a part's sum, a tensor [].
function loss.sum(part)
  if not part.sum then part.sum = part.mean * part.weight end
  return part.sum
end

--- whether v can be a recipe's loss.
function loss.is(v)
  return type(v) == "function" or module.is(v) or type(v) == "table" and (getmetatable(v) or {}).__call ~= nil
end

--- what a loss is called: "focal (gamma 2, alpha 1)".
function loss.describe(v)
  if type(v) == "function" then return "a function of the recipe" end
  if type(v) == "table" and type(rawget(v, "describe")) == "string" then return rawget(v, "describe") end
  return module.is(v) and "a module of the recipe" or "a function of the recipe"
end

--- makes the parameters of a loss that has some, by calling it once on values that are never computed.
--- in   classes  names of the classes; a loss with a method setup(self, classes) is given them first
---      values   false: without values
function loss.build(fn, classes, seed, values)
  if not module.is(fn) or rawget(fn, "_ready") then return end
  rawset(fn, "_ready", true)
  if type(fn.setup) == "function" then fn:setup(classes) end
  if fn._built then return end
  local x, y = T.api.zeros { 1, #classes }, T.var { shape = { 1 }, dtype = "i32", data = { 1 } }
  fn:build({ classes = #classes, seed = seed, values = values }, x, y, { n = 1 })
  T.forget()
end

return setmetatable(loss, { __index = function(_, name)
  local names = {}
  for _, kind in ipairs(KINDS) do names[kind] = true end
  err.user("no loss '%s'%s", tostring(name), err.hint(name, names))
end })
