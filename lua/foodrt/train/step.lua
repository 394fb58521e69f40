--- step: one update of a phase, recorded in one place for the trainer, for explain and for the memory budget. It holds what
--- takes part: the objective, the gradient rule, the update schedule, the optimizer, the averages, the measures; and undoes what
--- they counted when a step fails.
---   local s = step.new { objective, optimizer, averages, clip_norm, rule, accumulate, measures }
---   local out, updated = s:batch(batch, { step = 12, lr_scale = 1 })   -- out.loss, out.norm: tensors that have their values
---   s:plans(batch)                                                    -- planned, not run
local T, rng = require "foodrt.tensor", require "foodrt.core.rng"
local R = require "foodrt.tensor.record"
local lib, err = require "foodrt.core.ffi", require "foodrt.core.err"
local optim, line = require "foodrt.train.optim", require "foodrt.core.line"
local rules, schedules = require "foodrt.train.rule", require "foodrt.train.schedule"
local objective, task, evaluate = require "foodrt.train.objective", require "foodrt.train.task", require "foodrt.train.evaluate"
local effects, monitor = require "foodrt.nn.effects", require "foodrt.train.monitor"

local step = {}
local Step = {}
Step.__index = Step

Step.api = T.api

--- in   o.objective           what a batch's loss is (objective.lua)
---      o.optimizer           attached
---      o.averages, o.clip_norm   or nil
---      o.rule                what frt.rule.NAME { … } returned; plain when left out
---      o.accumulate          batches per update
---      o.measures            of training photos (evaluate.measures), or nil
function step.new(o)
  local self = setmetatable({ objective = o.objective, optimizer = o.optimizer, averages = o.averages, clip_norm = o.clip_norm,
    measures = o.measures, params = {}, k = o.accumulate or 1 }, Step)
  self.rule = (o.rule or rules.plain {}).make()
  self.schedule = schedules.of(o.accumulate or 1)
  for i, e in ipairs(o.optimizer.entries) do self.params[i] = e.tensor end
  return self
end

-- --- of a recipe ------------------------------------------------------------------------------------------
--- what a phase of a recipe makes small (phase nil: outside of phases).
--- in   o.run      what the recipe's own step is given
---      o.columns  label columns of the data: { { name, classes }, … }
---      o.monitor  default: the recipe's
function step.objective(r, phase, o)
  local decides = o.monitor or monitor.of(r)
  local tasks = task.bind(task.of(r, phase), o.columns, r.data.file or r.data.root)
  for i, t in ipairs(tasks) do t.metrics = decides:metrics(t, i) end
  return objective.new { model = r.model, tasks = tasks, custom = r.step, run = o.run, transforms = r.transforms }
end

-- What the epoch's line shows of training photos, and what decides on the best epoch where that is one of theirs.
local function training_metrics(tasks, decides)
  local out = {}
  for i, t in ipairs(tasks) do
    out[i] = t.single and { "top1", "top5" } or { "top1" }
    if decides.split == "train" and (decides.task or 1) == i and not (decides.metric.name == "top1" or decides.metric.name == "top5") then
      table.insert(out[i], decides.metric.name)
    end
  end
  return out
end

--- the step of a phase whose optimizer is attached.
--- in   o  as step.objective has it, and averages, accumulate
function step.of(r, phase, o)
  local decides = o.monitor or monitor.of(r)
  local made = step.objective(r, phase, o)
  return step.new { objective = made, optimizer = phase.optim, averages = o.averages, clip_norm = phase.clip_norm or r.clip_norm,
    rule = phase.rule or r.rule, accumulate = o.accumulate,
    measures = evaluate.measures(made.tasks, { metrics = training_metrics(made.tasks, decides) }) }
end

-- --- one pass, as gradient rules see it ---------------------------------------------------------------------
local Pass = {}
Pass.__index = Pass

function Pass:forward(o)
  local made = self.step.objective
  if self.passes > 0 then rng.begin(rng.step, rng.sample) end  -- it draws what the first one drew
  self.passes = self.passes + 1
  if o and o.effects == false then return effects.without(made.forward, made, self.batch) end
  return made:forward(self.batch)
end

function Pass:gradients(out)
  if self.want == "mean" then return { { grads = T.api.grad(out.loss, self.params) } } end
  local groups = self.step.objective:sums(out)
  for i, g in ipairs(groups) do groups[i] = { grads = T.api.grad(g.sum, self.params), weight = g.weight } end
  return groups
end

--- records a batch: forward, gradients as the rule has them, measures.
--- in   want  "mean": gradients of the mean loss; "sums": of sums, with their weights
--- out  { loss, logits, parts, groups = { { grads, weight }, … } }
function Step:record(batch, want)
  local pass = setmetatable({ step = self, batch = batch, params = self.params, want = want, passes = 0 }, Pass)
  local out = self.rule:record(pass)
  if self.measures then self.measures:record(out, batch) end
  return out
end

local function apply(self, grads, o, loss)
  local gscale, norm = optim.clip(grads, self.clip_norm, loss)
  self.optimizer:update(self.params, grads, { lr_scale = o.lr_scale, momentum = o.momentum, gscale = gscale })
  if self.averages then self.averages:update() end
  return norm
end

--- records the update by these gradients, and refuses it in the plan itself where they or the loss are not finite.
--- out  norm of the gradients
function Step:apply(grads, o, loss)
  return line.call(apply, self, grads, o, loss)
end

-- --- running ----------------------------------------------------------------------------------------------
-- Ages of the optimizer's entries and of the averages count as steps are recorded: a step that fails takes them back.
local function mark(self)
  local ages, t = {}, self.averages and self.averages.t
  for i, e in ipairs(self.optimizer.entries) do ages[i] = e.t end
  local rule, schedule = self.rule.mark and self.rule:mark(), self.schedule:mark()
  return function()
    for i, e in ipairs(self.optimizer.entries) do e.t = ages[i] end
    if self.averages then self.averages.t = t end
    if rule then rule() end
    schedule()
  end
end

--- fn(), which records and runs: what it returns. When it fails everything stands where it stood.
function Step:attempt(fn)
  local back = mark(self)
  local ok, value = err.catch(fn)
  if ok then return value end
  T.forget()
  back()
  line.reset()
  error(value, 0)
end

--- runs a batch. out: what was recorded, whether it was an update
--- in   o  step (number of the update), lr_scale, momentum, last (whether the epoch ends with this batch)
function Step:batch(batch, o)
  return self.schedule:batch(self, batch, o)
end

--- an update with the batches that are left over. out: norm, or nil when there are none
function Step:flush(o)
  return self.schedule:flush(self, o)
end

--- what nodes were recorded and are pending, planned and dropped.
function step.plan(...)
  local p = R.plan(...)
  lib.C.frt_forget_pending()
  return p
end
Step.plan = step.plan

--- the plans of a step: { step, update = nil or of the accumulated sums }.
function Step:plans(batch)
  return self.schedule:plans(self, batch)
end

-- --- state ------------------------------------------------------------------------------------------------
--- tensors by name and { schedule, rule }: what a checkpoint needs between two batches; nil when that is nothing.
function Step:state()
  local tensors, info = {}, {}
  for _, key in ipairs { "schedule", "rule" } do
    local part = self[key]
    if part.state then
      local found, more = part:state(self)
      for name, t in pairs(found or {}) do tensors[key .. "." .. name] = t end
      info[key] = more
    end
  end
  if next(info) == nil and next(tensors) == nil then return nil end
  return tensors, info
end

--- the other way.
function Step:load(tensors, info)
  for _, key in ipairs { "schedule", "rule" } do
    if info[key] then
      local own = {}
      for name, t in pairs(tensors) do
        if name:sub(1, #key + 1) == key .. "." then own[name:sub(#key + 2)] = t end
      end
      self[key]:load(own, info[key], self)
    end
  end
end

return step
