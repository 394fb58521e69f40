--- metric.registry: what can be measured, by name: which counts it needs, what they say, which way is better.
---   frt.metrics.define { "balanced", needs = { "tp", "support" }, value = function(c, classes) … return number end }
---   metrics = { "top1", "balanced" },  monitor = "val.balanced"
---
--- A metric of one's own may count something itself: count = { far = function(b) return (…):sum() end } is called for every
--- batch with what metric/counts.lua lists (b.logits, b.labels, b.pred, b.known …) and returns a tensor [] or [K] that is added
--- up on the device; value sees the sums as numbers (c.far, c.n).
local err, opt = require "foodrt.core.err", require "foodrt.core.opt"
local counts = require "foodrt.train.metric.counts"

local registry = {}
local known = {}

local Metric = {}
Metric.__index = Metric
Metric.__tostring = function(self) return self.name end

local SPEC = { "metric", "name", name = "string",
  direction = { "string", "max", "whether more or less is better", one_of = { "max", "min" } },
  digits = { "integer", 3, "after the point, where it is shown", min = 0, max = 9 },
  needs = { "list", {}, "names of counts, see metric/counts.lua", of = "string" },
  count = { "table", {}, "counts of its own: name = function(batch) -> tensor [] or [K]" },
  value = "function" }

--- registers a metric; returns it. A second one of the name takes the place of the first.
function registry.define(given)
  local self = opt.check(SPEC, given)
  if not self.name:match "^[%a_][%w_]*$" then
    err.user("metric: 'name' must be letters, digits and '_', got '%s'", self.name)
  end
  for _, key in ipairs(self.needs) do
    if not counts.NAMES[key] then err.user("metric '%s': no count '%s'%s", self.name, key, err.hint(key, counts.NAMES)) end
  end
  self.counted = {}
  for key, fn in pairs(self.count) do
    if type(fn) ~= "function" then
      err.user("metric '%s': count.%s must be a function, got %s", self.name, tostring(key), opt.show(fn))
    end
    self.counted[#self.counted + 1] = key
  end
  table.sort(self.counted)
  known[self.name] = setmetatable(self, Metric)
  return self
end

--- the sums that a metric sees: shared ones by name, its own too.
function Metric:pick(c)
  local out = { n = c.n }
  for _, key in ipairs(self.needs) do out[key] = c[key] end
  for _, key in ipairs(self.counted) do out[key] = c[self.name .. "." .. key] end
  return out
end

--- a metric by its name; metrics themselves are given back.
function registry.get(name)
  if getmetatable(name) == Metric then return name end
  local m = known[name]
  if not m then err.user("no metric '%s'%s", tostring(name), err.hint(name, known)) end
  return m
end

--- whether there is a metric of this name.
function registry.has(name)
  return known[name] ~= nil
end

--- all that there are, by name; for hints and completion.
registry.known = known

-- --- those that come with foodrt --------------------------------------------------------------------------
local function share(c, key)
  return c[key] / math.max(c.n, 1)
end

registry.define { "top1", needs = { "hits1" }, value = function(c) return share(c, "hits1") end }
registry.define { "top5", needs = { "hits5" }, value = function(c) return share(c, "hits5") end }
registry.define { "loss", direction = "min", value = function() return 0 end }  -- the meter knows it

--- precision, recall, f1 and support of every class that occurs as label or prediction: { [class] = { … } }.
--- in   c  sums tp, predicted, support, lists by class
function registry.per_class(c)
  local out = {}
  for k = 1, #(c.support or {}) do
    local hit, predicted, support = c.tp[k], c.predicted[k], c.support[k]
    if predicted + support > 0 then
      out[k] = { precision = predicted > 0 and hit / predicted or 0, recall = support > 0 and hit / support or 0,
        f1 = 2 * hit / (predicted + support), support = support }
    end
  end
  return out
end

registry.define { "f1", needs = { "tp", "predicted", "support" }, value = function(c)
  local sum, n = 0, 0
  for _, class in pairs(registry.per_class(c)) do sum, n = sum + class.f1, n + 1 end
  return n > 0 and sum / n or 0
end }

return registry
