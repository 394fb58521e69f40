--- schedule.accumulate: an update of k micro-batches. Each adds its gradients of *sums*, and the weights of those sums; the
--- update divides once. So an update equals that of one batch of all photos, whatever the weights of photos and classes are
--- (but for batch norms, which see a micro-batch at a time).
---
--- They are added in pairs, the pairs in pairs: micro-batch i merges with what the binary digits of i say, as a counter carries.
--- The order does not depend on who computes them: it is the one that several processes would use. It costs one set of
--- gradients per level: log2(k), rounded up.
local rng = require "foodrt.core.rng"
local T = require "foodrt.tensor"
local base = require "foodrt.train.loss.base"
local err, line = require "foodrt.core.err", require "foodrt.core.line"

local Accumulate = {}
Accumulate.__index = Accumulate

-- --- the levels -------------------------------------------------------------------------------------------
-- Variables of group g at a level: sums of gradients by parameter, and of weights where those are tensors.
local function slot(self, s, g, level, with_weight)
  if 2 ^ level == self.k then level = 0 end  -- all of the update: the levels below are free
  self.slots[g] = self.slots[g] or {}
  local found = self.slots[g][level]
  if not found then
    found = { grads = {} }
    for i, e in ipairs(s.optimizer.entries) do
      found.grads[i] = T.var { shape = e.tensor.shape, dtype = e.tensor.dtype, name = e.name .. ".sum" }
    end
    self.slots[g][level] = found
  end
  if with_weight and not found.weight then found.weight = T.var { shape = {}, name = "weight.sum" } end
  return found
end

local function scalar(w)
  return T.is(w) and (w.dtype == "f32" and w or w:to "f32"):reshape {} or w
end

local function kept_at(self, g, level)
  return self.slots[g][2 ^ level == self.k and 0 or level]
end

-- Levels that hold something while k micro-batches are added.
local function n_levels(k)
  return math.ceil(math.log(k) / math.log(2) - 1e-9)
end

-- Adds a group's gradients: what is there at levels below is older, so it stands first.
local function carry(self, s, g, group, count)
  local grads, weight, level = group.grads, scalar(group.weight), 0
  local tensor = T.is(weight)
  while count % 2 == 1 do
    local older = slot(self, s, g, level, tensor)
    local sums = {}
    for i, v in ipairs(grads) do sums[i] = older.grads[i] + v end
    grads = sums
    if tensor then weight = older.weight + weight end
    level, count = level + 1, math.floor(count / 2)
  end
  local to = slot(self, s, g, level, tensor)
  for i, v in ipairs(grads) do to.grads[i]:assign(v) end
  if tensor then to.weight:assign(weight) end
end

-- What `count` micro-batches left in the levels, added up: the youngest are at the lowest.
local function total(self, g, count)
  local grads, weight, level = nil, nil, 0
  while count > 0 do
    if count % 2 == 1 then
      local older = kept_at(self, g, level)
      local sums = {}
      for i, v in ipairs(older.grads) do sums[i] = grads and v + grads[i] or v end
      grads, weight = sums, older.weight and (weight and older.weight + weight or older.weight)
    end
    level, count = level + 1, math.floor(count / 2)
  end
  return grads, weight
end

-- --- recording --------------------------------------------------------------------------------------------
local function record_micro(self, s, batch, count)
  local out = s:record(batch, "sums")
  self.n_groups = #out.groups
  for g, group in ipairs(out.groups) do line.call(carry, self, s, g, group, count) end
  -- not finite in any micro-batch: not finite in the update
  self.guard = self.guard or T.var { shape = {}, name = "loss.guard" }
  local bad = out.loss:detach():reshape {} * 0
  self.guard:assign(count == 0 and bad or self.guard + bad)
  return out
end

local function record_update(self, s, count, weights, o)
  local grads
  for g = 1, self.n_groups do
    local sums, weight = line.call(total, self, g, count)
    for i, v in ipairs(sums) do
      local one = base.mean(v, weight or weights[g])
      sums[i] = grads and grads[i] + one or one
    end
    grads = sums
  end
  return s:apply(grads, o, self.guard)
end

-- --- running ----------------------------------------------------------------------------------------------
local function clear(self)
  self.count, self.photos, self.weights, self.losses, self.seen = 0, 0, {}, {}, {}
end

local function update(self, s, o)
  local norm = s:attempt(function()
    local made = record_update(self, s, self.count, self.weights, o)
    s.api.realize(made)
    return made
  end)
  clear(self)
  return norm
end

function Accumulate:batch(s, batch, o)
  rng.begin(o.step, self.photos)
  local out = s:attempt(function()
    local made = record_micro(self, s, batch, self.count)
    s.api.realize(made.loss)
    return made
  end)
  for g, group in ipairs(out.groups) do
    if type(group.weight) == "number" then self.weights[g] = (self.weights[g] or 0) + group.weight end
  end
  out.groups = nil
  self.count, self.photos = self.count + 1, self.photos + batch.n
  self.losses[self.count], self.seen[self.count] = out.loss, batch.paths
  if self.count < self.k and not o.last then return out, false end
  out.norm = update(self, s, o)
  return out, true
end

function Accumulate:flush(s, o)
  if self.count > 0 then return update(self, s, o) end
end

--- the first micro-batch of the update at hand whose loss is not finite: the loss, and the paths of its photos.
function Accumulate:culprit()
  for i, loss in ipairs(self.losses) do
    local v = loss:item()
    if v - v ~= 0 then return v, self.seen[i] end
  end
end

-- The micro-batch that carries furthest takes most memory; k of them are an update.
function Accumulate:plans(s, batch)
  local furthest = 2 ^ math.floor(math.log(self.k) / math.log(2) + 1e-9) - 1
  local out = record_micro(self, s, batch, furthest)
  local weights = {}
  for g, group in ipairs(out.groups) do
    weights[g] = type(group.weight) == "number" and group.weight * self.k or nil
    for level = 0, n_levels(self.k) - 1 do slot(self, s, g, level, T.is(group.weight)) end
  end
  local step = s.plan(out.loss)
  return { step = step, update = s.plan(record_update(self, s, self.k, weights, {})) }
end

--- bytes of the sums: a set of gradients per level and group.
function Accumulate:bytes(s)
  local n = 0
  for _, e in ipairs(s.optimizer.entries) do n = n + e.tensor:numel() * 4 end
  return n * n_levels(self.k) * (self.n_groups or 1)
end

-- --- state ------------------------------------------------------------------------------------------------
local function each_kept(self, s, fn)
  for g = 1, self.n_groups do
    local count, level = self.count, 0
    while count > 0 do
      local kept = count % 2 == 1 and kept_at(self, g, level)
      for i, e in ipairs(kept and s.optimizer.entries or {}) do fn(("%d.%d.%s"):format(g, level, e.name), kept.grads[i]) end
      if kept and kept.weight then fn(("%d.%d/weight"):format(g, level), kept.weight) end
      level, count = level + 1, math.floor(count / 2)
    end
  end
  fn("guard", self.guard)
end

--- what a checkpoint in the middle of an update needs: sums by name, and { count, photos, weights, groups }.
function Accumulate:state(s)
  if self.count == 0 then return nil end
  local tensors, weights = {}, {}
  each_kept(self, s, function(name, t) tensors[name] = t end)
  for g = 1, self.n_groups do weights[g] = self.weights[g] or 0 end
  return tensors, { count = self.count, photos = self.photos, weights = weights, groups = self.n_groups }
end

function Accumulate:load(tensors, info, s)
  clear(self)
  self.count, self.photos, self.n_groups = info.count, info.photos, info.groups
  self.guard = self.guard or T.var { shape = {}, name = "loss.guard" }
  for g = 1, info.groups do
    self.weights[g] = info.weights[g] > 0 and info.weights[g] or nil
    local count, level = info.count, 0
    while count > 0 do
      if count % 2 == 1 then slot(self, s, g, level, tensors[("%d.%d/weight"):format(g, level)] ~= nil) end
      level, count = level + 1, math.floor(count / 2)
    end
  end
  each_kept(self, s, function(name, t)
    local src = tensors[name]
    if not src then err.user("the checkpoint lacks the gradient sum '%s'", name) end
    t:copy_(src)
  end)
  s.api.realize()
end

--- takes the counters back; the variables are written by plans that run to their end or not at all.
function Accumulate:mark()
  local n = self.n_groups
  return function() self.n_groups = n end
end

return { new = function(k)
  local self = setmetatable({ k = k, slots = {} }, Accumulate)
  clear(self)
  return self
end }
