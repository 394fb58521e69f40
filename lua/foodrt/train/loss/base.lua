--- loss.base: what every loss shares. A loss is a module (parameters, buffers, state_dict); calling it gives its mean, and
--- loss:terms(…) gives (sum, weight) of which that mean is sum / weight: what is added up over batches, micro-batches and
--- validation, so that no number depends on how photos were put into batches.
---
---   base.define({ "hinge", margin = { "number", 1 }, reduction = base.REDUCTION }, {
---     rows = function(self, logits, target) … return each, weights, n end,       -- see below
---     describe = function(self) return "hinge" end })
---
--- rows gives one number per photo, each [N], already times its weight; weights [N], or nil where each counts n / N; and n,
--- the weight of all then. A photo whose label is missing has weight 0 and gives no gradient.
local T, R = require "foodrt.tensor", require "foodrt.tensor.record"
local module = require "foodrt.nn.module"
local err, line, opt = require "foodrt.core.err", require "foodrt.core.line", require "foodrt.core.opt"
local lists = require "foodrt.core.lists"

local base = {}

base.REDUCTION = { "string", "mean", one_of = { "mean", "sum", "none" } }

-- A weight of 0 divides a sum of 0: the loss is 0 then, and so is its gradient.
local LEAST = 1e-30

--- sum / weight, and 0 where the weight is 0.
--- in   weight  a number (not 0) or a tensor []
function base.mean(sum, weight)
  if type(weight) == "number" then return sum * (1 / weight) end
  return sum / weight:maximum(LEAST)
end

-- --- targets ----------------------------------------------------------------------------------------------
local function check_pair(self, logits, target)
  if not T.is(logits) then err.user("%s: logits must be a tensor, got %s", self.name, opt.show(logits)) end
  if not T.is(target) then err.user("%s: the target must be a tensor, got %s", self.name, opt.show(target)) end
end
base.check_pair = check_pair

--- whether targets are class numbers (else soft, [N, K]); photos; classes. Shapes must fit logits [N, K].
function base.hard(self, logits, target)
  check_pair(self, logits, target)
  local s, t = logits.shape, target.shape
  if #s ~= 2 then err.user("%s: logits must be [N, K], got [%s]", self.name, table.concat(s, ", ")) end
  if target.dtype == "i32" then
    if #t ~= 1 or t[1] ~= s[1] then
      err.user("%s: labels must be [%d], got [%s]", self.name, s[1], table.concat(t, ", "))
    end
    return true, s[1], s[2]
  end
  if #t ~= 2 or t[1] ~= s[1] or t[2] ~= s[2] then
    err.user("%s: soft targets must be [%d, %d] (class numbers are i32), got %s [%s]", self.name, s[1], s[2],
      target.dtype, table.concat(t, ", "))
  end
  return false, s[1], s[2]
end

--- labels that are class numbers throughout, and known [N], 1 where there is a label and 0 where it is missing (0 or less);
--- known is nil where a loader says that none is missing (labels.complete).
function base.known(labels, like)
  if rawget(labels, "complete") then return labels, nil end
  local known = labels:gt(0)
  local safe = labels:to("f32"):maximum(1):to "i32"
  if like.dtype ~= "f32" then known = known:to(like.dtype) end
  return safe, known
end

--- value of the labelled class, [N].
function base.picked(x, labels, n)
  return x:gather(2, labels:reshape { n, 1 }):reshape { n }
end

-- --- class weights ----------------------------------------------------------------------------------------
-- weights by name { pizza = 2, ["*"] = 1 } as a list in the order of the classes' names
local function in_order(self, key, values, names)
  local known, out = {}, {}
  for i, name in ipairs(names) do
    known[name] = true
    out[i] = values[name] or values["*"]
    if not out[i] then
      err.user("%s: '%s' has no number for class '%s' ([\"*\"] covers the rest)", self.name, key, name)
    end
  end
  for name in pairs(values) do
    if not known[name] and name ~= "*" then
      err.user("%s: '%s' has a number for '%s', which is no class%s", self.name, key, name, err.hint(name, known))
    end
  end
  return out
end

local function by_name(values)
  return type(values) == "table" and not T.is(values) and type(next(values)) == "string"
end

-- "a10" after "a9": every run of digits counts as the number it is
local function natural(name)
  return (name:gsub("%d+", function(digits) return ("%015d"):format(tonumber(digits)) end))
end

--- what to say of class weights given by position, where the classes' order (that of their bytes) isn't the one people count
--- in; nil where it is, or they have names.
function base.order_note(key, values, names)
  if by_name(values) or type(names) ~= "table" then return nil end
  for i = 2, #names do
    if natural(names[i - 1]) > natural(names[i]) then
      return ("'%s' is by position, and class %d is '%s', class %d '%s' (names are sorted as text): %s = { [\"%s\"] = … } "
        .. "goes by name"):format(key, i - 1, names[i - 1], i, names[i], key, names[i])
    end
  end
end

--- tells a loss the names of its classes, in order: weights by name are known from here on.
--- in   names  a list, or their number where a step is only planned
function base.name_classes(self, key, names)
  if not by_name(self[key]) then return end
  local values = {}
  if type(names) == "table" then
    values = in_order(self, key, self[key], names)
  else
    for i = 1, names do values[i] = 1 end
  end
  if not self._named or table.concat(self._named, ",") ~= table.concat(values, ",") then
    rawset(self, "_named", values)
    rawset(self, "_row", nil)
  end
end

-- The numbers of a tensor that the recipe gave as an option: no value of the graph that may be under way.
local function constant(t)
  local recording = R.recording
  R.recording = nil
  local ok, list = pcall(t.totable, t)
  R.recording = recording
  if not ok then error(list, 0) end
  return list
end

--- one weight per class as a row [1, K] in the dtype of `like`; their number is checked when K is known.
function base.class_row(self, key, classes, like)
  local row = self._row
  if not row or row.classes ~= classes or row.dtype ~= like.dtype then
    local values = self[key]
    if by_name(values) then
      values = self._named
      if not values then
        err.user("%s: '%s' goes by name: loss:name_classes { \"pizza\", … } says their order", self.name, key)
      end
    end
    if T.is(values) then values = constant(values) end
    if #values ~= classes then
      err.user("%s: '%s' has %d numbers, there are %d classes", self.name, key, #values, classes)
    end
    local t = T.var { shape = { 1, classes }, dtype = like.dtype, data = values }
    row = { classes = classes, dtype = like.dtype, tensor = t }
    rawset(self, "_row", row)
  end
  return row.tensor
end

--- refuses class weights that are no numbers from 0: a list by position, or a table by name.
function base.check_row(name, key, values)
  if values == nil or T.is(values) then return end
  if not by_name(values) then lists.length(name, key, values) end
  for k, v in pairs(values) do
    if not lists.finite(v) or v < 0 then
      err.user("%s: '%s' must hold numbers from 0, got %s at %s", name, key, opt.show(v), tostring(k))
    end
    if by_name(values) and type(k) ~= "string" then
      err.user("%s: '%s' must be by position or by name, got both: [%s]", name, key, tostring(k))
    end
  end
end

-- --- a kind of loss ---------------------------------------------------------------------------------------
local function terms(self, logits, target, batch)
  local each, weights, n = self.rows(self, logits, target, batch)
  return each:sum(), weights and weights:sum() or n
end

local function forward(self, logits, target, batch)
  if self.reduction == "none" then return (self.rows(self, logits, target, batch)) end
  local sum, weight = terms(self, logits, target, batch)
  if self.reduction == "sum" then return sum end
  return base.mean(sum, weight)
end

local function show(loss)
  return loss.describe
end

--- a kind of loss: returns its constructor.
--- in   spec  schema of its options; the first entry is its name
---      o     rows(self, logits, target, batch) -> each [N], weights [N] or nil, n
---            describe(self) -> text; check(self): of the options; more methods
function base.define(spec, o)
  local class, construct, make
  class, construct = module.class(spec, function(self)
    if o.check then o.check(self) end
    rawset(self, "name", spec[1])
    rawset(self, "describe", o.describe(self))
    rawset(self, "remake", make)
    rawset(self, "_built", true)  -- it has no parameters
    rawset(self, "_path", "")
  end)
  for key, v in pairs(o) do
    if key ~= "check" and key ~= "describe" then class[key] = v end
  end
  class.forward = forward
  -- (sum, weight), both of what the trainer adds up; a loss that is a sum by itself has no weight to give
  function class:terms(logits, target, batch) return line.call(terms, self, logits, target, batch) end
  function class:name_classes(names)
    if o.by_class then base.name_classes(self, o.by_class, names) end
  end
  function class:order_note(names)
    return o.by_class and type(self[o.by_class]) == "table" and base.order_note(o.by_class, self[o.by_class], names) or nil
  end
  function make(given)
    local self = construct(given)
    rawset(self, "spec", spec)
    local mt = getmetatable(self)
    if mt.__tostring ~= show then
      mt.__tostring = show
      opt.guard(mt)
    end
    return self
  end
  return make
end

return base
