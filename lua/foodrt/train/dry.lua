--- dry: one training step and one evaluation step per phase, recorded as the trainer records them (step.lua) and planned but not
--- computed. What explain shows and what the memory check counts. The optimizers of the phases are attached anew afterwards.
---   dry.build(recipe, columns);  for i, s in ipairs(dry.phases(recipe)) do print(s.name, s.step.flops) end
local lib, err = require "foodrt.core.ffi", require "foodrt.core.err"
local T, R, rng = require "foodrt.tensor", require "foodrt.tensor.record", require "foodrt.core.rng"
local ema, step, task = require "foodrt.train.ema", require "foodrt.train.step", require "foodrt.train.task"
local learners, opt = require "foodrt.train.learners", require "foodrt.core.opt"
local C = lib.C

local dry = {}

local assumed = setmetatable({}, { __mode = "k" })  -- label columns of recipes whose photos are not there

-- Label columns of the data, or as many as tasks ask for where nobody has seen the photos.
local function columns_of(r)
  return r.data.columns or assumed[r]
end

--- makes the model's parameters without their values. The model can be explained then, not trained. Which photos its weights
--- want is read from beside them, where they are a file.
--- in   classes  how many; further label columns that tasks name are the data's, else assumed to have as many
function dry.build(r, classes)
  for _, m in r.model:modules() do
    local peek = rawget(m, "_peek")
    if peek then peek(m, r.source ~= nil and r.source.sample ~= nil) end
  end
  if not r.data.columns then
    local list = { { name = r.tasks and r.tasks[1].label or "class", classes = classes } }
    for i = 2, #(r.tasks or {}) do list[#list + 1] = { name = r.tasks[i].label, classes = classes } end
    assumed[r] = list
  end
  local sizes = task.sizes(columns_of(r))
  r.model:build { input = { 1, 3, r.data.size, r.data.size }, classes = sizes.classes, columns = sizes.columns, seed = r.seed,
    values = false }
  learners.build(r, columns_of(r), false)
end

--- batch and accumulate of a phase: its own, else the recipe's. A batch never has more photos than there are to train on.
function dry.settings(r, phase)
  local batch = phase.batch or r.data.batch
  if r.data:has "train" then batch = math.min(batch, r.data:count "train") end
  return batch, phase.accumulate or r.accumulate
end

--- whether an error is that of a recipe whose forward pass, loss or step looks at values (item, totable, print), which a
--- step that is only recorded and planned does not have.
function dry.looked(message)
  return type(message) == "string" and message:find("values can't be looked at while the step is planned", 1, true) ~= nil
end

--- a batch of n photos without values (what is recorded from it can be planned, looking at it is an error), with the label
--- columns of the data, of `size` x `size` (default: training's).
--- in   split  whose photos they stand for: whether labels are missing there (default: train)
function dry.batch(r, n, size, split)
  size = size or r.data.size
  local b = { n = n, index = 1, n_bad = 0, wait_s = 0, ids = {}, paths = {}, labels = {},
    x = T.wrap_data({ n, 3, size, size }, "f32", nil, true) }
  local s = r.data.splits and r.data.splits[split or "train"]
  for c, column in ipairs(columns_of(r)) do
    local t = T.wrap_data({ n }, "i32", nil)
    rawset(t, "complete", s == nil or require("foodrt.data.loader").complete(s, c))
    b.labels[column.name] = t
    b.y = b.y or t
  end
  return b
end

-- Whether a phase shows a photo twice in the same view, as far as is known without photos.
local function comes_again(r, phase, views, batch)
  local n = r.data:has "train" and r.data:count "train"
  local epochs = phase.epochs or n and phase.steps / math.max(1, math.floor(n / batch)) or math.huge
  return epochs > views
end

-- What the phase keeps of a recorded step (see features.lua), which then need not be computed: { cut, fill = the plan that
-- computes it, views, used = whether the phase asks for it }; nil when nothing can be kept.
local function kept(r, phase, batch, loss, logits)
  local features = require "foodrt.train.features"
  local cut, why = features.cut(batch.x, false, loss, logits)
  if not cut then
    if phase.cache then features.refuse(phase, why) end
    return nil
  end
  local views = features.views(phase, r.data)
  local out = { cut = cut, fill = R.plan_values(unpack(cut.values)), views = views,
    used = phase.cache and comes_again(r, phase, views, batch.n) }
  if out.used then
    for _, v in ipairs(cut.values) do lib.check(C.frt_give(v.ref, nil)) end
  end
  cut.values = nil
  return out
end

local function forget()
  C.frt_forget_pending()
  rng.begin(rng.step, rng.sample)
end

local function bytes_of(iterator)
  local n = 0
  for _, t in iterator do n = n + t:numel() * R.SIZE[t.dtype] end
  return n
end

-- What the recipe's own step is given in place of a run.
local function stand_in(r, phase)
  return { recipe = r, model = r.model, phase = phase, config = phase, data = r.data, loss = phase.loss or r.loss, step = 0, epoch = 0 }
end

local function training(r, phase, o)
  local model = r.model
  local batch, accumulate = dry.settings(r, phase)
  batch, accumulate = o.batch or batch, o.accumulate or accumulate
  local averages = ema.planned(r, phase)
  phase:apply(model)
  model:train()
  phase:attach(model, learners.of(r, phase))
  local n = 0
  for _, e in ipairs(phase.optim.entries) do n = n + e.tensor:numel() end
  local s = step.of(r, phase, { run = stand_in(r, phase), columns = columns_of(r), averages = averages, accumulate = accumulate })
  local out = { name = phase.name, phase = phase, batch = batch, accumulate = accumulate, trainable = n,
    groups = phase.optim:groups(), rates = {}, moments = n * 4 * #phase.optim.rule.state,
    averages = averages and averages:bytes() or 0 }
  out.ema = averages and averages.settings
  for i, e in ipairs(phase.optim.entries) do out.rates[i] = { name = e.name, lr = e.lr } end
  local b = dry.batch(r, batch)
  b.features = { give = function(_, made, loss, logits)
    if out.kept == nil then out.kept = kept(r, phase, made, loss, logits) end
  end }
  local plans = s:plans(b)
  out.step, out.update = plans.step, plans.update
  out.sums, out.counts = s.schedule:bytes(s), s.measures:bytes()
  return out
end

-- records and catches: a failed recording must leave nothing pending
local function guarded(fn, ...)
  local ok, value = err.catch(fn, ...)
  forget()
  if not ok then error(value, 0) end
  return value
end

local PHASE = { "dry.phase", batch = { "integer", nil, min = 1 }, accumulate = { "integer", nil, min = 1 } }

--- the training step of one phase: { name, phase, batch, accumulate, trainable, groups, rates = { { name, lr } },
--- moments, averages, sums and counts (bytes), ema (settings or nil), step (a plan, see tensor/plan.lua), update (a plan; with
--- accumulate only), kept = { cut, fill (a plan), views, used } or nil }.
--- in   o  batch, accumulate: instead of the recipe's
function dry.phase(r, phase, o)
  return guarded(training, r, phase, opt.check(PHASE, o))
end

--- dry.phase of every phase.
function dry.phases(r, o)
  local out = {}
  for i, phase in ipairs(r.phases) do out[i] = dry.phase(r, phase, o) end
  return out
end

-- What a model returns, as a list.
local function tensors(heads)
  if T.is(heads) or type(heads) ~= "table" then return { heads } end
  local keys, list = {}, {}
  for key in pairs(heads) do keys[#keys + 1] = key end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  for i, key in ipairs(keys) do list[i] = heads[key] end
  return list
end

local function evaluating(model, size, batch)
  model:eval()
  local x = T.wrap_data({ batch, 3, size, size }, "f32", nil, true)
  return step.plan(unpack(tensors(model(x))))
end

--- the plan of the model's logits in evaluation, for `batch` photos.
function dry.evaluation(r, batch)
  return guarded(evaluating, r.model, r.data:settings().size, batch)
end

--- bytes of the model's parameters and buffers.
function dry.weights(model)
  return bytes_of(model:named_parameters()), bytes_of(model:named_buffers())
end

return dry
