--- foodrt predict: what a run or checkpoint sees in photos. --json for programs.
local cli, args, text = require "foodrt.cli", require "foodrt.core.args", require "foodrt.core.text"
local predict = {}

predict.usage = [[
usage: foodrt predict RUN_OR_CKPT PHOTO ... [--top 5] [--threads N] [--json]
       foodrt predict --ensemble RUN RUN ... PHOTO ... [--weights 2,1] [--mean probs|logits]
  the classes a run's best checkpoint (or a checkpoint file) finds most probable in each photo; a folder stands
  for the photos in it; photos that can't be read are named and counted, status 1 when none could
  --precision: fp32 (default, whatever the run was trained in) or bf16
  --ensemble: what several runs find together, see foodrt eval --help]]

local function parse(given)
  local o = args.parse("predict", given, { ["--json"] = true, ["--top"] = args.whole(1, 100000), ["--threads"] = args.whole(1, 1024),
    ["--precision"] = args.one_of(require("foodrt.train.precision").NAMES),
    ["--backend"] = args.device, ["--device"] = args.device, ["--ensemble"] = true, ["--weights"] = args.numbers,
    ["--mean"] = args.one_of(require("foodrt.run.ensemble").MEANS) })
  if not o[1] then cli.usage_error "predict: which run? foodrt predict runs/NAME PHOTO ..." end
  require("foodrt.cli.eval").take_runs("predict", o)
  if not o[#o.runs + 1] then cli.usage_error "predict: which photos? foodrt predict runs/NAME PHOTO ..." end
  return o
end

-- the photos of a folder, sorted by bytes
local function in_folder(dir, list)
  local lib = require "foodrt.core.ffi"
  local C, made, n = lib.C, lib.ffi.new "frt_manifest *[1]", lib.ffi.new "int32_t[1]"
  lib.check(C.frt_manifest_new(made, 1))
  local m = lib.ffi.gc(made[0], C.frt_manifest_free)
  lib.check(C.frt_manifest_scan(m, dir, lib.ffi.new "int32_t[1]", n))
  for i = 0, C.frt_manifest_count(m) - 1 do list[#list + 1] = lib.ffi.string(C.frt_manifest_path(m, i)) end
  return n[0]
end

local function photos_of(o)
  local list = {}
  for i = #o.runs + 1, #o do
    if require("foodrt.core.io").kind(o[i]) == "folder" then
      if in_folder(o[i], list) == 0 then error(("foodrt: predict: no photos in '%s'"):format(o[i]), 0) end
    else
      list[#list + 1] = o[i]
    end
  end
  return list
end

-- the n most probable classes by task, of a photo's predictions
local function tops(found, n)
  local out = {}
  for i, rows in ipairs(found.rows) do out[i] = { name = rows.task.name, top = rows:top(1, n) } end
  return out
end

-- what sees the photos: look(path, n) -> the n most probable classes of each task; and what is said of it
local function seer(o)
  if o.ensemble then
    local e = require("foodrt.run.ensemble").new { mean = o.mean, weights = o.weights, unpack(o.runs) }:open()
    local settings, list = {}, require("foodrt.core.json").list
    for i, m in ipairs(e.members) do settings[i] = m.recipe.data:settings() end
    return function(path, n) return tops(e:look(path), n) end, { ensemble = list(o.runs), weights = list(e.weights), mean = e.mean,
      name = e.name, preprocessing = list(settings) }
  end
  local run = require "foodrt.run"
  local model, r, state = run.load(o.runs[1])
  local tasks = run.tasks(r, state)
  return function(path, n) return tops(require("foodrt.run.predictions").one(model, r.data, tasks, path), n) end,
    { run = o.runs[1], checkpoint = state.path, name = r.name, preprocessing = r.data:settings() }
end

-- one photo: { path, top (of the first task), tasks (of several: { name, top }) } or { path, error }
local function look(see, path, n)
  local ok, found = pcall(see, path, n)
  if not ok then return { path = path, error = (tostring(found):gsub("^[^%s:]+%.lua:%d+: ", "")) } end
  return { path = path, top = found[1].top, tasks = #found > 1 and found or nil }
end

local function show(list)
  local rows, right = {}, {}
  local function add(path, top, name)
    local row = { path, name }
    local first = #row
    for k, one in ipairs(top) do
      row[first + 2 * k - 1], row[first + 2 * k] = one.class, ("%.1f %%"):format(one.p * 100)
      right[first + 2 * k] = true
    end
    rows[#rows + 1] = row
  end
  for _, photo in ipairs(list) do
    if photo.error then
      rows[#rows + 1] = { photo.path, "cannot be read" }
    elseif photo.tasks then
      for _, t in ipairs(photo.tasks) do add(photo.path, t.top, t.name) end
    else
      add(photo.path, photo.top)
    end
  end
  print(table.concat(text.columns(rows, right), "\n"))
end

--- in arguments after "predict"; out exit status
function predict.run(given)
  local o = parse(given)
  args.use_device(o.device or o.backend)
  if o.threads then require("foodrt.tensor").api.set_threads(o.threads) end
  require("foodrt.train.precision").announce(o.precision)
  local see, about = seer(o)
  local list, failed = {}, 0
  for i, path in ipairs(photos_of(o)) do
    list[i] = look(see, path, o.top or 5)
    if list[i].error then
      failed = failed + 1
      io.stderr:write(list[i].error, "\n")
    end
  end
  if o.json then
    about.photos, about.n, about.failed = list, #list, failed
    print(require("foodrt.core.json").encode(about))
  else
    show(list)
    if failed > 0 then print(("%d of %d photos could not be read"):format(failed, #list)) end
  end
  return failed == #list and 1 or 0
end

return predict
