--- foodrt predict: what a run or checkpoint sees in photos. --json for programs.
local cli, args, text = require "foodrt.cli", require "foodrt.args", require "foodrt.text"
local predict = {}

predict.usage = [[
usage: foodrt predict RUN_OR_CKPT PHOTO ... [--top 5] [--threads N] [--json]
  the classes a run's best checkpoint (or a checkpoint file) finds most probable in each photo; a folder stands
  for the photos in it; photos that can't be read are named and counted, status 1 when none could]]

local function parse(given)
  local o = args.parse("predict", given, { ["--json"] = true, ["--top"] = args.whole(1, 100000), ["--threads"] = args.whole(1, 1024),
    ["--backend"] = args.one_of { "cpu", "reference" } })
  if not o[1] then cli.usage_error "predict: which run? foodrt predict runs/NAME PHOTO ..." end
  if not o[2] then cli.usage_error "predict: which photos? foodrt predict runs/NAME PHOTO ..." end
  return o
end

-- the photos of a folder, sorted by bytes
local function in_folder(dir, list)
  local lib = require "foodrt.ffi"
  local C, made, n = lib.C, lib.ffi.new "frt_manifest *[1]", lib.ffi.new "int32_t[1]"
  lib.check(C.frt_manifest_new(made, 1))
  local m = lib.ffi.gc(made[0], C.frt_manifest_free)
  lib.check(C.frt_manifest_scan(m, dir, lib.ffi.new "int32_t[1]", n))
  for i = 0, C.frt_manifest_count(m) - 1 do list[#list + 1] = lib.ffi.string(C.frt_manifest_path(m, i)) end
  return n[0]
end

local function photos_of(o)
  local list = {}
  for i = 2, #o do
    if require("foodrt.io").kind(o[i]) == "folder" then
      if in_folder(o[i], list) == 0 then error(("foodrt: predict: no photos in '%s'"):format(o[i]), 0) end
    else
      list[#list + 1] = o[i]
    end
  end
  return list
end

-- the most probable classes: { { class, p }, … }; of equal ones the first
local function top(probabilities, classes, n)
  local order = {}
  for i = 1, #classes do order[i] = i end
  table.sort(order, function(a, b)
    local p, q = probabilities[a - 1], probabilities[b - 1]
    if p ~= q then return p > q end
    return a < b
  end)
  local out = {}
  for i = 1, math.min(n, #order) do out[i] = { class = classes[order[i]], p = probabilities[order[i] - 1] } end
  return out
end

-- one photo: { path, top } or { path, error }
local function look(model, r, state, path, n)
  local lib = require "foodrt.ffi"
  local ok, x = pcall(r.data.preprocess, r.data, path)
  if not ok then return { path = path, error = (tostring(x):gsub("^[^%s:]+%.lua:%d+: ", "")) } end
  local classes = state.classes
  local y = model(x)
  require("foodrt.trainer.step").check_logits(model, y, 1, #classes)
  local p = y:softmax(2)
  require("foodrt.tensor").api.realize(p)
  local values = lib.ffi.new("float[?]", #classes)
  lib.check(lib.C.frt_read(p.ref, values, #classes * 4))
  lib.C.frt_var_free(x.ref)
  return { path = path, top = top(values, classes, n) }
end

local function show(list)
  local rows, right = {}, {}
  for i, photo in ipairs(list) do
    local row = { photo.path }
    for k, one in ipairs(photo.top or {}) do
      row[2 * k], row[2 * k + 1] = one.class, ("%.1f %%"):format(one.p * 100)
      right[2 * k + 1] = true
    end
    if photo.error then row[2] = "cannot be read" end
    rows[i] = row
  end
  print(table.concat(text.columns(rows, right), "\n"))
end

--- in arguments after "predict"; out exit status
function predict.run(given)
  local o = parse(given)
  local lib = require "foodrt.ffi"
  if o.backend then lib.check(lib.C.frt_backend(o.backend)) end
  if o.threads then require("foodrt.tensor").api.set_threads(o.threads) end
  local model, r, state = require("foodrt.run").load(o[1])
  local list, failed = {}, 0
  for i, path in ipairs(photos_of(o)) do
    list[i] = look(model, r, state, path, o.top or 5)
    if list[i].error then
      failed = failed + 1
      io.stderr:write(list[i].error, "\n")
    end
  end
  if o.json then
    print(require("foodrt.json").encode { run = o[1], checkpoint = state.path, name = r.name, photos = list, n = #list,
      failed = failed, preprocessing = r.data:settings() })
  else
    show(list)
    if failed > 0 then print(("%d of %d photos could not be read"):format(failed, #list)) end
  end
  return failed == #list and 1 or 0
end

return predict
