--- trainer: trains what a recipe says: phases of epochs of updates, validation, the best checkpoint's measure.
---   local t = frt.trainer(recipe)
---   t:open();  t:run_phase("head");  t:run_phase("all");  print(t:evaluate("test").top1)
---
--- It owns where a run is, its phases and rates, which epoch was best, and what a checkpoint keeps of that; how an update is
--- recorded is step.lua's, how a split is measured evaluate.lua's. A trainer knows nothing of terminals and no file but those of
--- kept features: whoever watches it (foodrt.run.session) is told of every step and epoch and may save t:state(). Everything that
--- decides what comes next is a number in there, so a run goes on from a checkpoint as if it had never stopped.
local T, rng = require "foodrt.tensor", require "foodrt.core.rng"
local lib = require "foodrt.core.ffi"
local err, opt, line = require "foodrt.core.err", require "foodrt.core.opt", require "foodrt.core.line"
local optim, sched = require "foodrt.train.optim", require "foodrt.train.sched"
local step, clock, evaluate = require "foodrt.train.step", require "foodrt.train.clock", require "foodrt.train.evaluate"
local features, ema, modes = require "foodrt.train.features", require "foodrt.train.ema", require "foodrt.train.modes"
local recipe, checkpoint = require "foodrt.train.recipe", require "foodrt.train.checkpoint"
local task, hook, monitor = require "foodrt.train.task", require "foodrt.train.hook", require "foodrt.train.monitor"
local learners = require "foodrt.train.learners"
local C = lib.C

local trainer = { evaluate = evaluate.run }
local Trainer = {}

-- run.norm of the latest update's gradients and run.loss_value of the latest batch are looked at only when somebody asks.
local LATEST = { norm = true, loss_value = true }

Trainer.__index = function(self, key)
  if not LATEST[key] then return Trainer[key] end
  local t = rawget(self, "latest")[key]
  return t and t:item()
end

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
    folder = o.folder, weights = o.weights, hooks = hook.list(r), monitor = monitor.of(r), latest = {} }, Trainer)
  self.phase, self.epoch, self.batch, self.stage, self.phase_step, self.progress, self.epochs, self.step =
    1, 0, 0, "train", 0, 0, 0, 0
  self.clock = clock.new(o.time_s, o.used_s)
  return self
end

local function tell(self, event, ...)
  local fn = self.watch[event]
  if fn then return fn(self.watch, self, ...) end
end

--- ends training: the epoch at hand goes no further, what is trained is validated, and no phase follows.
---   run:stop "no progress"    run:stop("…", "phase"): this phase only
function Trainer:stop(why, what)
  if what ~= nil and what ~= "phase" and what ~= "run" then err.user("stop: must be \"phase\" or \"run\", got %s", opt.show(what)) end
  self.stopped = { why = type(why) == "string" and why or "a hook", what = what or "run" }
end

--- calls the recipe's hooks for an event. The model is in the mode it was in afterwards.
function Trainer:hook(event)
  if not self.hooks:has(event) then return end
  local before = modes.of(self.model)
  local why = self.hooks:call(event, self)
  before:restore()
  if why and not self.stopped then self:stop(why) end
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
  local sizes = task.sizes(r.data.columns)
  r.model:build { input = { 1, 3, r.data.size, r.data.size }, classes = sizes.classes, columns = sizes.columns, seed = r.seed,
    weights = self.weights, sample = r.source ~= nil and r.source.sample ~= nil }
  learners.build(r, r.data.columns)
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
    photos = batch * math.min(accumulate, batches),
    total = p.steps or math.ceil(p.epochs * updates - 1e-9) }
end

--- what a phase takes: { batch, accumulate, batches and updates of an epoch, photos of an update, total updates }.
function Trainer:lengths(which)
  return lengths(self, index_of(self, which or self.phase))
end

-- The moments of the phases before, apart from their config: two phases may share one optimizer.
local function moments_of(o)
  return o and { entries = o.entries, resting = o.resting, rule = o.rule }
end

-- Freezes, attaches, carries moments over. The position is set by the caller.
local function set_up(self, i)
  local p = self.recipe.phases[i]
  local before = moments_of(self.optimizer)
  p:apply(self.model)
  self.model:train()
  p:attach(self.model, learners.of(self.recipe, p))
  if before then optim.carry(before, p.optim) end
  self.optimizer, self.config, self.length = p.optim, p, lengths(self, i)
  local average = ema.of(self.recipe, p)
  self.averages = average and (self.averages or ema.new()):begin(self.model, average) or nil
  self.stepper = step.of(self.recipe, p, { run = self, columns = self.data.columns, averages = self.averages,
    accumulate = self.length.accumulate, monitor = self.monitor })
  self.objective, self.measures = self.stepper.objective, self.stepper.measures
  self.top_lr, self.lr_scale, self.modes = p.optim:groups()[1].lr, nil, modes.of(self.model)
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
      local dry = require "foodrt.train.dry"
      local ok, s = pcall(dry.phase, self.recipe, self.recipe.phases[i])
      if not ok and not dry.looked(s) then error(s, 0) end
      if not ok then  -- nothing is known of a step before it runs: every one counts alike
        for k = self.phase, #self.recipe.phases do self.work[k] = { step = 1, once = 0 } end
        return
      end
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

--- the largest learning rate of update `at` (from 0) of the phase, if it has `total` updates.
function Trainer:rate_at(at, total)
  return self.top_lr * (self.config.sched or CONSTANT):at(at, total, self.length.updates)
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
  self.sums = { seconds = 0, wait_s = 0, bad = 0 }
  if self.measures then self.measures:reset() end
end

--- means over the photos of the epoch so far: { n, loss, top1, …, seconds, wait_s, bad, empty }.
function Trainer:train_values()
  local out = self.measures and self.measures:values() or { n = 0 }
  for key, v in pairs(self.sums) do out[key] = v end
  return out
end

local function where(self)
  return ("phase '%s', epoch %d, step %d"):format(self.config.name, self.epoch + 1, self.phase_step + 1)
end

local function list_photos(paths)
  local shown = {}
  for i = 1, math.min(#paths, 3) do shown[i] = paths[i] end
  local more = #paths > 3 and (", … (%d more)"):format(#paths - 3) or ""
  return table.concat(shown, ", ") .. more
end

local function is_finite(v)
  return v - v == 0
end

-- Loss and norm of a batch once more, with nothing that moves.
local function look_again(self, batch)
  rng.begin(self.step, 0)
  local ok, loss, norm = pcall(function()
    local out = self.stepper:record(batch, "mean")
    local size = T.op("grad_norm", out.groups[1].grads, {})
    C.frt_forget_pending()
    T.api.realize(out.loss, size)
    return out.loss:item(), size:item()
  end)
  T.forget()
  line.reset()
  if ok then return loss, norm end
end

-- An update that failed: because its loss or gradients are not finite, which is said with the photos that gave it, or for
-- another reason, which is passed on as it is.
local function refused(self, batch, why)
  local loss, paths = nil, batch and batch.paths or {}
  local schedule = self.stepper.schedule
  if schedule.culprit then
    local v, photos = schedule:culprit()
    loss, paths = v, photos or paths
  end
  local norm
  if not loss and batch then loss, norm = look_again(self, batch) end
  if not loss or is_finite(loss) and norm and is_finite(norm) then error(why, 0) end
  local what = is_finite(loss) and ("the gradients' norm is not finite (loss %.4g)"):format(loss)
    or ("the loss is %s"):format(loss ~= loss and "not a number" or "infinite")
  error(("%s: %s; photos %s; %s"):format(where(self), what, list_photos(paths), tell(self, "kept") or "nothing was updated"), 0)
end

-- One batch; an update when it is due. Returns whether there was one.
local function train_batch(self, batch)
  local o, length = rates(self), self.length
  o.last = batch.index >= length.batches
  if batch.features then batch.features:prepare(batch) end
  local ok, out, updated = err.catch(self.stepper.batch, self.stepper, batch, o)
  self.modes:restore()  -- user code (forward, loss, step) may have changed them
  if not ok and out == err.STOP then error(out, 0) end
  if not ok then refused(self, batch, out) end
  self.sums.wait_s = self.sums.wait_s + batch.wait_s
  self.batch, self.lr_scale = batch.index, o.lr_scale
  self.latest.loss_value, self.latest.norm = out.loss, out.norm or self.latest.norm
  return updated
end

-- An epoch is over though batches of it were left out (on_bad = "skip"): a phase of epochs doesn't make up for them.
local function close_epoch(self)
  local due = self.config.epochs and math.min((self.epoch + 1) * self.length.updates, self.length.total) or 0
  if self.phase_step < due then
    self.phase_step = due
    if not self.clock.limit_s then self.progress = due / self.length.total end
  end
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
  if self.batch >= self.length.batches then close_epoch(self) end
  if updated then self:hook "step_end" end  -- before the watcher saves: what hooks count is in the checkpoint
  if self.batch >= self.length.batches or phase_over(self) or self.stopped then self.stage = "validate" end
  tell(self, "step", updated)
  return C.frt_now()
end

-- The loader has no more batches: what was added up since the last update is one too.
local function finish_epoch(self, began)
  local o = rates(self)
  local ok, norm = pcall(self.stepper.flush, self.stepper, o)
  if not ok then refused(self, nil, norm) end
  self.stage = "validate"
  if norm then
    self.lr_scale, self.latest.norm = o.lr_scale, norm
    after_batch(self, true, began)
  end
  close_epoch(self)
end

local function report_bad(self, loader)
  local bad = loader:bad()
  for i = self.n_bad_told + 1, #bad do tell(self, "bad_photo", bad[i]) end
  self.sums.bad = self.sums.bad + #bad - self.n_bad_told  -- also those of batches that were left out as a whole
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
  local ok, why = err.catch(function()
    local began = C.frt_now()
    while self.stage == "train" do
      local batch, stopped = loader:next()
      report_bad(self, loader)
      if stopped then return stopped end
      if not batch then
        finish_epoch(self, began)
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
--- fn(…) with the averages of the weights (ema) in the model, where the phase makes them; what it returns.
function Trainer:with_averages(fn, ...)
  if self.averages then return self.averages:lend(fn, ...) end
  return fn(...)
end

-- Where no phase has been set up yet: the tasks as the first one has them.
local function objective_of(self)
  if self.objective then return self.objective end
  return step.objective(self.recipe, self.config, { run = self, columns = self.data.columns, monitor = self.monitor })
end

--- measures the model, or the averages of its weights where the phase makes them (ema), on a split with the recipe's
--- metrics and loss.
--- in   kept  what the phase keeps of the split (trainer.features), or nil
function Trainer:evaluate(split, kept)
  self:open()
  local began, total = C.frt_now(), self.data:count(split)
  local values, m = self:with_averages(evaluate.run, self.model, self.data, split, { objective = objective_of(self),
    workers = self.workers, kept = kept,
    on_batch = function(done) tell(self, "evaluated", split, done, total) end,
    on_bad = function(bad) tell(self, "bad_photo", bad) end })
  -- what was kept says nothing of how long the test will take
  if values and not (kept and kept.complete) then self.clock:evaluation_took(C.frt_now() - began, values.photos) end
  return values, m
end

--- the split that the last measure is taken on: test, else val, else none.
function Trainer:test_split()
  return self.data:has "test" and "test" or self.data:has "val" and "val" or nil
end

-- Whether this epoch's model is the best so far, as the monitor says; without val photos the newest one is, unless a measure of
-- training decides.
local function judge(self, train, val)
  if not self.config.save_best then return false end
  local values = val
  if self.monitor.split == "train" then values = train elseif not val then return true end
  if not self.monitor:better(values, self.best) then
    if val and self.best and values.n < self.best.n and not monitor.comparable(values, self.best) then
      tell(self, "note", ("validation saw %d photos with a label, the best epoch's %d: it can't be the best"):format(values.n, self.best.n))
    end
    return false
  end
  self.best = values
  self.best.phase, self.best.epoch = self.config.name, self.epoch + 1
  return true
end

local function validate(self)
  local values, reason
  if self.data:has "val" then
    values, reason = self:evaluate("val", self.features and self.features:validation())
    if not values then return reason end
  end
  local train = self:train_values()
  self.metrics = values
  self.is_best = judge(self, train, values)
  self.epoch, self.epochs, self.batch, self.stage = self.epoch + 1, self.epochs + 1, 0, "train"
  clear_sums(self)
  local began = C.frt_now()
  tell(self, "epoch", { train = train, val = values, best = self.is_best })
  local took = C.frt_now() - began
  local ok, why = err.catch(self.hook, self, "epoch_end")
  began = C.frt_now()
  tell(self, "save")
  self.clock:save_took(took + C.frt_now() - began)
  if not ok then error(why, 0) end
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
  self:hook "phase_start"
  while self.stage == "validate" or not phase_over(self) do
    if self.stopped and self.stage == "train" then break end
    if self.stage == "train" then
      self.model:train()
      if train_epoch(self) then return "interrupted" end
    end
    if interrupted() or validate(self) then return "interrupted" end
  end
  if self.features then self.features:stop(true) end
  self.features = nil
  if self.stopped then
    tell(self, "note", ("stopped after epoch %d of phase '%s': %s"):format(self.epoch, self.config.name, self.stopped.why))
  end
  self:hook "phase_end"
  if self.stopped and self.stopped.what == "phase" then self.stopped = nil end
end

--- whether nothing is left to train.
function Trainer:finished()
  if self.stopped and self.stopped.what == "run" and self.stage == "train" then return true end
  if self.phase < #self.recipe.phases or self.set_up_for ~= self.phase or self.stage ~= "train" then return false end
  return phase_over(self)
end

--- trains every phase that is left. out: "interrupted" when a signal came
function Trainer:run()
  self:open()
  measure_work(self)
  for i = self.phase, #self.recipe.phases do
    if self.stopped and self.stopped.what == "run" then break end
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
  out.measures, out.total = self.measures and self.measures:state(), self.length and self.length.total
  out.hooks, out.stopped = self.hooks:state(), self.stopped
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

--- parameters and buffers of the losses by name, for a checkpoint.
function Trainer:losses()
  return learners.state(self.recipe)
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
  learners.load(self.recipe, c.losses, c.path)
  self.averages = nil
end

--- puts a checkpoint's values and position in place. The trainer is open.
--- in   c  as checkpoint.load returns it
function Trainer:restore(c)
  local meta = c.meta
  self.model:load_state_dict(c.tensors, { from = c.path })
  learners.load(self.recipe, c.losses, c.path)
  for _, key in ipairs(POSITION) do self[key] = meta[key] end
  self.best, self.metrics, self.stopped = meta.best, meta.metrics, meta.stopped
  self.hooks:load(meta.hooks or {})
  if not self.recipe.phases[self.phase] then
    err.user("%s: the recipe has no phase %d", c.path, self.phase)
  end
  if c.optim then
    measure_work(self)
    set_up(self, self.phase)
    self.optimizer:load_state_dict(c.optim.tensors, c.optim.info)
    restore_averages(self, c)
    if meta.accumulated then self.stepper:load(c.accumulated, meta.accumulated) end
  end
  clear_sums(self)
  for key, v in pairs(meta.sums or {}) do self.sums[key] = v end
  if self.measures and meta.measures then self.measures:load(meta.measures) end
  return self
end

return setmetatable(trainer, { __call = function(_, r, o) local t = trainer.new(r, o) return t end })
