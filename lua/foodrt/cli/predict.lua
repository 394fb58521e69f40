--- foodrt predict: what a run or checkpoint sees in photos. --json for programs.
local cli, args, text = require "foodrt.cli", require "foodrt.core.args", require "foodrt.core.text"
local predict = {}

predict.usage = [[
usage: foodrt predict RUN_OR_CKPT PHOTO ... [--top 5] [--threads N] [--json]
       foodrt predict --ensemble RUN RUN ... PHOTO ... [--weights 2,1] [--mean probs|logits]
  the classes a run's best checkpoint (or a checkpoint file) finds most probable in each photo; a folder stands
  for the photos in it; photos that can't be read are named and counted, status 1 when none could
  --trust: runs the recipe that the checkpoint holds, with all your rights, see foodrt eval --help
  --precision: fp32 (default, whatever the run was trained in) or bf16
  --ensemble: what several runs find together, see foodrt eval --help]]

local function parse(given)
  local o = args.parse("predict", given, { ["--json"] = true, ["--top"] = args.whole(1, 100000), ["--threads"] = args.whole(1, 1024),
    ["--precision"] = args.one_of(require("foodrt.train.precision").NAMES),
    ["--backend"] = args.device, ["--device"] = args.device, ["--ensemble"] = true, ["--trust"] = true, ["--weights"] = args.numbers,
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

-- what sees the photos: look(path, n) -> the n most probable classes of each task; what is said of it; and the tasks
local function seer(o)
  if o.ensemble then
    local given = args.rest(o.runs, 1)
    given.mean, given.weights = o.mean, o.weights
    local e = require("foodrt.run.ensemble").new(given)
    e.trust = o.trust
    e:open()
    local settings, list = {}, require("foodrt.core.json").list
    for i, m in ipairs(e.members) do settings[i] = m.recipe.data:settings() end
    return function(path, n) return tops(e:look(path), n) end, { ensemble = list(o.runs), weights = list(e.weights), mean = e.mean,
      name = e.name, preprocessing = list(settings) }, e.members[1].tasks
  end
  local run = require "foodrt.run"
  local model, r, state = run.load(o.runs[1], { trust = o.trust })
  local tasks = run.tasks(r, state)
  return function(path, n) return tops(require("foodrt.run.predictions").one(model, r.data, tasks, path), n) end,
    { run = o.runs[1], checkpoint = state.path, name = r.name, preprocessing = r.data:settings() }, tasks
end

-- one photo: { path, top (of the first task), tasks (of several: { name, top }) } or { path, error }
local function look(see, path, n)
  local ok, found = pcall(see, path, n)
  if not ok then return { path = path, error = (tostring(found):gsub("^[^%s:]+%.lua:%d+: ", "")) } end
  return { path = path, top = found[1].top, tasks = #found > 1 and found or nil }
end

-- --- lines ---------------------------------------------------------------------------------------------------------
local function cells(photo)
  local list, path = {}, text.safe(photo.path)
  local function add(top, name)
    local row = { path, name and text.safe(name) }
    for _, one in ipairs(top) do
      row[#row + 1], row[#row + 2] = text.safe(one.class), ("%.1f %%"):format(one.p * 100)
    end
    list[#list + 1] = row
  end
  if photo.error then
    list[1] = { path, "cannot be read" }
  elseif photo.tasks then
    for _, t in ipairs(photo.tasks) do add(t.top, t.name) end
  else
    add(photo.top)
  end
  return list
end

local WIDEST = 48  -- of a column that is known before its rows are

local function widest(names)
  local w = 0
  for _, name in ipairs(names) do w = math.max(w, text.width(text.safe(name))) end
  return math.min(w, WIDEST)
end

-- Rows are shown as they come; how wide their columns are follows from all names that there are.
local function liner(photos, tasks)
  local path, name, class = #photos > 1 and widest(photos) or 0, 0, 0
  for _, t in ipairs(tasks) do
    name, class = #tasks > 1 and math.max(name, text.width(t.name)) or 0, math.max(class, #photos > 1 and widest(t.classes) or 0)
  end
  local function pad(s, w, right) return text.width(s) < w and text.pad(s, w, right) or s end
  return function(photo)
    for _, row in ipairs(cells(photo)) do
      local out, first = { pad(row[1], path) }, name > 0 and 3 or 2
      if name > 0 and row[2] then out[2] = pad(row[2], name) end
      for c = first, #row do
        local number = (c - first) % 2 == 1
        out[c] = pad(row[c], number and 7 or class, number)
      end
      local ok, why = io.stdout:write((table.concat(out, "  "):gsub("%s+$", "")), "\n")
      if ok then ok, why = io.stdout:flush() end
      if not ok then error("foodrt: predict: standard output: " .. tostring(why), 0) end
    end
  end
end

--- in arguments after "predict"; out exit status
function predict.run(given)
  local o = parse(given)
  args.use_device(o.device or o.backend)
  if o.threads then require("foodrt.tensor").api.set_threads(o.threads) end
  require("foodrt.train.precision").announce(o.precision)
  local see, about, tasks = seer(o)
  local json, photos, encoded, failed = require "foodrt.core.json", photos_of(o), {}, 0
  local line = not o.json and liner(photos, tasks)
  for i, path in ipairs(photos) do
    local found = look(see, path, o.top or 5)
    if found.error then
      failed = failed + 1
      io.stderr:write(text.safe(found.error), "\n")
    end
    if line then line(found) else encoded[i] = json.encode(found, true) end
  end
  if o.json then
    about.n, about.failed = #photos, failed
    print(json.encode(about, true):sub(1, -2) .. ',"photos":[' .. table.concat(encoded, ",") .. "]}")
  elseif failed > 0 then
    print(("%d of %d photos could not be read"):format(failed, #photos))
  end
  return failed == #photos and 1 or 0
end

return predict
