--- foodrt eval: measures a run or checkpoint on photos, seen the way it was trained to see them. --json for programs.
local cli, args, text = require "foodrt.cli", require "foodrt.core.args", require "foodrt.core.text"
local eval = {}

eval.usage = [[
usage: foodrt eval RUN_OR_CKPT [DATA] [--split test] [--batch N] [--threads N] [--workers N] [--out FILE.csv] [--json]
       foodrt eval --ensemble RUN RUN ... [DATA] [--weights 2,1] [--mean probs|logits] ...
  metrics of a run's best checkpoint (or of a checkpoint file) on the run's own photos or on DATA: a folder with
  SPLIT/CLASS/*, a folder of classes, or a CSV file; photos that can't be read are named, left out and counted
  --precision fp32 (default, whatever the run was trained in) or bf16
  --out       writes a CSV file: file, true, predicted, then the probability of each class
  --ensemble  the mean of several runs, each looking at photos its own way (size, crop, mean, std), classes matched by name,
              on the first one's photos; --mean probs: of probabilities (default), logits: of logits; --weights: one per run]]

--- o.runs: the runs among the arguments: the first, with --ensemble all that lead.
function eval.take_runs(command, o)
  o.runs = { o[1] }
  if not o.ensemble then
    if o.weights then cli.usage_error("%s: --weights is for --ensemble", command) end
    if o.mean then cli.usage_error("%s: --mean is for --ensemble", command) end
    return
  end
  local kind = require("foodrt.core.io").kind
  local i = 2
  while o[i] and (o[i]:match "%.safetensors$" or kind(o[i] .. "/last.safetensors") or kind(o[i] .. "/best.safetensors")) do
    o.runs[i], i = o[i], i + 1
  end
  if i == 2 and o[2] then error(("foodrt: %s: '%s' is no run or checkpoint"):format(command, o[2]), 0) end
  if i == 2 then cli.usage_error("%s: --ensemble needs at least two runs: foodrt %s --ensemble runs/A runs/B", command, command) end
  if o.weights and #o.weights ~= #o.runs then
    cli.usage_error("%s: --weights must be %d numbers, one per run, got %d", command, #o.runs, #o.weights)
  end
end

local function parse(given)
  local o = args.parse("eval", given, { ["--json"] = true, ["--split"] = args.text, ["--batch"] = args.whole(1, 65536),
    ["--threads"] = args.whole(1, 1024), ["--workers"] = args.whole(1, 256), ["--backend"] = args.one_of { "cpu", "reference" },
    ["--precision"] = args.one_of(require("foodrt.train.precision").NAMES),
    ["--out"] = args.text, ["--ensemble"] = true, ["--weights"] = args.numbers,
    ["--mean"] = args.one_of(require("foodrt.run.ensemble").MEANS) })
  if not o[1] then cli.usage_error "eval: which run? foodrt eval runs/NAME" end
  eval.take_runs("eval", o)
  local folder = o.out and o.out:match "^(.*)/[^/]*$"
  if folder and folder ~= "" and require("foodrt.core.io").kind(folder) ~= "folder" then
    error(("foodrt: eval: --out %s: no folder '%s'"):format(o.out, folder), 0)
  end
  o.data = o[#o.runs + 1]
  if o[#o.runs + 2] then cli.usage_error("eval: one folder of photos at a time, got '%s' and '%s'", o.data, o[#o.runs + 2]) end
  return o
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
  if found.members then
    table.insert(lines, 1, ("%s: %d runs, mean of %s; %s of %s"):format(found.name, #found.members,
      found.mean == "probs" and "probabilities" or "logits", found.split, found.data))
  else
    table.insert(lines, 1, ("%s: %s, phase '%s', epoch %d; %s of %s"):format(found.checkpoint, found.name, found.phase, found.epoch,
      found.split, found.data))
  end
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
  for _, m in ipairs(found.members or {}) do
    local p = m.preprocessing
    lines[#lines + 1] = ("%s: %s (weight %g, %d x %d) %s"):format(found.split, measures(m.values), m.weight, p.size, p.size, m.path)
  end
  lines[#lines + 1] = ("%s: %s (%d photos) %s"):format(found.split, measures(v), v.n, found.members and found.name or found.run)
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

local function set_machine(o)
  local lib = require "foodrt.core.ffi"
  if o.backend then lib.check(lib.C.frt_backend(o.backend)) end
  if o.threads then require("foodrt.tensor").api.set_threads(o.threads) end
  require("foodrt.train.precision").announce(o.precision)
end

local function measure(o)
  local run, predictions = require "foodrt.run", require "foodrt.run.predictions"
  local model, r, state = run.load(o.runs[1])
  local data, split = require("foodrt.run.photos").choose(r, state, o.data, o.split)
  data:open { classes = state.classes, splits = { split } }
  local names = { "top1" }
  for _, name in ipairs(r.metrics) do
    if name ~= "top1" then names[#names + 1] = name end
  end
  local p, values, m = predictions.of(model, data, split, { metrics = names, loss = not r.step and run.loss(r, state) or nil,
    batch = o.batch, workers = o.workers })
  if not p then return nil end
  return { name = r.name, run = o.runs[1], checkpoint = state.path, phase = state.phase_name, epoch = state.epoch, split = split,
    data = data.file or data.root, values = values, classes = state.classes, per_class = per_class(m, state.classes),
    confused = confused(m, state.classes, 20), unreadable = p.bad, preprocessing = data:settings(), predictions = p }
end

local function measure_ensemble(e, o)
  local f = e:evaluate { data = o.data, split = o.split, batch = o.batch, workers = o.workers }
  if not f then return nil end
  return { name = e.name, mean = e.mean, members = f.members, split = f.split, data = f.data, values = f.values, classes = e.classes,
    per_class = per_class(f.metrics, e.classes), confused = confused(f.metrics, e.classes, 20), unreadable = f.bad,
    predictions = f.predictions }
end

local function as_json(found)
  local json = require "foodrt.core.json"
  local out = { photos = found.values.n, n_unreadable = #found.unreadable }
  for _, key in ipairs { "name", "run", "checkpoint", "phase", "epoch", "split", "data", "preprocessing", "mean" } do
    out[key] = found[key]
  end
  for _, key in ipairs(ORDER) do out[key] = found.values[key] end
  for _, key in ipairs { "classes", "per_class", "confused", "unreadable" } do out[key] = json.list(found[key]) end
  if found.members then
    out.members = json.list {}
    for i, m in ipairs(found.members) do
      local one = { run = m.path, name = m.name, checkpoint = m.checkpoint, phase = m.phase, epoch = m.epoch, weight = m.weight,
        preprocessing = m.preprocessing }
      for _, key in ipairs(ORDER) do one[key] = m.values[key] end
      out.members[i] = one
    end
  end
  return json.encode(out)
end

-- says what was found; out exit status
local function say(found, o)
  if not found then return 130 end
  for _, b in ipairs(found.unreadable) do io.stderr:write(b.why, "\n") end
  if found.values.n == 0 then error(("foodrt: eval: no photo of '%s' in '%s' can be read"):format(found.split, found.data), 0) end
  if o.out then found.predictions:write(o.out) end
  print(o.json and as_json(found) or page(found))
  return 0
end

--- measures an ensemble and says what was found.
--- in   o  data, split, batch, workers, out, json, as on the command line; out exit status
function eval.ensemble(e, o)
  return say(measure_ensemble(e, o), o)
end

--- in arguments after "eval"; out exit status
function eval.run(given)
  local o = parse(given)
  set_machine(o)
  if o.ensemble then
    return eval.ensemble(require("foodrt.run.ensemble").new { mean = o.mean, weights = o.weights, unpack(o.runs) }, o)
  end
  return say(measure(o), o)
end

return eval
