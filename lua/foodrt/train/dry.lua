--- dry: one training step and one evaluation step per phase, recorded and planned but not computed. What explain
--- shows and what the memory check counts. The optimizers of the phases are attached anew afterwards.
---   dry.build(recipe, 12);  for i, s in ipairs(dry.phases(recipe)) do print(s.name, s.step.flops) end
local lib = require "foodrt.core.ffi"
local T, R, rng = require "foodrt.tensor", require "foodrt.tensor.record", require "foodrt.core.rng"
local optim, ema, line = require "foodrt.train.optim", require "foodrt.train.ema", require "foodrt.core.line"
local C = lib.C

local dry = {}

--- makes the model's parameters without their values. The model can be explained then, not trained. Which photos its weights
--- want is read from beside them, where they are a file.
function dry.build(r, classes)
  for _, m in r.model:modules() do
    local peek = rawget(m, "_peek")
    if peek then peek(m, r.source ~= nil and r.source.sample ~= nil) end
  end
  r.model:build { input = { 1, 3, r.data.size, r.data.size }, classes = classes, seed = r.seed, values = false }
end

--- batch, accumulate and clip_norm of a phase: its own, else the recipe's. A batch never has more photos than
--- there are to train on.
function dry.settings(r, phase)
  local batch = phase.batch or r.data.batch
  if r.data:has "train" then batch = math.min(batch, r.data:count "train") end
  return batch, phase.accumulate or r.accumulate, phase.clip_norm or r.clip_norm
end

local nothing = lib.ffi.new "float[4]"  -- what a batch that is never read points to

--- a batch of n photos that are never read, with label columns of these names (default: class), of `size` x `size` (default:
--- training's).
function dry.batch(r, n, columns, size)
  size = size or r.data.size
  local b = { n = n, index = 1, n_bad = 0, ids = {}, paths = {}, labels = {},
    x = T.wrap_data({ n, 3, size, size }, "f32", nothing, true) }
  for _, name in ipairs(columns or { "class" }) do
    b.labels[name] = T.wrap_data({ n }, "i32", nothing)
    b.y = b.y or b.labels[name]
  end
  return b
end

local function forward(r, phase, batch)
  if r.step then
    local run = { recipe = r, model = r.model, phase = phase, data = r.data, loss = phase.loss or r.loss, step = 0, epoch = 0 }
    return line.user(r.step, run, batch)
  end
  local logits = r.model(batch.x)
  return (phase.loss or r.loss)(logits, batch.y), logits
end

local function plan(...)
  local p = R.plan(...)
  C.frt_forget_pending()
  return p
end

-- Whether a phase shows a photo twice in the same view, as far as is known without photos.
local function comes_again(r, phase, views, batch)
  local n = r.data:has "train" and r.data:count "train"
  local epochs = phase.epochs or n and phase.steps / math.max(1, math.floor(n / batch)) or math.huge
  return epochs > views
end

-- What the phase keeps of a recorded step (see trainer/features.lua), which then need not be computed: { cut, fill =
-- the plan that computes it, views, used = whether the phase asks for it }; nil when nothing can be kept.
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

-- gradients summed over micro-batches into variables, then the update: two plans
local function accumulated(r, phase, batch, params, averages, clip, out)
  local loss, logits = forward(r, phase, batch)
  out.kept = kept(r, phase, batch, loss, logits)
  local grads = T.api.grad(loss, params)
  local sums = {}
  for i, p in ipairs(params) do
    sums[i] = T.var { shape = p.shape, dtype = p.dtype, name = "sum" }
    sums[i]:assign(sums[i] + grads[i] * 1)
  end
  local micro = plan(loss, logits or loss)
  local gscale, norm = optim.clip(sums, clip)
  phase.optim:update(params, sums, { gscale = gscale })
  if averages then averages:update() end
  out.step, out.update = micro, plan(norm)
end

local function whole(r, phase, batch, params, averages, clip, out)
  local loss, logits = forward(r, phase, batch)
  out.kept = kept(r, phase, batch, loss, logits)
  local grads = T.api.grad(loss, params)
  local gscale, norm = optim.clip(grads, clip)
  phase.optim:update(params, grads, { gscale = gscale })
  if averages then averages:update() end
  out.step = plan(loss, logits or norm, norm)
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

local function training(r, phase, o)
  local model = r.model
  local batch, accumulate, clip = dry.settings(r, phase)
  batch, accumulate = o.batch or batch, o.accumulate or accumulate
  local averages = ema.planned(r, phase)
  phase:apply(model)
  model:train()
  phase:attach(model)
  local params, n = {}, 0
  for i, e in ipairs(phase.optim.entries) do
    params[i], n = e.tensor, n + e.tensor:numel()
  end
  local out = { name = phase.name, phase = phase, batch = batch, accumulate = accumulate, trainable = n,
    groups = phase.optim:groups(), rates = {}, moments = n * 4 * #phase.optim.rule.state,
    averages = averages and averages:bytes() or 0, sums = accumulate > 1 and n * 4 or 0 }
  out.ema = averages and averages.settings
  for i, e in ipairs(phase.optim.entries) do out.rates[i] = { name = e.name, lr = e.lr } end
  local b = dry.batch(r, batch, o.columns)
  if accumulate > 1 then
    accumulated(r, phase, b, params, averages, clip, out)
  else
    whole(r, phase, b, params, averages, clip, out)
  end
  return out
end

-- records under pcall: a failed recording must leave nothing pending
local function guarded(fn, ...)
  local ok, value = pcall(fn, ...)
  forget()
  if not ok then error(value, 0) end
  return value
end

--- the training step of one phase: { name, phase, batch, accumulate, trainable, groups, rates = { { name, lr } },
--- moments, averages and sums (bytes), ema (settings or nil), step (a plan, see tensor/plan.lua), update (a plan; with accumulate only),
--- kept = { cut, fill (a plan), views, used } or nil }.
--- in   o  batch, accumulate: instead of the recipe's; columns: names of the label columns
function dry.phase(r, phase, o)
  return guarded(training, r, phase, o or {})
end

--- dry.phase of every phase.
function dry.phases(r, o)
  local out = {}
  for i, phase in ipairs(r.phases) do out[i] = dry.phase(r, phase, o) end
  return out
end

local function evaluating(model, size, batch)
  model:eval()
  local x = T.wrap_data({ batch, 3, size, size }, "f32", nothing, true)
  return plan(model(x))
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
