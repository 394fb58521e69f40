--- metrics: accuracy and its relatives, gathered over photos (never means of batch means).
---   local m = frt.metrics.new { "top1", "top5", "f1" }
---   m:add(logits, labels, loss);  m:values()  -->  { top1 = 0.81, top5 = 0.97, f1 = 0.80, loss = 0.61 }
---
---     top1, top5  share of photos whose class is among the 1 or 5 highest logits (of equal ones the first counts)
---     f1          mean over classes of 2 TP / (2 TP + FP + FN), over classes that occur as label or prediction;
---                 0 where the class was never hit
---     loss        mean over photos
--- from scikit-learn: f1_score(average = "macro", zero_division = 0)
local lib = require "foodrt.core.ffi"
local T = require "foodrt.tensor"
local err, opt, lists = require "foodrt.core.err", require "foodrt.core.opt", require "foodrt.core.lists"
local ffi, C = lib.ffi, lib.C

local metrics = {}
local Metrics = {}
Metrics.__index = Metrics

local KNOWN = { top1 = true, top5 = true, f1 = true, loss = true }

local function clear(self)
  self.n, self.n_loss, self.loss_sum, self.top1, self.top5 = 0, 0, 0, 0, 0
  if self.confusion then ffi.fill(self.confusion, self.classes * self.classes * 4) end
  return self
end

--- frt.metrics.new { "top1", "top5", "f1" }: an accumulator of these; loss is always there.
function metrics.new(names)
  if type(names) ~= "table" then err.user("metrics: expected a list of names, got %s", opt.show(names)) end
  local want = {}
  lists.length("metrics", nil, names)
  for i, name in ipairs(names) do
    if not KNOWN[name] then err.user("no metric '%s'%s", tostring(name), err.hint(name, KNOWN)) end
    want[i] = name
  end
  return clear(setmetatable({ names = want }, Metrics))
end

--- forgets what was added.
function Metrics:reset()
  return clear(self)
end

-- a tensor's values; row-major
local function floats(t, n)
  if t.dtype ~= "f32" then t = t:to "f32" end
  if C.frt_is_var(t.ref) == 0 and C.frt_has_value(t.ref) == 0 then T.api.realize(t) end
  local buffer = ffi.new("float[?]", n)
  lib.check(C.frt_read(t.ref, buffer, n * 4))
  return buffer
end

-- class numbers (from 1) as an array from 0, and how many
local function numbers(labels, n)
  if T.is(labels) then
    if labels.dtype ~= "i32" then err.user("metrics: labels must be i32, got %s", labels.dtype) end
    n = n or labels:numel()
    local buffer = ffi.new("int32_t[?]", n)
    lib.check(C.frt_read(labels.ref, buffer, n * 4))
    return buffer, n
  end
  if type(labels) == "table" then
    n = n or #labels
    local buffer = ffi.new("int32_t[?]", n)
    for i = 1, n do buffer[i - 1] = labels[i] end
    return buffer, n
  end
  return labels, n
end

-- how many logits of the row come before that of class y (0-based), and which class is first
local function rank(row, k, y)
  local own, before, best, top = row[y], 0, 0, -math.huge
  for j = 0, k - 1 do
    local v = row[j]
    if v > top then best, top = j, v end
    if v > own or (v == own and j < y) then before = before + 1 end
  end
  if own ~= own then before = math.huge end  -- not a number: never right
  return before, best
end

-- reused: a metric of thousands of batches allocates once
local function confusion_of(self, k)
  if self.classes ~= k then
    if self.classes then err.user("metrics: logits of %d classes after logits of %d", k, self.classes) end
    self.classes, self.confusion = k, ffi.new("uint32_t[?]", k * k)
  end
  return self.confusion
end

--- adds a batch.
--- in   logits  f32 [N, K], or a pointer (then o = { n, classes })
---      labels  i32 [N] with numbers from 1, or a table, or a pointer; a photo whose label is 0 is left out
---      loss    mean over the batch as a number or tensor, or nil
function Metrics:add(logits, labels, loss, o)
  o = opt.check({ "metrics add", n = { "integer", nil, min = 0 }, classes = { "integer", nil, min = 1 } }, o)
  local n, k = o.n, o.classes
  if T.is(logits) then
    local s = logits.shape
    if #s ~= 2 then err.user("metrics: logits must be [N, K], got [%s]", table.concat(s, ", ")) end
    n, k = math.min(n or s[1], s[1]), s[2]
    logits = floats(logits, s[1] * s[2])
  elseif not n or not k then
    err.user "metrics: a pointer needs { n = photos, classes = K }"
  end
  local y = numbers(labels, T.is(labels) and labels:numel() or n)
  local matrix, counted = confusion_of(self, k), 0
  for i = 0, n - 1 do
    local label = y[i]
    if label < 0 or label > k then err.user("metrics: label %d is not a class number from 1 to %d", label, k) end
    if label > 0 then
      local before, best = rank(logits + i * k, k, label - 1)
      counted = counted + 1
      if before < 1 then self.top1 = self.top1 + 1 end
      if before < 5 then self.top5 = self.top5 + 1 end
      local cell = (label - 1) * k + best
      matrix[cell] = matrix[cell] + 1
    end
  end
  self.n = self.n + counted
  if loss ~= nil and counted > 0 then
    if T.is(loss) then loss = loss:item() end
    self.loss_sum, self.n_loss = self.loss_sum + loss * counted, self.n_loss + counted
  end
  return self
end

--- precision, recall, f1 and support of every class that occurs: { [class] = { … } }.
function Metrics:per_class()
  local k, m, out = self.classes or 0, self.confusion, {}
  for c = 0, k - 1 do
    local hit, predicted, support = m[c * k + c], 0, 0
    for j = 0, k - 1 do
      predicted, support = predicted + m[j * k + c], support + m[c * k + j]
    end
    if predicted + support > 0 then
      out[c + 1] = { precision = predicted > 0 and hit / predicted or 0, recall = support > 0 and hit / support or 0,
        f1 = 2 * hit / (predicted + support), support = support }
    end
  end
  return out
end

--- rows are labels, columns are predictions, both from 1.
function Metrics:confusion_matrix()
  local k, out = self.classes or 0, {}
  for r = 1, k do
    out[r] = {}
    for c = 1, k do out[r][c] = self.confusion[(r - 1) * k + c - 1] end
  end
  return out
end

local function macro_f1(self)
  local sum, n = 0, 0
  for _, c in pairs(self:per_class()) do sum, n = sum + c.f1, n + 1 end
  return n > 0 and sum / n or 0
end

--- what was gathered: the metrics asked for, loss (when losses were added) and n, the number of photos.
function Metrics:values()
  local out, n = { n = self.n }, math.max(self.n, 1)
  for _, name in ipairs(self.names) do
    if name == "f1" then
      out.f1 = macro_f1(self)
    elseif name ~= "loss" then
      out[name] = self[name] / n
    end
  end
  if self.n_loss > 0 then out.loss = self.loss_sum / self.n_loss end
  return out
end

-- one metric by itself: frt.metrics.top1(logits, labels) -> a number
for _, name in ipairs { "top1", "top5", "f1" } do
  metrics[name] = function(logits, labels)
    return metrics.new({ name }):add(logits, labels):values()[name]
  end
end

return setmetatable(metrics, { __index = function(_, name)
  err.user("no metric '%s'%s", tostring(name), err.hint(name, KNOWN))
end })
