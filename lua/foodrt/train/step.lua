--- trainer.step: records and runs training steps. One batch per update is one plan: forward, backward, clip,
--- update, averages. With accumulation each micro-batch is a plan that adds to the accumulators, and the update is another.
---   local s = step.new { model, loss, params, optimizer, averages, clip_norm, accumulate, classes, custom, run }
---   s:micro(batch)                                  -- accumulate > 1, then s:update(o)
---   s:whole(batch, { lr_scale = 1, momentum = nil }) -- accumulate = 1
local T, rng = require "foodrt.tensor", require "foodrt.core.rng"
local optim, line, opt = require "foodrt.train.optim", require "foodrt.core.line", require "foodrt.core.opt"
local err = require "foodrt.core.err"
local api = T.api

local step = {}
local Step = {}
Step.__index = Step

function step.new(o)
  return setmetatable(o, Step)
end

-- A recipe's own step is user code: its mistakes carry its lines.
local function custom(self, batch)
  local loss, logits = line.user(self.custom, self.run, batch)
  if not T.is(loss) then
    err.user("recipe: 'step' must return loss, logits; the first value is %s", opt.show(loss))
  end
  if logits ~= nil and not T.is(logits) then
    err.user("recipe: 'step' must return loss, logits; the second value is %s", opt.show(logits))
  end
  return loss, logits
end

--- loss and logits of a batch, recorded.
function Step:forward(batch)
  local loss, logits
  if self.custom then
    loss, logits = custom(self, batch)
  else
    logits = self.model(batch.x)
    step.check_logits(self.model, logits, batch.n, self.classes)
    loss = self.loss(logits, batch.y)
  end
  if not T.is(loss) or loss:numel() ~= 1 then
    err.user("recipe: the loss must be one number, got %s", opt.show(loss))
  end
  if batch.features then batch.features:give(batch, loss, logits) end
  return loss, logits
end

--- what a model must give: a row of as many numbers as there are classes for each photo.
function step.check_logits(model, logits, n, classes)
  local at = model._at:gsub(": $", "")
  if not T.is(logits) then err.at(at, "recipe: the model must give logits, got %s", opt.show(logits)) end
  local s = logits.shape
  if #s ~= 2 or s[1] ~= n or s[2] ~= classes then
    err.at(at, "recipe: the model must give logits [%d, %d] for %d photos of %d classes, got [%s]", n, classes, n, classes,
      table.concat(s, ", "))
  end
end

-- Ages of the optimizer's entries and of the averages count as steps are recorded: a step that fails takes them back.
local function ages(self)
  local out = { averages = self.averages and self.averages.t }
  for i, e in ipairs(self.optimizer.entries) do out[i] = e.t end
  return out
end

local function attempt(self, fn, ...)
  local before = ages(self)
  local ok, a, b, c = pcall(fn, self, ...)
  if ok then return a, b, c end
  T.forget()
  for i, e in ipairs(self.optimizer.entries) do e.t = before[i] end
  if self.averages then self.averages.t = before.averages end
  line.reset()
  error(a, 0)
end

local function apply(self, grads, o)
  local gscale, norm = optim.clip(grads, self.clip_norm)
  self.optimizer:update(self.params, grads, { lr_scale = o.lr_scale, momentum = o.momentum, gscale = gscale })
  if self.averages then self.averages:update() end
  return norm
end

local function record_whole(self, batch, o)
  local loss, logits = self:forward(batch)
  local norm = apply(self, api.grad(loss, self.params), o)
  return loss, logits, norm
end

local function run_whole(self, batch, o)
  local loss, logits, norm = record_whole(self, batch, o)
  if logits then
    api.realize(loss, logits, norm)
  else
    api.realize(loss, norm)
  end
  return loss, logits, norm
end

--- one update with one batch.
--- out  loss, logits, norm of the gradients: tensors that have their values
function Step:whole(batch, o)
  rng.begin(o.step, 0)
  return attempt(self, run_whole, batch, o)
end

-- --- accumulation --------------------------------------------------------------------------------------------
--- the sums of gradients, one variable per trained parameter, made on first use.
function Step:accumulators()
  if not self.sums then
    self.sums, self.weight, self.photos, self.count = {}, 0, 0, 0
    for i, e in ipairs(self.optimizer.entries) do
      self.sums[i] = T.var { shape = e.tensor.shape, dtype = e.tensor.dtype, name = e.name .. ".sum" }
    end
  end
  return self.sums
end

local function run_micro(self, batch)
  local sums = self:accumulators()
  local loss, logits = self:forward(batch)
  local grads = api.grad(loss, self.params)
  local weight = batch.n / self.batch  -- a batch with photos missing counts for less
  for i, g in ipairs(grads) do
    local share = g * weight
    sums[i]:assign(self.count == 0 and share or sums[i] + share)
  end
  if logits then
    api.realize(loss, logits)
  else
    api.realize(loss)
  end
  return loss, logits
end

--- adds a micro-batch's gradients to the sums.
function Step:micro(batch, o)
  self:accumulators()
  rng.begin(o.step, self.photos)
  local loss, logits = attempt(self, run_micro, batch)
  self.weight, self.photos, self.count = self.weight + batch.n / self.batch, self.photos + batch.n, self.count + 1
  return loss, logits
end

local function run_update(self, o)
  local grads = {}
  for i, sum in ipairs(self.sums) do grads[i] = sum * (1 / self.weight) end
  local norm = apply(self, grads, o)
  api.realize(norm)
  return norm
end

--- one update with the mean over what was added since the last one.
function Step:update(o)
  local norm = attempt(self, run_update, o)
  self.weight, self.photos, self.count = 0, 0, 0
  return norm
end

--- what a checkpoint in the middle of an update needs: the sums by name and { weight, photos, count }; nil between updates.
function Step:state()
  if not self.sums or self.count == 0 then return nil end
  local tensors = {}
  for i, e in ipairs(self.optimizer.entries) do tensors[e.name] = self.sums[i] end
  return tensors, { weight = self.weight, photos = self.photos, count = self.count }
end

--- the other way.
function Step:load_state(tensors, info)
  local sums = self:accumulators()
  for i, e in ipairs(self.optimizer.entries) do
    local src = tensors[e.name]
    if not src then err.user("the checkpoint lacks the gradient sum of '%s'", e.name) end
    sums[i]:copy_(src)
  end
  api.realize()
  self.weight, self.photos, self.count = info.weight, info.photos, info.count
end

return step
