--- run.session: a run from its first line to its last: watches a trainer, shows progress, keeps metrics and
--- checkpoints, tests the best one.
local checkpoint, progress = require "foodrt.train.checkpoint", require "foodrt.run.progress"
local folder = require "foodrt.run.folder"
local recipe, report = require "foodrt.train.recipe", require "foodrt.run.report"
local lib, err = require "foodrt.core.ffi", require "foodrt.core.err"
local C = lib.C

local session = {}
local Session = {}
Session.__index = Session

--- in   o.recipe, o.dir     what runs, and where it is kept
---      o.trainer           open
---      o.settings          what every checkpoint repeats: threads, isa, backend, time_s …
---      o.progress          default: a new one
function session.new(o)
  local self = setmetatable({ recipe = o.recipe, dir = o.dir, trainer = o.trainer, settings = o.settings,
    progress = o.progress or progress.new(), every_s = recipe.seconds(o.recipe.save.every), told = {} }, Session)
  self.trainer.watch = self
  return self
end

function Session:say(fmt, ...)
  self.progress:say(fmt, ...)
end

-- --- checkpoints ------------------------------------------------------------------------------------------------
-- What of a checkpoint's metadata is run when the run goes on.
local function code(r)
  local json = require "foodrt.core.json"
  local files = json.list {}
  for i, f in ipairs(r.source.files) do files[i] = { name = f.name, path = f.path, text = f.text } end
  local overrides = json.list {}
  for i, o in ipairs(r.source.overrides) do overrides[i] = { o[1], o[2] } end
  return { recipe_path = r.source.path, recipe_text = r.source.text, files = files, overrides = overrides,
    sample = r.source.sample ~= nil }
end

--- metadata of a checkpoint: the trainer's state and what does not change.
function Session:state()
  local r, data = self.recipe, self.recipe.data
  local json = require "foodrt.core.json"
  local out = self.trainer:state()
  for key, value in pairs(code(r)) do out[key] = value end
  out.name, out.seed = r.name, r.seed
  out.classes, out.preprocessing, out.size = data.classes, data:settings(), data.size
  out.columns = {}
  for i, c in ipairs(data.columns) do out.columns[i] = { name = c.name, classes = json.list(c.classes) } end
  out.metrics_lines = self.folder.lines
  for key, value in pairs(self.settings) do out[key] = value end
  return out
end

-- What the card and the evaluation graph of a checkpoint are made from; said once where there is no graph.
local function card_of(self, state, losses)
  return function()
    local said, graph, extra = require("foodrt.train.card").make { recipe = self.recipe, model = self.trainer.model, state = state,
      tasks = require("foodrt.run").tasks(self.recipe, state), losses = losses }
    local why = said.no_graph or said.no_loss
    if why and self.told.graph ~= why then
      self.told.graph = why
      self:say(said.no_graph and "no evaluation graph in the checkpoints: predict and eval will need --trust (%s)"
        or "the loss is not in the checkpoints' evaluation graph: eval will not show it (%s)", why)
    end
    return said, graph, extra
  end
end

--- writes the run's newest checkpoint; the trainer asks for it after each epoch, when hooks have seen it.
function Session:save()
  local state, losses = self:state(), self.trainer:losses()
  checkpoint.save_last(self.dir, { model = self.trainer.model, optimizer = self.trainer.optimizer, state = state,
    averages = self.trainer.averages, accumulated = self.trainer:accumulated(), losses = losses, card = card_of(self, state, losses) })
  self.saved_at = C.frt_now()
end

-- The weights that were measured: their averages where the phase makes them.
function Session:save_best()
  local state, losses = self:state(), self.trainer:losses()
  self.trainer:with_averages(checkpoint.save, self.dir .. "/best.safetensors", { model = self.trainer.model, state = state,
    losses = losses, card = card_of(self, state, losses) })
end

-- --- what the trainer tells -----------------------------------------------------------------------------------
local function round(v, digits)
  return v and tonumber(("%." .. (digits or 6) .. "g"):format(v)) or nil
end

local function rounded(values)
  local out = {}
  for key, v in pairs(values or {}) do out[key] = type(v) == "number" and round(v) or v end
  return out
end

-- "head 2/3"; where time decides, the number of epochs is not known.
local function label(t, epoch)
  if t.clock.limit_s then return ("%s %d"):format(t.config.name, epoch) end
  local epochs = math.max(epoch, math.ceil(t.length.total / t.length.updates - 1e-9))
  return ("%s %d/%d"):format(t.config.name, epoch, epochs)
end

-- Updates of the epoch that are done, and how many it has: the last one may be cut short.
local function epoch_progress(t)
  local length = t.length
  local done = math.ceil(t.batch / length.accumulate)
  return done, math.min(length.updates, done + length.total - t.phase_step)
end

local function lr_text(t)
  return ("lr %.2g"):format(t:lr())
end

-- The first task's accuracy while it is trained.
local function accuracy(t, v)
  local task = t.objective.tasks[1]
  local top1 = v[task.prefix .. "top1"]
  return v.n > 0 and top1 and ("%stop1 %.3f"):format(task.prefix, top1) or nil
end

local function fields(t, v)
  local out = {}
  if v.loss then out[#out + 1] = ("loss %.3f"):format(v.loss) end
  out[#out + 1] = accuracy(t, v)
  out[#out + 1] = lr_text(t)
  if t.norm then out[#out + 1] = ("grad %.2g"):format(t.norm) end
  if v.seconds > 1 and v.wait_s / v.seconds > 0.1 then
    out[#out + 1] = ("photos %d%%"):format(v.wait_s / v.seconds * 100)
  end
  return out
end

function Session:log_step(t, v, done)
  self.folder:log { event = "step", phase = t.config.name, epoch = t.epoch + 1, step = t.step, loss = round(v.loss),
    top1 = round(v[t.objective.tasks[1].prefix .. "top1"]), lr = round(t:lr()), grad_norm = round(t.norm), progress = round(t.progress),
    step_s = round(v.seconds / math.max(done, 1), 4), wait_s = round(v.wait_s, 4), elapsed_s = round(t.clock:used(), 6) }
end

--- a batch is done.
function Session:step(t, updated)
  if updated then
    local done, total = epoch_progress(t)
    local shown = { label = label(t, t.epoch + 1), done = done, total = total }
    local log, show = done % math.max(1, math.floor(total / 10)) == 0, self.progress:due(shown)
    local v = (log or show) and t:train_values()  -- sums lie on the device: looked at only when somebody sees them
    if log then self:log_step(t, v, done) end
    if show then
      shown.seconds, shown.rate, shown.fields = v.seconds, v.seconds > 0 and done / v.seconds or nil, fields(t, v)
      self.progress:update(shown)
    end
  end
  if C.frt_now() - self.saved_at >= self.every_s then self:save() end
end

function Session:evaluated(_, split, done, total)
  if self.progress.live then
    self.progress:update { label = split, done = done, total = total, seconds = 0, left_s = 0, fields = {} }
  end
end

--- features are being computed, before an epoch that needs them.
function Session:filling(_, done, total)
  self.progress:update { label = "features", done = done, total = total, seconds = 0, left_s = 0, fields = {} }
end

--- what is to be said in a line.
function Session:note(_, text)
  self:say("%s", text)
end

--- a photo could not be read; each is named once.
function Session:bad_photo(_, bad)
  if self.told[bad.path] then return end
  self.told[bad.path] = true
  self:say("%s", bad.why)
end

local function measures(self, values)
  return report.line(values, self.trainer.objective.tasks, self.recipe)
end

--- an epoch is trained and validated.
function Session:epoch(t, e)
  local train, val = e.train, e.val
  local text = ("%s: train loss %.3f"):format(label(t, t.epoch), train.loss or 0 / 0)
  local top1 = accuracy(t, train)
  if top1 then text = text .. " " .. top1 end
  if val then text = text .. ", val " .. measures(self, val) end
  text = text .. ", " .. progress.clock(train.seconds)
  if train.seconds > 1 and train.wait_s / train.seconds > 0.1 then
    text = text .. (", %d%% of it waiting for photos"):format(train.wait_s / train.seconds * 100)
  end
  if train.bad > 0 then text = text .. (", %d unreadable"):format(train.bad) end
  if train.empty > 0 then text = text .. (", %d batch%s without a label"):format(train.empty, train.empty == 1 and "" or "es") end
  if val and val.bad > 0 then text = text .. (", %d of %d val photos missing"):format(val.bad, val.bad + val.photos) end
  if val and val.n == 0 then text = text .. ", no val photo with a label was seen" end
  self:say("%s", text .. (e.best and val and ", best so far" or ""))
  self.folder:log { event = "epoch", phase = t.config.name, epoch = t.epoch, step = t.step, train = rounded(train),
    val = val and rounded(val), best = e.best, elapsed_s = round(t.clock:used()) }
  if e.best then self:save_best() end
end

--- how errors say that nothing is lost.
function Session:kept()
  return ("nothing was updated, %s/last.safetensors is as it was"):format(self.dir)
end

local function frozen_on_random(self, t)
  return self.settings.random and t.model:count_trainable() < t.model:count()
end

function Session:phase_start(t)
  local p, length = t.config, t.length
  if t.phase_step > 0 then return end
  self:say("phase '%s': %d of %d parameters, %d steps of %d photos, %s%s", p.name, t.model:count_trainable(),
    t.model:count(), length.total, length.photos, tostring(p.optim),
    p.sched and ", " .. tostring(p.sched) or "")
  if t.averages and not self.told_ema then
    self.told_ema = true
    self:say("phase '%s': validation and the best checkpoint take averages of the weights (ema, decay %g)", p.name,
      t.averages.settings.decay)
  end
  if frozen_on_random(self, t) then
    self:say("phase '%s': what is frozen has random weights, so only a rough first head can be learnt", p.name)
  end
end

-- --- the end ------------------------------------------------------------------------------------------------------
-- The best checkpoint's values, or those of now where no epoch could be the best.
local function take_best(self)
  local path = self.dir .. "/best.safetensors"
  if not require("foodrt.core.io").kind(path) then self:save_best() end
  self.trainer:take(checkpoint.load(path))
end

-- Tests the best checkpoint and says how good it is.
local function test(self)
  local t = self.trainer
  local split = t:test_split()
  take_best(self)
  if not split then
    self.closing = ("test: none, '%s' has neither test nor val photos %s"):format(self.recipe.data.root or "data", self.dir)
    return true
  end
  if split ~= "test" then self:say "no test photos: the best checkpoint is measured on val, which chose it" end
  local values = t:evaluate(split)
  if not values then return false end
  if values.n == 0 then
    error(("%s: %s, so there is nothing to measure; %s is trained, foodrt eval measures it on other photos"):format(split,
      values.photos == 0 and ("none of %d photos could be read"):format(values.bad) or "no photo has a label", self.dir), 0)
  end
  self.folder:log { event = "test", split = split, step = t.step, values = rounded(values), elapsed_s = round(t.clock:used()) }
  if values.bad > 0 then
    self:say(values.bad == 1 and "%s: %d photo could not be read and is left out" or "%s: %d photos could not be read and are left out",
      split, values.bad)
  end
  self.result = values
  self.closing = ("%s: %s (%d photos) %s"):format(split, measures(self, values), values.n, self.dir)
  return true
end

local function stop(self, where)
  self:say("interrupted %s; saved %s/last.safetensors, --resume goes on from there", where, self.dir)
  return 130
end

local function work(self, resumed)
  local t = self.trainer
  self.saved_at = C.frt_now()
  if not resumed then self:save() end
  if t:run() then
    self:save()
    return stop(self, ("in phase '%s', epoch %d, step %d"):format(t.config.name, t.epoch + 1, t.phase_step))
  end
  if not test(self) then return stop(self, "before the test was done") end
  t:hook "run_end"
  self:say("%s", self.closing)
  return 0
end

--- trains, tests, says the closing line.
--- in   resumed  whether the trainer stands where a checkpoint left it
---      lines    of metrics.jsonl that count, when resumed
--- out  exit status: 0, or 130 when a signal stopped it (everything is saved)
function Session:run(resumed, lines)
  local host = package.loaded["foodrt.host"]
  self.folder = resumed and folder.open(self.dir, lines or 0) or folder.create(self.dir, self.recipe, self.options or {})
  local known, why = require("foodrt.run.trust").remember(self.dir, code(self.recipe))
  if not known then
    self:say("this run can't be remembered as yours (%s): --resume will need --trust when %s has changed by then", why,
      self.recipe.source.path)
  end
  if host then host.graceful(true) end
  local ok, status = err.catch(work, self, resumed)
  if host then host.graceful(false) end
  self.progress:clear()
  self.folder:close()
  if not ok then error(status, 0) end
  return status
end

return session
