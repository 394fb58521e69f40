--- trainer: trains what a recipe says: phases of epochs of updates, validation, the best checkpoint's measure.
---   local t = frt.trainer(recipe)
---   t:open();  t:run_phase("head");  t:run_phase("all");  print(t:evaluate("test").top1)
---
--- A trainer knows nothing of terminals and no file but those of kept features: whoever watches it
--- (foodrt.run.session) is told of every step and epoch and may save t:state(). Everything that decides what comes
--- next is a number in there, so a run goes on from a checkpoint as if it had never stopped.
local T, rng = require "foodrt.tensor", require "foodrt.core.rng"
local lib = require "foodrt.core.ffi"
local err, opt, line = require "foodrt.core.err", require "foodrt.core.opt", require "foodrt.core.line"
local metrics, optim, sched = require "foodrt.train.metrics", require "foodrt.train.optim", require "foodrt.train.sched"
local step, clock = require "foodrt.train.step", require "foodrt.train.clock"
local features, ema = require "foodrt.train.features", require "foodrt.train.ema"
local recipe, checkpoint = require "foodrt.train.recipe", require "foodrt.train.checkpoint"
local C = lib.C

local trainer = {}
local Trainer = {}
Trainer.__index = Trainer

-- What says where a run is: number of the phase; epochs done in it; batches done in the epoch; what comes next
-- ("train" or "validate"); updates done in the phase; how far its schedule is; epochs and updates done in all.
local POSITION = { "phase", "epoch", "batch", "stage", "phase_step", "progress", "epochs", "step" }

local SPEC = { "trainer", workers = { "integer", nil, "loader threads", min = 1 },
  time_s = { "number", nil, "seconds the run may take" }, used_s = { "number", 0 }, watch = { "table", nil },
  folder = { "string", nil, "where phases with cache = true keep features" },
  weights = { "boolean", true, "whether pretrained weights are read: not where a checkpoint's follow" } }

--- frt.trainer(recipe): a trainer of a recipe's table.
function trainer.new(r, given)
  local o = opt.check(SPEC, given)
  if type(r) == "table" and not r.source then recipe.check(r, "recipe") end
  local self = setmetatable({ recipe = r, model = r.model, data = r.data, watch = o.watch or {}, workers = o.workers,
    folder = o.folder, weights = o.weights }, Trainer)
  self.phase, self.epoch, self.batch, self.stage, self.phase_step, self.progress, self.epochs, self.step =
    1, 0, 0, "train", 0, 0, 0, 0
  self.clock = clock.new(o.time_s, o.used_s)
  return self
end

local function tell(self, event, ...)
  local fn = self.watch[event]
  if fn then return fn(self.watch, self, ...) end
end

local function hook(self, name, ...)
  local fn = self.recipe.on and self.recipe.on[name]
  if fn then
    line.reset()
    fn(self, ...)
  end
end

local function interrupted()
  return C.frt_interrupted() > 0
end

-- --- opening -----------------------------------------------------------------------------------------------
--- lists the photos and makes the model's parameters.
function Trainer:open()
  if self.opened then return self end
  local r = self.recipe
  if r.threads then T.api.set_threads(r.threads) end
  require("foodrt.train.precision").announce(r.precision)
  r.data:suit(r.model)
  r.data:open()
  self.classes = r.data.classes
  rng.manual_seed(r.seed)
  r.model:build { input = { 1, 3, r.data.size, r.data.size }, classes = #self.classes, seed = r.seed, weights = self.weights,
    sample = r.source ~= nil and r.source.sample ~= nil }
  self.opened = true
  return self
end

-- --- phases ----------------------------------------------------------------------------------------------
local function index_of(self, which)
  local phases = self.recipe.phases
  if type(which) == "number" and phases[which] then return which end
  local names = {}
  for i, p in ipairs(phases) do
    if p.name == which then return i end
    names[p.name] = true
  end
  err.user("trainer: no phase '%s'%s", tostring(which), err.hint(which, names))
end

-- Batches and updates of an epoch, updates of a phase.
local function lengths(self, i)
  local r, p = self.recipe, self.recipe.phases[i]
  local n = self.data:count "train"
  local batch = math.min(p.batch or r.data.batch, n)
  local accumulate = p.accumulate or r.accumulate
  local batches = math.floor(n / batch)
  local updates = math.ceil(batches / accumulate)
  return { batch = batch, accumulate = accumulate, batches = batches, updates = updates,
    total = p.steps or math.ceil(p.epochs * updates - 1e-9) }
end

--- what a phase takes: { batch, accumulate, batches and updates of an epoch, total updates }.
function Trainer:lengths(which)
  return lengths(self, index_of(self, which or self.phase))
end

-- The moments of the phases before, apart from their config: two phases may share one optimizer.
local function moments_of(o)
  return o and { entries = o.entries, resting = o.resting, rule = o.rule }
end

local function make_step(self, p, length)
  local params = {}
  for i, e in ipairs(self.optimizer.entries) do params[i] = e.tensor end
  return step.new { model = self.model, loss = p.loss or self.recipe.loss, custom = self.recipe.step, run = self,
    params = params, optimizer = self.optimizer, averages = self.averages,
    clip_norm = p.clip_norm or self.recipe.clip_norm, batch = length.batch, classes = #self.classes }
end

-- Freezes, attaches, carries moments over. The position is set by the caller.
local function set_up(self, i)
  local p = self.recipe.phases[i]
  local before = moments_of(self.optimizer)
  p:apply(self.model)
  self.model:train()
  p:attach(self.model)
  if before then optim.carry(before, p.optim) end
  self.optimizer, self.config, self.length = p.optim, p, lengths(self, i)
  local average = ema.of(self.recipe, p)
  self.averages = average and (self.averages or ema.new()):begin(self.model, average) or nil
  self.stepper, self.top_lr, self.lr_scale = make_step(self, p, self.length), p.optim:groups()[1].lr, nil
  if self.features then self.features:stop() end
  self.features = features.start(self)
  self.set_up_for = i
  self.clock:new_phase()
  T.collect()
end

-- FLOPs of an update of every phase, and of what it does once: how the time is shared out.
local function measure_work(self)
  if self.work or not self.clock.limit_s then return end
  self.work = {}
  for i = self.phase, #self.recipe.phases do
    local length = lengths(self, i)
    self.work[i] = { step = 1, once = 0 }
    if #self.recipe.phases > self.phase then
      local s = require("foodrt.train.dry").phase(self.recipe, self.recipe.phases[i])
      self.work[i] = { step = s.step.flops * length.accumulate, once = features.flops(s, self.data:count "train", length) }
    end
  end
end

-- --- the schedule -------------------------------------------------------------------------------------------
local CONSTANT = sched.constant {}

local function rates(self)
  local s, length = self.config.sched or CONSTANT, self.length
  local at = self.clock.limit_s and self.progress * length.total or self.phase_step
  local momentum = s:momentum(at, length.total, length.updates)
  if self.optimizer.kind == "sgd" and self.optimizer.momentum == 0 then momentum = nil end
  return { step = self.step, lr_scale = s:at(at, length.total, length.updates), momentum = momentum }
end

--- the largest learning rate of the latest update.
function Trainer:lr()
  return self.top_lr * (self.lr_scale or rates(self).lr_scale)
end

local function phase_over(self)
  if self.clock.limit_s then return self.progress >= 1 - 1e-9 end
  return self.phase_step >= self.length.total
end

local function advance(self)
  self.step, self.phase_step = self.step + 1, self.phase_step + 1
  local length = self.length
  local nominal = self.phase_step / length.total
  if not self.clock.limit_s then
    self.progress = nominal
    return
  end
  local later = 0
  for i = self.phase + 1, #self.recipe.phases do
    later = later + (lengths(self, i).total * self.work[i].step + self.work[i].once) / self.work[self.phase].step
  end
  self.progress = math.min(1, self.progress + self.clock:advance { progress = self.progress, total = length.total,
    steps_per_epoch = length.updates, batch = length.batch * length.accumulate, n_val = self.data:count "val",
    n_test = self.data:count(self:test_split() or "test"), later = later, phases = #self.recipe.phases - self.phase + 1 })
end

-- --- an epoch -----------------------------------------------------------------------------------------------
local function clear_sums(self)
  self.sums = { n = 0, n_loss = 0, loss = 0, top1 = 0, top5 = 0, seconds = 0, wait_s = 0, bad = 0 }
end

--- means over the photos of the epoch so far: { n, loss, top1, top5, seconds, wait_s, bad }.
function Trainer:train_values()
  local s = self.sums
  local n = math.max(s.n, 1)
  return { n = s.n, loss = s.n_loss > 0 and s.loss / s.n_loss or nil, top1 = s.top1 / n, top5 = s.top5 / n,
    seconds = s.seconds, wait_s = s.wait_s, bad = s.bad }
end

local function count_batch(self, batch, loss, logits)
  local s = self.sums
  local m = self.counter or metrics.new { "top1", "top5" }
  self.counter = m:reset()
  s.loss, s.n_loss = s.loss + loss * batch.n, s.n_loss + batch.n
  if logits then
    m:add(logits, batch.y)
    local v = m:values()
    s.n, s.top1, s.top5 = s.n + v.n, s.top1 + v.top1 * v.n, s.top5 + v.top5 * v.n
  end
  s.wait_s, s.bad = s.wait_s + batch.wait_s, s.bad + batch.n_bad
end

local function where(self)
  return ("phase '%s', epoch %d, step %d"):format(self.config.name, self.epoch + 1, self.phase_step + 1)
end

local function list_photos(batch)
  local shown = {}
  for i = 1, math.min(#batch.paths, 3) do shown[i] = batch.paths[i] end
  local more = #batch.paths > 3 and (", … (%d more)"):format(#batch.paths - 3) or ""
  return table.concat(shown, ", ") .. more
end

local function is_finite(v)
  return v == v and v ~= math.huge and v ~= -math.huge
end

-- An update refused: what the loss was, and which photos gave it.
local function not_finite(self, batch, loss)
  if not loss then
    rng.begin(self.step, 0)
    local ok, value = pcall(function() return (self.stepper:forward(batch)):item() end)
    T.forget()
    line.reset()
    loss = ok and value or 0
  end
  local what = is_finite(loss) and ("the gradients' norm is not finite (loss %.4g)"):format(loss)
    or ("the loss is %s"):format(loss ~= loss and "not a number" or "infinite")
  error(("%s: %s; photos %s; %s"):format(where(self), what, list_photos(batch),
    tell(self, "kept") or "nothing was updated"), 0)
end

local function guarded(self, batch, fn, ...)
  local ok, loss, logits, norm = pcall(fn, self.stepper, ...)
  if ok then return loss, logits, norm end
  if type(loss) == "string" and loss:find("not finite", 1, true) then not_finite(self, batch) end
  error(loss, 0)
end

-- One batch; an update when it is due. Returns whether there was one.
local function train_batch(self, batch)
  local o, length, s = rates(self), self.length, self.stepper
  local loss, logits, norm
  if batch.features then batch.features:prepare(batch) end
  if length.accumulate == 1 then
    loss, logits, norm = guarded(self, batch, s.whole, batch, o)
  else
    loss, logits = guarded(self, batch, s.micro, batch, o)
  end
  loss = loss:item()
  if not is_finite(loss) then not_finite(self, batch, loss) end
  count_batch(self, batch, loss, logits)
  self.batch = batch.index
  if length.accumulate > 1 and (s.count == length.accumulate or batch.index == length.batches) then
    norm = guarded(self, batch, s.update, o)
  end
  self.lr_scale, self.loss_value, self.norm = o.lr_scale, loss, norm and norm:item() or self.norm
  return norm ~= nil
end

local function after_batch(self, updated, began)
  local now = C.frt_now()
  self.sums.seconds = self.sums.seconds + now - began
  self.since = self.since + now - began
  if updated then
    self.clock:update_took(self.since)
    self.since = 0
    advance(self)
  end
  if self.batch >= self.length.batches or phase_over(self) then self.stage = "validate" end
  tell(self, "step", updated)
  if updated then hook(self, "step_end") end
  return C.frt_now()
end

local function report_bad(self, loader)
  local bad = loader:bad()
  for i = (self.n_bad_told or 0) + 1, #bad do tell(self, "bad_photo", bad[i]) end
  self.n_bad_told = #bad
end

-- The rest of the epoch's batches. Returns "interrupted" when a signal came.
local function train_epoch(self)
  local o = { views = features.views(self.config, self.data) }
  if self.features then
    local reason
    o, reason = self.features:training(self.epochs)
    if reason then return reason end
  end
  local loader = self.data:loader("train", { seed = self.recipe.seed, epoch = self.epochs, start = self.batch,
    batch = self.length.batch, threads = self.workers, views = o.views, kept = o.kept, features = o.features })
  self.n_bad_told, self.since = 0, 0
  local ok, why = pcall(function()
    local began = C.frt_now()
    while self.stage == "train" do
      local batch, stopped = loader:next()
      report_bad(self, loader)
      if stopped then return stopped end
      if not batch then
        if self.length.accumulate > 1 and self.stepper.count > 0 then
          self.stepper:update(rates(self))
          advance(self)
        end
        self.stage = "validate"
      else
        began = after_batch(self, train_batch(self, batch), began)
      end
      if interrupted() then return "interrupted" end
    end
  end)
  loader:stop()
  T.collect()  -- every epoch begins with an empty graph
  if not ok then error(why, 0) end
  return why
end

-- --- evaluation -------------------------------------------------------------------------------------------
local EVALUATE = { "evaluate", metrics = { "list", { "top1", "top5", "f1" } }, loss = { "table|function", nil },
  forward = { "function", nil, "forward(batch) -> loss, logits: instead of the model and the loss" },
  batch = { "integer", nil, min = 1 }, workers = { "integer", nil, min = 1 }, on_batch = { "function", nil },
  on_logits = { "function", nil, "on_logits(batch, logits), both with their values" }, on_bad = { "function", nil },
  kept = { "table", nil, "what trainer.features keeps of the split" } }

local function evaluate_batches(model, data, loader, o)
  local m, done = metrics.new(o.metrics), 0
  while true do
    local batch, reason = loader:next()
    if reason or interrupted() then return nil, "interrupted" end
    if not batch then break end
    local loss, logits
    if batch.features then batch.features:prepare(batch) end
    if o.forward then
      loss, logits = o.forward(batch)
    else
      logits = model(batch.x)
      step.check_logits(model, logits, batch.n, #data.classes)
      loss = o.loss and o.loss(logits, batch.y)
      if batch.features then batch.features:give(batch, loss or logits, logits) end
    end
    if not logits then err.user "recipe: 'step' must return logits too, for the measures" end
    if loss then T.api.realize(loss, logits) else T.api.realize(logits) end
    m:add(logits, batch.y, loss)
    if o.on_logits then o.on_logits(batch, logits) end
    done = done + batch.n
    if o.on_batch then o.on_batch(done) end
  end
  return m
end

--- measures a model on a split: { top1, …, loss, n = photos, bad = photos that can't be read }, means over photos.
--- nil, "interrupted" when a signal came.
---   trainer.evaluate(model, data, "test", { metrics = { "top1", "f1" }, loss = loss })
function trainer.evaluate(model, data, split, given)
  local o = opt.check(EVALUATE, given)
  local was = model.training
  model:eval()
  local kept = o.kept or {}
  local loader = data:loader(split, { batch = o.batch, threads = o.workers, shuffle = false, augment = false,
    drop_last = false, on_bad = data.on_bad == "error" and "error" or "skip",  -- training photos are measured like others
    kept = kept.kept, features = kept.features })
  local ok, m, reason = pcall(evaluate_batches, model, data, loader, o)
  local bad = loader:bad()
  loader:stop()
  T.collect()
  if was then model:train() end
  if not ok then
    T.forget()
    error(m, 0)
  end
  if not m then return nil, reason end
  for _, b in ipairs(o.on_bad and bad or {}) do o.on_bad(b) end
  local values = m:values()
  values.bad = #bad
  return values, m
end

--- fn(…) with the averages of the weights (ema) in the model, where the phase makes them; what it returns.
function Trainer:with_averages(fn, ...)
  if self.averages then return self.averages:lend(fn, ...) end
  return fn(...)
end

--- measures the model, or the averages of its weights where the phase makes them (ema), on a split with the recipe's
--- metrics and loss.
--- in   kept  what the phase keeps of the split (trainer.features), or nil
function Trainer:evaluate(split, kept)
  local r = self.recipe
  local names = { "top1" }
  for _, name in ipairs(r.metrics) do
    if name ~= "top1" then names[#names + 1] = name end
  end
  local began, config = C.frt_now(), self.config
  local total = self.data:count(split)
  local values, m = self:with_averages(trainer.evaluate, self.model, self.data, split, { metrics = names,
    loss = config and config.loss or r.loss, workers = self.workers, kept = kept,
    forward = r.step and self.stepper and function(batch) return self.stepper:forward(batch) end or nil,
    on_batch = function(done) tell(self, "evaluated", split, done, total) end,
    on_bad = function(bad) tell(self, "bad_photo", bad) end })
  -- what was kept says nothing of how long the test will take
  if values and not (kept and kept.complete) then self.clock:evaluation_took(C.frt_now() - began, values.n) end
  return values, m
end

--- the split that the last measure is taken on: test, else val, else none.
function Trainer:test_split()
  return self.data:has "test" and "test" or self.data:has "val" and "val" or nil
end

-- Higher top1 first, of equal ones the smaller loss.
local function better(a, b)
  if not b then return true end
  if a.top1 ~= b.top1 then return a.top1 > b.top1 end
  return (a.loss or math.huge) < (b.loss or math.huge)
end

local function validate(self)
  local values, reason
  if self.data:has "val" then
    values, reason = self:evaluate("val", self.features and self.features:validation())
    if not values then return reason end
  end
  self.metrics = values
  local is_best = self.config.save_best and (not values or better(values, self.best))
  if is_best and values then
    self.best = values
    self.best.phase, self.best.epoch = self.config.name, self.epoch + 1
  end
  local train = self:train_values()
  self.epoch, self.epochs, self.batch, self.stage = self.epoch + 1, self.epochs + 1, 0, "train"
  clear_sums(self)
  local began = C.frt_now()
  tell(self, "epoch", { train = train, val = values, best = is_best or false })
  self.clock:save_took(C.frt_now() - began)
  hook(self, "epoch_end")
end

-- --- running ------------------------------------------------------------------------------------------------
--- trains a phase by name or number (the rest of it, when the run has begun it).
--- out  "interrupted" when a signal came, else nothing
function Trainer:run_phase(which)
  self:open()
  local i = index_of(self, which)
  if self.set_up_for ~= i then
    if self.phase ~= i or self.set_up_for then
      self.phase, self.epoch, self.batch, self.stage, self.phase_step, self.progress = i, 0, 0, "train", 0, 0
    end
    measure_work(self)
    set_up(self, i)
    clear_sums(self)
  end
  tell(self, "phase_start")
  hook(self, "phase_start")
  while self.stage == "validate" or not phase_over(self) do
    if self.stage == "train" then
      self.model:train()
      if train_epoch(self) then return "interrupted" end
    end
    if interrupted() or validate(self) then return "interrupted" end
  end
  if self.features then self.features:stop(true) end
  self.features = nil
  hook(self, "phase_end")
end

--- whether nothing is left to train.
function Trainer:finished()
  if self.phase < #self.recipe.phases or self.set_up_for ~= self.phase or self.stage ~= "train" then return false end
  return phase_over(self)
end

--- trains every phase that is left. out: "interrupted" when a signal came
function Trainer:run()
  self:open()
  measure_work(self)
  for i = self.phase, #self.recipe.phases do
    if lengths(self, i).total > 0 then
      local reason = self:run_phase(i)
      if reason then return reason end
    end
  end
end

-- --- state --------------------------------------------------------------------------------------------------
--- what a checkpoint keeps besides tensors: where the run is and what it has seen.
function Trainer:state()
  local out = {}
  for _, key in ipairs(POSITION) do out[key] = self[key] end
  out.phase_name = self.recipe.phases[self.phase].name
  out.sums, out.best, out.metrics, out.elapsed_s = self.sums, self.best, self.metrics, self.clock:used()
  if self.stepper then
    local _, info = self.stepper:state()
    out.accumulated = info
  end
  return out
end

--- tensors of a half-finished update by name; nil between updates.
function Trainer:accumulated()
  return self.stepper and (self.stepper:state()) or nil
end

-- The phase's averages go on from a checkpoint's; one has them if and only if the other has.
local function restore_averages(self, c)
  local a = self.averages
  if (a ~= nil) ~= (c.averages ~= nil) then
    err.user(a and "%s has no averages of weights, phase '%s' makes them (ema)"
      or "%s has averages of weights, phase '%s' makes none (ema)", c.path, self.config.name)
  end
  if a then a:load_state_dict(self.model, c.averages.tensors, c.averages.info, c.path) end
end

--- puts a checkpoint's weights in place to be measured: training and averaging are over.
function Trainer:take(c)
  self.model:load_state_dict(checkpoint.weights(c), { from = c.path })
  self.averages = nil
end

--- puts a checkpoint's values and position in place. The trainer is open.
--- in   c  as checkpoint.load returns it
function Trainer:restore(c)
  local meta = c.meta
  self.model:load_state_dict(c.tensors, { from = c.path })
  for _, key in ipairs(POSITION) do self[key] = meta[key] end
  self.best, self.metrics = meta.best, meta.metrics
  if not self.recipe.phases[self.phase] then
    err.user("%s: the recipe has no phase %d", c.path, self.phase)
  end
  if c.optim then
    measure_work(self)
    set_up(self, self.phase)
    self.optimizer:load_state_dict(c.optim.tensors, c.optim.info)
    restore_averages(self, c)
    if meta.accumulated then self.stepper:load_state(c.accumulated, meta.accumulated) end
  end
  clear_sums(self)
  for key, v in pairs(meta.sums or {}) do self.sums[key] = v end
  return self
end

return setmetatable(trainer, { __call = function(_, r, o) local t = trainer.new(r, o) return t end })
