--- foodrt eval: measures a run or checkpoint on photos, seen the way it was trained to see them. --json for programs.
local cli, args, text = require "foodrt.cli", require "foodrt.args", require "foodrt.text"
local eval = {}

eval.usage = [[
usage: foodrt eval RUN_OR_CKPT [DATA] [--split test] [--batch N] [--threads N] [--workers N] [--json]
  metrics of a run's best checkpoint (or of a checkpoint file) on the run's own photos or on DATA: a folder with
  SPLIT/CLASS/*, a folder of classes, or a CSV file; photos that can't be read are named, left out and counted]]

local function parse(given)
  local o = args.parse("eval", given, { ["--json"] = true, ["--split"] = args.text, ["--batch"] = args.whole(1, 65536),
    ["--threads"] = args.whole(1, 1024), ["--workers"] = args.whole(1, 256), ["--backend"] = args.one_of { "cpu", "reference" } })
  if not o[1] then cli.usage_error "eval: which run? foodrt eval runs/NAME" end
  if o[3] then cli.usage_error("eval: one folder of photos at a time, got '%s' and '%s'", o[2], o[3]) end
  return o
end

-- --- photos ------------------------------------------------------------------------------------------------------
local function kind(path)
  return (require("foodrt.io").kind(path))
end

-- data like `data`, but with other photos
local function moved(data, where)
  local given = {}
  for key in pairs(data.spec) do
    if type(key) == "string" and key ~= "file" and key ~= "root" and key ~= "attributes" then given[key] = rawget(data, key) end
  end
  given[where.file and "file" or "root"] = where.file or where.root
  return require("foodrt.data")[where.file and "manifest" or "folder"](given)
end

-- a folder that holds the class folders themselves is a split of its parent
local function is_split(path, classes)
  for _, class in ipairs(classes) do
    if kind(path .. "/" .. class) == "folder" then return true end
  end
  return false
end

-- the data to measure and the name of the split
local function choose(o, r, state)
  local data, split = r.data, o.split
  local given = o[2]
  if given then
    local path = #given > 1 and given:gsub("/+$", "") or given
    local what = kind(path)
    if not what then error(("foodrt: eval: no such folder or file: '%s'"):format(given), 0) end
    if what == "file" then
      data = moved(data, { file = path })
    elseif not split and is_split(path, state.classes) then
      local parent, name = path:match "^(.*)/([^/]+)$"
      return moved(data, { root = parent == "" and "/" or parent or "." }), name or path
    else
      data = moved(data, { root = path })
    end
  elseif r.source.sample then
    require("foodrt.run.sample").ensure(r, require("foodrt.progress").new { out = io.stderr })
  end
  if not split and not data.file then
    for _, name in ipairs { "test", "val" } do
      if kind(data.root .. "/" .. name) == "folder" then return data, name end
    end
  end
  return data, split or "test"
end

-- --- words ---------------------------------------------------------------------------------------------------------
local ORDER = { "top1", "top5", "f1", "loss" }

-- pairs of classes by how often one was taken for the other
local function confused(m, classes, most)
  local matrix, list = m:confusion_matrix(), {}
  for r = 1, #matrix do
    for c = 1, #matrix do
      if r ~= c and matrix[r][c] > 0 then list[#list + 1] = { label = classes[r], predicted = classes[c], n = matrix[r][c] } end
    end
  end
  table.sort(list, function(a, b)
    if a.n ~= b.n then return a.n > b.n end
    return a.label .. "\0" .. a.predicted < b.label .. "\0" .. b.predicted
  end)
  for i = most + 1, #list do list[i] = nil end
  return list
end

local MOST = 24  -- classes that are all shown; of more, the worst

local function class_table(found)
  local list = {}
  for _, c in ipairs(found.per_class) do list[#list + 1] = c end
  table.sort(list, function(a, b)
    if a.f1 ~= b.f1 then return a.f1 > b.f1 end
    return a.class < b.class
  end)
  local rows, first = { { "class", "photos", "precision", "recall", "f1" } }, 1
  if #list > MOST then
    first = #list - 11
    rows[2] = { ("… %d with a higher f1"):format(first - 1) }
  end
  for i = first, #list do
    local c = list[i]
    rows[#rows + 1] = { c.class, tostring(c.support), ("%.3f"):format(c.precision), ("%.3f"):format(c.recall), ("%.3f"):format(c.f1) }
  end
  return text.columns(rows, { false, true, true, true, true })
end

local function measures(values)
  local parts = {}
  for _, key in ipairs(ORDER) do
    if values[key] then parts[#parts + 1] = ("%s %." .. (key == "loss" and 2 or 3) .. "f"):format(key, values[key]) end
  end
  return table.concat(parts, " ")
end

local function page(found)
  local v, lines = found.values, class_table(found)
  table.insert(lines, 1, "")
  table.insert(lines, 1, ("%s: %s, phase '%s', epoch %d; %s of %s"):format(found.checkpoint, found.name, found.phase, found.epoch,
    found.split, found.data))
  lines[#lines + 1] = ""
  if #found.confused > 0 then
    local parts = {}
    for i = 1, math.min(5, #found.confused) do
      local c = found.confused[i]
      parts[i] = ("%s as %s %d"):format(c.label, c.predicted, c.n)
    end
    lines[#lines + 1] = "most often mistaken: " .. table.concat(parts, ", ")
  end
  if #found.unreadable > 0 then
    lines[#lines + 1] = ("%d photo%s could not be read and %s left out"):format(#found.unreadable,
      #found.unreadable == 1 and "" or "s", #found.unreadable == 1 and "is" or "are")
  end
  lines[#lines + 1] = ("%s: %s (%d photos) %s"):format(found.split, measures(v), v.n, found.run)
  return table.concat(lines, "\n")
end

-- --- the command -----------------------------------------------------------------------------------------------------
local function per_class(m, classes)
  local by, out = m:per_class(), {}
  for i, name in ipairs(classes) do
    local c = by[i] or { precision = 0, recall = 0, f1 = 0, support = 0 }
    out[i] = { class = name, precision = c.precision, recall = c.recall, f1 = c.f1, support = c.support }
  end
  return out
end

local function measure(o)
  local run, trainer = require "foodrt.run", require "foodrt.trainer"
  local lib = require "foodrt.ffi"
  if o.backend then lib.check(lib.C.frt_backend(o.backend)) end
  if o.threads then require("foodrt.tensor").api.set_threads(o.threads) end
  local model, r, state = run.load(o[1])
  local data, split = choose(o, r, state)
  data:suit(model)
  data:open { classes = state.classes, splits = { split } }
  local bad = {}
  local names = { "top1" }
  for _, name in ipairs(r.metrics) do
    if name ~= "top1" then names[#names + 1] = name end
  end
  local values, m = trainer.evaluate(model, data, split, { metrics = names, loss = not r.step and run.loss(r, state) or nil,
    batch = o.batch, workers = o.workers, on_bad = function(b) bad[#bad + 1] = { path = b.path, why = b.why } end })
  if not values then return nil end
  return { name = r.name, run = o[1], checkpoint = state.path, phase = state.phase_name, epoch = state.epoch, split = split,
    data = data.file or data.root, values = values, classes = state.classes, per_class = per_class(m, state.classes),
    confused = confused(m, state.classes, 20), unreadable = bad, preprocessing = data:settings() }
end

--- in arguments after "eval"; out exit status
function eval.run(given)
  local o = parse(given)
  local found = measure(o)
  if not found then return 130 end
  for _, b in ipairs(found.unreadable) do io.stderr:write(b.why, "\n") end
  if found.values.n == 0 then error(("foodrt: eval: no photo of '%s' in '%s' can be read"):format(found.split, found.data), 0) end
  if o.json then
    local json = require "foodrt.json"
    local out = { photos = found.values.n, n_unreadable = #found.unreadable }
    for _, key in ipairs { "name", "run", "checkpoint", "phase", "epoch", "split", "data", "preprocessing" } do out[key] = found[key] end
    for _, key in ipairs(ORDER) do out[key] = found.values[key] end
    for _, key in ipairs { "classes", "per_class", "confused", "unreadable" } do out[key] = json.list(found[key]) end
    print(json.encode(out))
  else
    print(page(found))
  end
  return 0
end

return eval
