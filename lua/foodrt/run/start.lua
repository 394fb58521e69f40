--- run.start: from a recipe file and the command's options to a run: a new one, or one that goes on where its
--- newest checkpoint left it.
local recipe, override = require "foodrt.train.recipe", require "foodrt.train.override"
local checkpoint, folder = require "foodrt.train.checkpoint", require "foodrt.run.folder"
local err = require "foodrt.core.err"
local progress, session = require "foodrt.run.progress", require "foodrt.run.session"
local start = {}

local function lib()
  return require "foodrt.core.ffi"
end

-- --- what a run is made of -------------------------------------------------------------------------------------
-- Decides on the bits of every step: kept in the checkpoint.
local function set_machine(o, r, meta)
  local C, ffi = lib().C, lib().ffi
  local stored = meta or {}
  local found, why_not = pcall(require("foodrt.core.args").use_device, o.device or stored.backend or "cpu")
  if not found then error("foodrt: " .. tostring(why_not), 0) end
  local backend = ffi.string(C.frt_device_name())
  local threads = o.threads or stored.threads or r.threads or 0
  C.frt_set_threads(threads)
  lib().tell_machine(function(why) o.progress:say("%s", why) end)
  r.threads = C.frt_threads()
  local isa = ffi.string(C.frt_isa())
  if stored.isa and stored.isa ~= isa then
    if C.frt_set_isa(stored.isa) == 0 then
      isa = stored.isa
    else
      o.progress:say("this run began with %s, this machine has %s: it goes on, but its numbers differ in the last digits",
        stored.isa, isa)
    end
  end
  local precision, why = require("foodrt.train.precision").set(stored.precision or r.precision)
  if why then o.progress:say("%s", why) end
  r.precision = precision
  return { backend = backend, threads = r.threads, isa = isa, precision = precision, version = ffi.string(C.frt_version()) }
end

--- which photos a split has: their number and 16 digits that follow from their names and labels, wherever the
--- folder lies.
function start.signature(data, split)
  if not data:has(split) then return nil end
  local C, ffi = lib().C, lib().ffi
  local m, a, b = data.splits[split].manifest, 5381, 7919
  local prefix = #data.root + 1
  local n = C.frt_manifest_count(m)
  for i = 0, n - 1 do
    local path = ffi.string(C.frt_manifest_path(m, i))
    for k = path:sub(1, prefix - 1) == data.root and prefix or 1, #path do
      local c = path:byte(k)
      a, b = (a * 33 + c) % 4294967291, (b * 37 + c) % 4294967279
    end
    local label = C.frt_manifest_label(m, i, 0) + 1
    a, b = (a * 33 + label) % 4294967291, (b * 37 + label) % 4294967279
  end
  return { n = n, hash = ("%08x%08x"):format(a, b) }
end

local function signatures(data)
  return { root = data.file or data.root, train = start.signature(data, "train"), val = start.signature(data, "val"),
    test = start.signature(data, "test") }
end

-- in   dir   the run's folder
--      meta  of the checkpoint that the run goes on from, or nil: its values follow, and photos are seen as it says
local function open(r, o, settings, used_s, dir, meta)
  local trainer, pretrained = require "foodrt.train.trainer", require "foodrt.models.pretrained"
  pretrained.say = function(text) o.progress:say("%s", text) end
  pretrained.progress = o.progress
  local before = pretrained.n_read
  local t = trainer(r, { workers = o.workers, time_s = settings.time_s, used_s = used_s,
    folder = dir .. "/features", weights = not meta })
  if meta then require("foodrt.run").see_as(r.data, meta.preprocessing) end
  t:open()
  local why = require("foodrt.train.budget").check(r, { workers = o.workers })  -- a step must fit the machine
  if why then o.progress:say("memory is not checked beforehand: %s", why) end
  settings.data = signatures(r.data)
  settings.random = not meta and pretrained.n_read == before or meta ~= nil and meta.random
  return t
end

local function introduce(o, r, dir)
  local data = r.data
  local counts = {}
  for _, split in ipairs { "train", "val", "test" } do
    if data:has(split) then counts[#counts + 1] = ("%d %s"):format(data:count(split), split) end
  end
  o.progress:say("%s: %d parameters, %d classes, %s photos of %d x %d, seed %d, %s, into %s", r.name, r.model:count(),
    #data.classes, table.concat(counts, ", "), data.size, data.size, r.seed, require("foodrt").device(), dir)
  o.progress:say("evaluation sees: %s; %s", data:preprocessing(), data:origin())
  local task = require "foodrt.train.task"
  for _, t in ipairs(task.bind(task.of(r), data.columns, data.file or data.root)) do
    if #t.classes == 1 then
      o.progress:say("one class only, '%s': every answer is right, nothing can be learnt from it", t.classes[1])
    end
    local note = type(t.loss) == "table" and t.loss.order_note and t.loss:order_note(t.classes)
    if note then o.progress:say("loss: %s", note) end
  end
end

-- --- a new run --------------------------------------------------------------------------------------------------
local function options_of(o, r)
  return { recipe = r.source.path, overrides = require("foodrt.core.json").list(r.source.overrides),
    sample = r.source.sample ~= nil, threads = r.threads, workers = o.workers, device = o.device, time = o.time_s }
end

-- Trains in a folder that this process has claimed.
local function train(o, r, dir)
  local settings = set_machine(o, r)
  settings.time_s = o.time_s
  if r.source.sample then require("foodrt.run.sample").ensure(r, o.progress) end
  local t = open(r, o, settings, lib().C.frt_now() - o.began, dir)
  introduce(o, r, dir)
  local s = session.new { recipe = r, dir = dir, trainer = t, settings = settings, progress = o.progress }
  s.options = options_of(o, r)
  return s:run()
end

-- Runs fn(claim.dir) and gives the folder back.
local function within(claim, fn)
  local ok, status = err.catch(fn, claim.dir)
  claim:release()
  if not ok then error(status, 0) end
  return status
end

local begin

-- Measures an ensemble; its members that are recipes without a run are trained first.
local function together(e, o)
  for _, name in ipairs { "run", "time_s" } do
    if o[name] then
      error({ usage = ("--%s: %s is an ensemble: train its members by themselves"):format(name:gsub("_s", ""), o.path) }, 0)
    end
  end
  for i = 1, #e.paths do
    local path, missing = e:run_of(i)
    if not path then
      o.progress:say("%s has no run yet: it is trained first", missing)
      local status = begin { path = missing, overrides = {}, began = lib().C.frt_now(), progress = o.progress, threads = o.threads,
        workers = o.workers, device = o.device }
      if status ~= 0 then return status end
    end
  end
  return require("foodrt.cli.eval").ensemble(e, { workers = o.workers })
end

-- in  dir  of a run that was stopped before its first step, claimed by the caller; nil: a new one
function begin(o, dir)
  local given = require("foodrt.core.args").rest(o.overrides, 1)
  given.args = o.args
  local r = recipe.load(o.path, given)
  if not r then return 0 end
  if require("foodrt.run.ensemble").is(r) then return together(r, o) end
  if dir then return train(o, r, dir) end
  return within(folder.choose(r.name, o.run), function(chosen) return train(o, r, chosen) end)
end

-- --- one that goes on ---------------------------------------------------------------------------------------------
local MAY_CHANGE = { "^memory$", "^data%.root$", "^data%.file$", "^data%.workers$", "^data%.prefetch$", "^save%.every$",
  "^phases%.[^.]+%.epochs$", "^phases%.[^.]+%.steps$", "^phases%.[^.]+%.cache$" }
local MAY = "what may: epochs, steps and cache of phases, data.root (of the same photos), data.workers, data.prefetch, "
  .. "save.every, memory, --workers, --device, --time"

local function may_change(path)
  for _, pattern in ipairs(MAY_CHANGE) do
    if path:find(pattern) then return true end
  end
  return false
end

local function shown(v)
  if type(v) == "number" or type(v) == "string" or type(v) == "boolean" or v == nil then return tostring(v) end
  local ok, text = pcall(require("foodrt.core.json").encode, v)
  return ok and text or tostring(v)
end

local function from_meta(meta, overrides)
  local given = require("foodrt.core.args").rest(overrides, 1)
  given.files, given.sample = meta.files, meta.sample
  local r = recipe.from_text(meta.recipe_path, meta.recipe_text, given)
  return r
end

-- The name of the phase that an option is of, when that phase is over.
local function phase_over(r, path, meta)
  local key = path:match "^phases%.([^.]+)%."
  for i = 1, key and math.min(meta.phase - 1, #r.phases) or 0 do
    if r.phases[i].name == key or tonumber(key) == i then return key and r.phases[i].name end
  end
end

-- What a checkpoint keeps of the files that the recipe required counts, whatever became of them.
local function tell_files(o, dir, meta)
  for _, f in ipairs(meta.files or {}) do
    local text = require("foodrt.core.file").read(f.path)
    if text ~= f.text then
      o.progress:say("%s %s: it goes on with its own copy, %s/files/%s.lua", f.path,
        text and "has changed since this run began" or "is gone", dir, (f.name:gsub("%.", "/")))
    end
  end
end

-- More or fewer updates stretch the schedule: the rate goes elsewhere from here on.
local function tell_rate(o, t, meta)
  local total, at = t.length and t.length.total, t.phase_step
  if not total or not meta.total or meta.total == total or t.clock.limit_s or at == 0 or at >= total then return end
  local was, is = t:rate_at(at - 1, meta.total), t:rate_at(at, total)
  if math.abs(was - is) > 1e-9 * math.abs(was) then
    o.progress:say("phase '%s': its schedule goes over %d updates now instead of %d: at update %d the rate is %.3g, "
      .. "it was %.3g at the last one",
      t.config.name, total, meta.total, at + 1, is, was)
  end
end

-- The stored overrides with the new ones in place; refuses what would make another run of it.
local function merge(o, meta)
  local list, at = {}, {}
  for i, given in ipairs(meta.overrides) do
    list[i] = given
    at[given[1]] = i
  end
  for _, given in ipairs(o.overrides) do
    local i = at[given[1]] or #list + 1
    list[i], at[given[1]] = given, i
  end
  local r = from_meta(meta, list)
  if #o.overrides == 0 then return r end
  local before = from_meta(meta, meta.overrides)
  for _, given in ipairs(o.overrides) do
    local was, is = shown(override.get(before, given[1])), shown(override.get(r, given[1]))
    local over = phase_over(r, given[1], meta)
    if was ~= is and over then
      o.progress:say("%s: phase '%s' is over, so this changes nothing", given[1], over)
    elseif was ~= is then
      if not may_change(given[1]) then
        error(("foodrt: --resume: this run has %s = %s and keeps it, got %s; %s"):format(given[1], was, is, MAY), 0)
      end
      o.progress:say("%s: %s -> %s from here on", given[1], was, is)
    end
  end
  return r
end

-- The photos must be those the run began with: the order of training follows from them.
local function check_photos(dir, stored, data)
  local is = signatures(data)
  for _, split in ipairs { "train", "val" } do
    local a, b = stored and stored[split], is[split]
    if stored and (a and a.hash) ~= (b and b.hash) then
      error(("foodrt: --resume: the %s photos of '%s' are not those that %s began with (%d then, %d now)"):format(split,
        is.root, dir, a and a.n or 0, b and b.n or 0), 0)
    end
  end
end

local function check_threads(o, meta)
  if o.threads and o.threads ~= meta.threads then
    error(("foodrt: --resume: this run computes with %d threads and keeps them, got --threads %d; %s"):format(meta.threads,
      o.threads, MAY), 0)
  end
end

-- The name of a recipe's runs, without keeping anything of it.
local function find_run(o)
  if o.run then return folder.newest(nil, o.run) end
  local given = require("foodrt.core.args").rest(o.overrides, 1)
  given.args = o.args
  local ok, r = pcall(recipe.load, o.path, given)
  if not ok then  -- a file that it requires may be gone: the run has its own copy
    local name = folder.made_by(o.path)
    if name then return folder.newest(name) end
    error(r, 0)
  end
  if not r then error(("foodrt: %s is a script, not a recipe: nothing to resume"):format(o.path), 0) end
  return folder.newest(r.name)
end

-- Goes on in a folder that this process has claimed.
local function go_on(o, dir)
  local c, why, none = checkpoint.load_last(dir, function(text) o.progress:say("%s", text) end)
  if none then  -- stopped before its first step
    o.progress:say("%s has no checkpoint yet: it starts from the beginning", dir)
    return begin(o, dir)
  end
  if not c then error("foodrt: --resume: " .. why, 0) end
  local meta = c.meta
  require("foodrt.run.trust").check { dir = dir, meta = meta, recipe = o.path, trusted = o.trust }
  check_threads(o, meta)
  if require("foodrt.core.file").read(o.path) ~= meta.recipe_text then
    o.progress:say("%s has changed since this run began: it goes on with its own copy, %s/recipe.lua", o.path, dir)
  end
  tell_files(o, dir, meta)
  local r = merge(o, meta)
  local settings = set_machine(o, r, meta)
  settings.time_s = o.time_s and meta.elapsed_s + o.time_s or meta.time_s
  if r.source.sample then require("foodrt.run.sample").ensure(r, o.progress) end
  local t = open(r, o, settings, meta.elapsed_s, dir, meta)
  check_photos(dir, meta.data, r.data)
  t:restore(c)
  tell_rate(o, t, meta)
  if t.stopped and t:finished() then
    o.progress:say("%s was stopped by its recipe (%s)", dir, t.stopped.why)
  elseif t:finished() then
    o.progress:say("%s is trained to the end of its schedule; more epochs (-o phases.%s.epochs=…) would go on", dir, meta.phase_name)
  end
  o.progress:say("resuming %s: phase '%s', epoch %d, batch %d, step %d", dir, meta.phase_name, meta.epoch + 1, meta.batch,
    meta.step)
  local s = session.new { recipe = r, dir = dir, trainer = t, settings = settings, progress = o.progress }
  return s:run(true, meta.metrics_lines)
end

local function resume(o)
  local dir, why = find_run(o)
  if not dir then error("foodrt: " .. why, 0) end
  return within(folder.claim(dir), function() return go_on(o, dir) end)
end

--- trains what a recipe file says. out: exit status
--- in   o.path, o.args   the file and what `...` is in it
---      o.overrides     { { path, value text }, … }
---      o.resume, o.run, o.threads, o.workers, o.time_s, o.device   as on the command line
function start.run(o)
  o.began = lib().C.frt_now()
  o.progress = o.progress or progress.new()
  o.overrides = o.overrides or {}
  if o.resume then return resume(o) end
  return begin(o)
end

return start
