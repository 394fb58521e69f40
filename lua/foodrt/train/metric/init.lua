--- metrics: accuracy and its relatives, gathered over photos (never means of batch means).
---   local m = frt.metrics.new { "top1", "top5", "f1" }
---   m:add(logits, labels, loss);  m:values()  -->  { top1 = 0.81, top5 = 0.97, f1 = 0.80, loss = 0.61, n = 500 }
---
---     top1, top5  share of photos whose class is among the 1 or 5 highest logits (of equal ones the first counts)
---     f1          mean over classes of 2 TP / (2 TP + FP + FN), over classes that occur as label or prediction;
---                 0 where the class was never hit
---     loss        mean over photos
---
--- frt.metrics.define { … } registers one of one's own (registry.lua); counts are added up on the device (meter.lua).
--- from scikit-learn: f1_score(average = "macro", zero_division = 0)
local lib = require "foodrt.core.ffi"
local T = require "foodrt.tensor"
local R = require "foodrt.tensor.record"
local registry, meter = require "foodrt.train.metric.registry", require "foodrt.train.metric.meter"
local err, opt, lists = require "foodrt.core.err", require "foodrt.core.opt", require "foodrt.core.lists"
local C, array = lib.C, require("foodrt.core.buffer").new

local metrics = { define = registry.define, get = registry.get }
local Metrics = {}
Metrics.__index = Metrics

--- frt.metrics.new { "top1", "top5", "f1" }: an accumulator of these; loss is always there.
function metrics.new(names)
  if type(names) ~= "table" then err.user("metrics: expected a list such as { \"top1\", \"f1\" }, got %s", opt.show(names)) end
  lists.length("metrics", nil, names)
  local m = meter.new { metrics = names }
  return setmetatable({ meter = m }, Metrics)
end

--- checks a list of metrics without using it: names that nobody knows are an error. Returns the metrics.
function metrics.check(names)
  local out = {}
  for i, name in ipairs(names) do out[i] = registry.get(name) end
  return out
end

--- forgets what was added.
function Metrics:reset()
  self.meter:reset()
  return self
end

local function label_tensor(labels, n, k)
  if T.is(labels) then
    if labels.dtype ~= "i32" then err.user("metrics: labels must be i32, got %s", labels.dtype) end
    labels = R.read(labels)
  end
  local first = type(labels) == "table" and 1 or 0
  local copy = array("int32_t", n)
  for i = 0, n - 1 do
    local label = labels[i + first]
    if not label or label < 0 or label > k then
      err.user("metrics: label %s is not a class number from 1 to %d", tostring(label), k)
    end
    copy[i] = label
  end
  return T.var { shape = { n }, dtype = "i32", data = copy }
end

local ADD = { "metrics add", n = { "integer", nil, min = 0 }, classes = { "integer", nil, min = 1 } }

--- adds a batch, computing what is not there yet.
--- in   logits  f32 [N, K], or a pointer to floats (then o = { n, classes })
---      labels  i32 [N] with numbers from 1, or a table, or a pointer; a photo whose label is 0 is left out
---      loss    mean over the batch as a number or tensor, or nil
function Metrics:add(logits, labels, loss, o)
  o = opt.check(ADD, o)
  local n, k = o.n, o.classes
  if T.is(logits) then
    local s = logits.shape
    if #s ~= 2 then err.user("metrics: logits must be [N, K], got [%s]", table.concat(s, ", ")) end
    n, k = s[1], s[2]
  elseif not n or not k then
    err.user "metrics: a pointer needs { n = photos, classes = K }"
  else
    local row, copy = logits, array("float", n * k)
    for i = 0, n * k - 1 do copy[i] = row[i] end
    logits = T.var { shape = { n, k }, data = copy }
  end
  local y = label_tensor(labels, n, k)
  local part
  if loss ~= nil then
    -- a mean of the photos that have a label
    local known = 0
    for i, v in ipairs(y:totable()) do known = known + (v > 0 and i > 0 and 1 or 0) end
    if type(loss) == "number" then loss = T.api.full({ 1 }, loss):sum() end
    part = known > 0 and { mean = loss, weight = known } or nil
  end
  self.meter:record { logits = logits, labels = y, part = part }
  T.api.realize()
  C.frt_var_free(y.ref)
  return self
end

--- precision, recall, f1 and support of every class that occurs: { [class] = { … } }; of metrics with f1.
function Metrics:per_class()
  return self.meter:per_class()
end

--- what was gathered: the metrics asked for, loss (when losses were added) and n, the number of photos.
function Metrics:values()
  local v = self.meter:values()
  v.empty = nil
  return v
end

-- one metric by itself: frt.metrics.top1(logits, labels) -> a number
return setmetatable(metrics, { __index = function(_, name)
  if not registry.has(name) then err.user("no metric '%s'%s", tostring(name), err.hint(name, registry.known, metrics)) end
  return function(logits, labels)
    return metrics.new({ name }):add(logits, labels):values()[name]
  end
end })
