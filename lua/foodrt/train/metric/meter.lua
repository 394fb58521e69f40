--- metric.meter: sums over batches that stay on the device: a loss with its weight, and what metrics count. A batch is added
--- by nodes of the plan that computes it; the numbers are looked at when somebody asks.
---   local m = meter.new { metrics = { "top1", "f1" }, classes = 3 }
---   m:record { logits = logits, labels = y, part = part };  frt.realize();  print(m:values().top1)
---
--- Numbers are kept as a sum and what its rounding lost (Kahan 1965), so that a million photos add up as in twice the digits;
--- counts per class as plain floats, which are exact up to 2^24 photos of a class.
local T = require "foodrt.tensor"
local R = require "foodrt.tensor.record"
local losses = require "foodrt.train.loss"
local registry, counts = require "foodrt.train.metric.registry", require "foodrt.train.metric.counts"
local err, line, opt = require "foodrt.core.err", require "foodrt.core.line", require "foodrt.core.opt"

local meter = {}
local record
local Meter = {}
Meter.__index = Meter

--- in   o.metrics    names of metrics, or metrics; nil: only a loss is added up
---      o.per_class  count by class even where no metric needs it
function meter.new(o)
  local self = setmetatable({ metrics = {}, wanted = {}, order = {}, vectors = {} }, Meter)
  local function want(key, fn)
    if self.wanted[key] == nil then
      self.wanted[key], self.order[#self.order + 1] = fn or true, key
    end
  end
  if o.metrics then want "n" end
  for i, given in ipairs(o.metrics or {}) do
    local m = registry.get(given)
    self.metrics[i] = m
    for _, key in ipairs(m.needs) do want(key) end
    for _, key in ipairs(m.counted) do want(m.name .. "." .. key, m.count[key]) end
  end
  if o.per_class then
    for _, key in ipairs { "support", "predicted", "tp" } do want(key) end
  end
  return self
end

local LEADING = { "loss", "weight", "empty" }  -- of the loss: its sum, its weight, batches without any weight

local function variable(shape, name)
  local t = T.var { shape = shape, name = "metric." .. name }
  return t
end

-- What is one number per batch is added up in one vector on the device, what is known beforehand (photos, where none lacks its
-- label) here, and what is a list in a vector of its own.
local function prepare(self, view, found)
  self.scalars, self.at, self.host = 0, {}, {}
  for _, key in ipairs(LEADING) do
    if key == "loss" or T.is(found[key]) then self.scalars, self.at[key] = self.scalars + 1, self.scalars + 1 end
  end
  for _, key in ipairs(self.order) do
    local t = found[key]
    if type(t) ~= "number" and #t.shape == 0 then
      self.scalars, self.at[key] = self.scalars + 1, self.scalars + 1
    elseif type(t) ~= "number" then
      self.vectors[key] = variable(t.shape, key)
    end
  end
  self.classes = view and view.classes or self.classes
  self.sum, self.rest = variable({ math.max(self.scalars, 1) }, "sums"), variable({ math.max(self.scalars, 1) }, "rest")
  if self.pending then self:load(self.pending) end
end

local function counted(self, view, key)
  local fn = self.wanted[key]
  if fn == true then return view[key] end
  local t = fn(view)
  if not T.is(t) or t.dtype ~= "f32" or #t.shape > 1 then
    err.user("metric '%s': a count must be f32 [] or [K], got %s", key, T.is(t) and t.dtype .. " " .. opt.show(t) or opt.show(t))
  end
  return t
end

local function one(v)
  if v.dtype ~= "f32" then v = v:to "f32" end
  return v:reshape { 1 }
end

-- s + x, and what rounding loses of it
local function add(self, x)
  local s, c = self.sum, self.rest
  local y = x - c
  local t = s + y
  c:assign((t - s) - y)
  s:assign(t)
end

--- records a batch: its nodes go into the plan of whatever is realized next.
--- in   b.logits, b.labels  [N, K], and i32 [N] from 1; nil: only the loss is added
---      b.part              of the loss (loss.part), or nil
function Meter:record(b)
  line.call(record, self, b)
end

function record(self, b)
  local view, found, parts = b.logits and counts.view(b.logits, b.labels), {}, {}
  if view and self.classes and self.at and view.classes ~= self.classes then
    err.user("metrics: logits of %d classes after logits of %d", view.classes, self.classes)
  end
  if not view and #self.order > 0 then err.user "metrics: a batch has no logits" end
  for _, key in ipairs(view and self.order or {}) do found[key] = counted(self, view, key) end
  if b.part then
    local w = b.part.weight
    found.loss, found.weight, found.empty = losses.sum(b.part), w, T.is(w) and w:le(0) or 0
  end
  if not self.at then prepare(self, view, found) end
  for key, v in pairs(found) do
    if type(v) == "number" then
      self.host[key] = (self.host[key] or 0) + v
    elseif self.vectors[key] then
      self.vectors[key]:assign(self.vectors[key] + v)
    else
      parts[self.at[key]] = one(v)
    end
  end
  for i = 1, self.scalars do parts[i] = parts[i] or T.api.zeros { 1 } end  -- a batch without a loss
  if self.scalars > 0 then add(self, #parts == 1 and parts[1] or T.api.cat(parts, 1)) end
end

-- --- looking ----------------------------------------------------------------------------------------------
local function numbers(t)
  local buffer, _, n = R.read(t)
  local out = {}
  for i = 1, n do out[i] = buffer[i - 1] end
  return out
end

-- As a checkpoint keeps them: JSON knows no number that is not finite.
local function kept(t)
  local out = numbers(t)
  for i, v in ipairs(out) do
    if v - v ~= 0 then out[i] = tostring(v) end
  end
  return out
end

local function put(t, list)
  local values = {}
  for i, v in ipairs(list) do values[i] = tonumber(v) end
  t:write(values)
end

--- what was counted: { n, loss, weight, empty, and each count: a number, or a list of numbers }.
function Meter:counts()
  local out, state = { n = 0, loss = 0, weight = 0, empty = 0 }, self:state()
  if not state then return out end
  for key, v in pairs(state.host) do out[key] = v end
  for key, i in pairs(state.at) do out[key] = tonumber(state.sum[i]) - tonumber(state.rest[i]) end
  for key, list in pairs(state.vectors) do
    out[key] = {}
    for i, v in ipairs(list) do out[key][i] = tonumber(v) end
  end
  return out
end

--- the metrics (where any batch was added), `loss` where one was added and had a weight, n = photos with a label, empty =
--- batches without any weight.
function Meter:values()
  local c, any = self:counts(), self.at or self.pending
  local out = { n = c.n, empty = c.empty }
  for _, m in ipairs(self.metrics) do
    if m.name ~= "loss" and any then out[m.name] = m.value(m:pick(c), self.classes or 0) end
  end
  if c.weight > 0 then out.loss = c.loss / c.weight end
  return out
end

--- precision, recall, f1 and support of every class that occurs: { [class] = { … } }. The meter was made with per_class, or
--- with a metric that needs the counts of classes.
function Meter:per_class()
  return registry.per_class(self:counts())
end

--- forgets what was added.
function Meter:reset()
  self.pending = nil
  if not self.at then return self end
  self.sum:fill_(0)
  self.rest:fill_(0)
  self.host = {}
  for _, t in pairs(self.vectors) do t:fill_(0) end
  return self
end

--- bytes of the sums, for so many classes.
function Meter:bytes(classes)
  local n = 0
  for _, key in ipairs(self.order) do
    n = n + ((key == "support" or key == "predicted" or key == "tp" or self.wanted[key] ~= true) and classes or 2)
  end
  return (n + 6) * 4
end

-- --- state ------------------------------------------------------------------------------------------------
--- what was added, as lists of numbers; nil when nothing was.
function Meter:state()
  if not self.at then return self.pending end
  local out = { sum = kept(self.sum), rest = kept(self.rest), at = self.at, host = {}, vectors = {} }
  for key, v in pairs(self.host) do out.host[key] = v end
  for key, t in pairs(self.vectors) do out.vectors[key] = kept(t) end
  return out
end

--- the other way.
function Meter:load(state)
  if not self.at then
    self.pending = state
    return self
  end
  self.pending = nil
  if #state.sum ~= math.max(self.scalars, 1) then return self end  -- of other metrics
  for key, v in pairs(state.host) do self.host[key] = v end
  put(self.sum, state.sum)
  put(self.rest, state.rest)
  for key, t in pairs(self.vectors) do
    if state.vectors[key] then put(t, state.vectors[key]) end
  end
  return self
end

return meter
