--- evaluate: what a model is worth on a split: every photo once, in the order of the list, nothing drawn. Losses and measures
--- are added up on the device (metric/meter.lua) and looked at once, at the end.
---   local values = evaluate.run(model, data, "test", { metrics = { "top1", "f1" }, loss = loss })
local T = require "foodrt.tensor"
local lib, err = require "foodrt.core.ffi", require "foodrt.core.err"
local opt = require "foodrt.core.opt"
local objective, task = require "foodrt.train.objective", require "foodrt.train.task"
local meter, modes = require "foodrt.train.metric.meter", require "foodrt.train.modes"

local evaluate = {}

evaluate.SPEC = { "evaluate", metrics = { "list", { "top1", "top5", "f1" } }, loss = { "table|function", nil },
  tasks = { "list", nil, "instead of metrics and loss" },
  objective = { "table", nil, "train/objective.lua: instead of the model, the tasks and their losses" },
  batch = { "integer", nil, min = 1 }, workers = { "integer", nil, min = 1 }, on_batch = { "function", nil },
  on_logits = { "function", nil, "on_logits(batch, logits), logits by task, with their values" }, on_bad = { "function", nil },
  per_class = { "boolean", false, "count by class even where no metric needs it" },
  kept = { "table", nil, "what trainer.features keeps of the split" } }

-- --- measures of several tasks -------------------------------------------------------------------------------
local Measures = {}
Measures.__index = Measures

--- meters of bound tasks: measures:record(out, batch), then measures:values().
--- in   o  metrics (lists by task, instead of the tasks' own), per_class
function evaluate.measures(tasks, o)
  local self = setmetatable({ tasks = tasks, meters = {}, own = meter.new {}, photos = 0 }, Measures)
  for i, t in ipairs(tasks) do
    self.meters[i] = meter.new { metrics = o and o.metrics and o.metrics[i] or t.metrics, per_class = o and o.per_class }
  end
  return self
end

--- records what is measured of a batch: photos as they are labelled, whatever a transform made of them.
--- in   out  what objective:forward returned
function Measures:record(out, batch)
  if out.total then self.own:record { part = out.total } end
  for i, m in ipairs(self.meters) do
    local t = self.tasks[i]
    if out.logits[i] then m:record { logits = out.logits[i], labels = batch.labels[t.label], part = out.parts[i] } end
  end
end

--- { n = photos with a label (of several tasks: in any of them at most), loss, and each task's measures: "top1", or
--- "dish.top1" of several }. empty: batches in which no photo had a weight.
function Measures:values()
  local out, total, weighed = { n = 0, empty = 0 }, 0, false
  for i, m in ipairs(self.meters) do
    local v, t = m:values(), self.tasks[i]
    for key, x in pairs(v) do
      if not t.single then out[t.prefix .. key] = x end
      if t.single and key ~= "empty" then out[key] = x end
    end
    out.n, out.empty = math.max(out.n, v.n), math.max(out.empty, v.empty)
    if v.loss then total, weighed = total + t.weight * v.loss, true end
  end
  if weighed then out.loss = total end
  local own = self.own:values()
  if own.loss then out.loss = own.loss end
  return out
end

--- precision, recall, f1 and support by class, of a task by its place.
function Measures:per_class(i)
  return self.meters[i or 1]:per_class()
end

function Measures:reset()
  for _, m in ipairs(self.meters) do m:reset() end
  self.own:reset()
end

--- bytes of the sums on the device.
function Measures:bytes()
  local n = 0
  for i, m in ipairs(self.meters) do n = n + m:bytes(task.width(self.tasks[i])) end
  return n
end

--- what was added up, as numbers; and the other way.
function Measures:state()
  local out = { own = self.own:state(), meters = {} }
  for i, m in ipairs(self.meters) do out.meters[i] = m:state() or false end
  return out
end

function Measures:load(state)
  if state.own then self.own:load(state.own) end
  for i, m in ipairs(self.meters) do
    if state.meters[i] then m:load(state.meters[i]) end
  end
end

-- --- a split ----------------------------------------------------------------------------------------------
local function batches(model_objective, measures, loader, o)
  local done = 0
  while true do
    local batch, reason = loader:next()
    if reason or lib.C.frt_interrupted() > 0 then return nil, "interrupted" end
    if not batch then break end
    if batch.features then batch.features:prepare(batch) end
    local out = model_objective:forward(batch)
    if not out.logits[1] then
      err.user "recipe: 'step' must return logits too, for the measures"
    end
    measures:record(out, batch)
    if o.on_logits then T.api.realize(out.logits) else T.api.realize() end
    if o.on_logits then o.on_logits(batch, out.logits) end
    done = done + batch.n
    if o.on_batch then o.on_batch(done) end
  end
  return done
end

--- measures a model on a split: values, measures. values: { top1, …, loss, n = photos with a label, photos, bad = photos that
--- can't be read, empty }, all means over photos. nil, "interrupted" when a signal came.
function evaluate.run(model, data, split, given)
  local o = opt.check(evaluate.SPEC, given)
  local tasks = o.objective and o.objective.tasks
    or task.bind(o.tasks or task.alone(o.loss, o.metrics), data.columns, data.file or data.root)
  local made = o.objective or objective.new { model = model, tasks = tasks }
  local measures, was = evaluate.measures(tasks, { per_class = o.per_class }), modes.of(model)
  model:eval()
  local kept = o.kept or {}
  local loader = data:loader(split, { batch = o.batch, threads = o.workers, shuffle = false, augment = false,
    drop_last = false, on_bad = data.on_bad == "error" and "error" or "skip",  -- training photos are measured like others
    kept = kept.kept, features = kept.features })
  local ok, done, reason = err.catch(batches, made, measures, loader, o)
  local bad = loader:bad()
  loader:stop()
  was:restore()
  if not ok then T.forget() end
  T.collect()
  if not ok then error(done, 0) end
  if not done then return nil, reason end
  for _, b in ipairs(o.on_bad and bad or {}) do o.on_bad(b) end
  local values = measures:values()
  values.bad, values.photos = #bad, done
  return values, measures
end

return evaluate
