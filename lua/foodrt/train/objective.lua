--- objective: what is made small: a batch goes through the model, each task's logits meet its labels, and the tasks' losses are
--- added up with their weights. Recorded here for training, evaluation, explain and kept features alike.
---
---     loss = sum over tasks of weight * sum_t / weight_t
local T = require "foodrt.tensor"
local err, line, opt = require "foodrt.core.err", require "foodrt.core.line", require "foodrt.core.opt"
local losses, task = require "foodrt.train.loss", require "foodrt.train.task"

local objective = {}
local Objective = {}
Objective.__index = Objective

--- in   o.model, o.tasks     bound tasks (task.bind)
---      o.custom, o.run      the recipe's own step(run, batch) -> loss, logits, and its run
---      o.transforms         of training batches, in order
function objective.new(o)
  return setmetatable({ model = o.model, tasks = o.tasks, custom = o.custom, run = o.run, transforms = o.transforms or {} }, Objective)
end

-- A recipe's own step is user code: its mistakes carry its lines.
local function custom(self, batch)
  local loss, logits = line.user(self.custom, self.run, batch)
  if not T.is(loss) then
    err.user("recipe: 'step' must return loss, logits; the first value is %s", opt.show(loss))
  end
  if loss:numel() ~= 1 then err.user("recipe: the loss must be one number, got %s", opt.show(loss)) end
  local single = self.tasks[1].single
  if logits ~= nil and (single and not T.is(logits) or not single and type(logits) ~= "table") then
    err.user("recipe: 'step' must return loss, logits; the second value is %s", opt.show(logits))
  end
  return loss, logits
end

-- The recipe's own step says its loss by itself: a mean over the batch, of all tasks together.
local function own(self, batch, out)
  local loss, heads = custom(self, batch)
  out.total = { mean = loss, weight = batch.n }
  for i, t in ipairs(heads ~= nil and self.tasks or {}) do
    out.logits[i] = t.single and heads or heads[t.head]
  end
end

local function usual(self, batch, out)
  local heads = self.model(batch.x)
  for i, t in ipairs(self.tasks) do
    local logits = task.logits(t, self.model, heads, batch.n)
    out.logits[i] = logits
    if t.loss then
      local target = batch.targets and batch.targets[t.label] or batch.labels[t.label]
      out.parts[i] = losses.part(t.loss, logits, target, batch)
    end
  end
end

local function scaled(x, weight)
  return weight == 1 and x or x * weight
end

-- The mean that is reported and, with one batch an update, differentiated.
local function mean(self, out)
  if out.total then return out.total.mean end
  local total
  for i, t in ipairs(self.tasks) do
    if out.parts[i] then
      local one = scaled(losses.mean(out.parts[i]), t.weight)
      total = total and total + one or one
    end
  end
  return total
end

--- records a batch's forward pass.
--- out  { batch (as the model saw it), loss (mean, a tensor [], or nil without losses), logits (by task; none where the recipe's
---      step returns none), parts (by task, see loss.part; none with the recipe's own step), total (its part then) }
function Objective:forward(batch)
  if self.model.training then
    for _, t in ipairs(self.transforms) do batch = t:run(batch) end
  end
  local out = { batch = batch, logits = {}, parts = {} }
  if self.custom then own(self, batch, out) else usual(self, batch, out) end
  out.loss = mean(self, out)
  if out.loss and out.loss:numel() ~= 1 then
    err.user("recipe: the loss must be one number, got %s", opt.show(out.loss))
  end
  if batch.features then batch.features:give(batch, out.loss, out.logits) end
  return out
end

--- the loss of a forward pass as sums to be added over batches: { { sum, weight }, … }. Tasks whose weight is a number go by
--- photos and share one; each of the others has a divisor of its own.
function Objective:sums(out)
  if out.total then return { { sum = losses.sum(out.total), weight = out.total.weight } } end
  local n, shared, list = out.batch.n, nil, {}
  for i, t in ipairs(self.tasks) do
    local part = out.parts[i]
    if part and type(part.weight) == "number" then
      local one = scaled(losses.sum(part), t.weight * n / part.weight)
      shared = shared and shared + one or one
    elseif part then
      list[#list + 1] = { sum = scaled(losses.sum(part), t.weight), weight = part.weight }
    end
  end
  if shared then table.insert(list, 1, { sum = shared, weight = n }) end
  return list
end

return objective
