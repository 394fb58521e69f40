--- foodrt eval: measures a run or checkpoint on photos, seen the way it was trained to see them. --json for programs.
local cli, args, text = require "foodrt.cli", require "foodrt.core.args", require "foodrt.core.text"
local eval = {}

eval.usage = [[
usage: foodrt eval RUN_OR_CKPT [DATA] [--split test] [--batch N] [--threads N] [--workers N] [--out FILE.csv] [--json]
       foodrt eval --ensemble RUN RUN ... [DATA] [--weights 2,1] [--mean probs|logits] ...
  metrics of a run's best checkpoint (or of a checkpoint file) on the run's own photos or on DATA: a folder with
  SPLIT/CLASS/*, a folder of classes, or a CSV file; photos that can't be read are named, left out and counted
  --trust     runs the recipe that the checkpoint holds, with all your rights, where there is no evaluation graph in it (written
              before there were any; a model that looks at values); without it nothing in a checkpoint is run
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
    ["--threads"] = args.whole(1, 1024), ["--workers"] = args.whole(1, 256), ["--backend"] = args.device, ["--device"] = args.device,
    ["--precision"] = args.one_of(require("foodrt.train.precision").NAMES),
    ["--out"] = args.text, ["--ensemble"] = true, ["--trust"] = true, ["--weights"] = args.numbers,
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
local MOST = 24  -- classes that are all shown; of more, the worst

local function class_table(one)
  local list = {}
  for _, c in ipairs(one.per_class) do list[#list + 1] = c end
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
    rows[#rows + 1] = { text.safe(c.class), tostring(c.support), ("%.3f"):format(c.precision), ("%.3f"):format(c.recall),
      ("%.3f"):format(c.f1) }
  end
  return text.columns(rows, { false, true, true, true, true })
end

local function measures(found, values)
  return require("foodrt.run.report").line(values, found.bound)
end

-- a task's classes, and what was most often mistaken
local function task_lines(found, one, lines)
  lines[#lines + 1] = ""
  if #found.tasks > 1 then
    lines[#lines + 1] = ("%s: %s (%d photos)"):format(one.name, require("foodrt.run.report").task(found.values, one.task),
      found.values[one.task.prefix .. "n"])
  end
  for _, row in ipairs(class_table(one)) do lines[#lines + 1] = row end
  if #one.confused > 0 then
    local parts = {}
    for i = 1, math.min(5, #one.confused) do
      local c = one.confused[i]
      parts[i] = ("%s as %s %d"):format(c.label, c.predicted, c.n)
    end
    lines[#lines + 1] = ""
    lines[#lines + 1] = "most often mistaken: " .. table.concat(parts, ", ")
  end
end

local function page(found)
  local v, lines = found.values, {}
  for _, one in ipairs(found.tasks) do task_lines(found, one, lines) end
  if #found.tasks[#found.tasks].confused == 0 then lines[#lines + 1] = "" end
  if found.members then
    table.insert(lines, 1, ("%s: %d runs, mean of %s; %s of %s"):format(found.name, #found.members,
      found.mean == "probs" and "probabilities" or "logits", found.split, found.data))
  else
    table.insert(lines, 1, ("%s: %s, phase '%s', epoch %d; %s of %s"):format(found.checkpoint, found.name, found.phase, found.epoch,
      found.split, found.data))
  end
  if #found.unreadable > 0 then
    lines[#lines + 1] = ("%d photo%s could not be read and %s left out"):format(#found.unreadable,
      #found.unreadable == 1 and "" or "s", #found.unreadable == 1 and "is" or "are")
  end
  for _, m in ipairs(found.members or {}) do
    local p = m.preprocessing
    lines[#lines + 1] = ("%s: %s (weight %g, %d x %d) %s"):format(found.split, measures(found, m.values), m.weight, p.size, p.size, m.path)
  end
  lines[#lines + 1] = ("%s: %s (%d photos) %s"):format(found.split, measures(found, v), v.n, found.members and found.name or found.run)
  return table.concat(lines, "\n")
end

-- --- the command -----------------------------------------------------------------------------------------------------
local function per_class(m, i, classes)
  local by, out = m:per_class(i), {}
  for k, name in ipairs(classes) do
    local c = by[k] or { precision = 0, recall = 0, f1 = 0, support = 0 }
    out[k] = { class = name, precision = c.precision, recall = c.recall, f1 = c.f1, support = c.support }
  end
  return out
end

local function set_machine(o)
  args.use_device(o.device or o.backend)
  if o.threads then require("foodrt.tensor").api.set_threads(o.threads) end
  require("foodrt.train.precision").announce(o.precision)
end

-- what was found of each task: { name, task, classes, per_class, confused }
local function by_task(tasks, m, p)
  local out = {}
  for i, t in ipairs(tasks) do
    out[i] = { name = t.name, task = t, classes = t.classes, per_class = per_class(m, i, t.classes), confused = p.rows[i]:confused(20) }
  end
  return out
end

local function measure(o)
  local run, predictions = require "foodrt.run", require "foodrt.run.predictions"
  local model, r, state = run.load(o.runs[1], { trust = o.trust })
  local data, split = require("foodrt.run.photos").choose(r, state, o.data, o.split)
  data:open { classes = state.classes, columns = state.columns, splits = { split } }
  local tasks = run.tasks(r, state)
  local sheet = o.out and predictions.sheet(o.out, tasks) or nil
  local ok, p, values, m = require("foodrt.core.err").catch(predictions.of, model, data, split, tasks,
    { batch = o.batch, workers = o.workers, scores = false, sheet = sheet })
  if sheet and not (ok and p) then sheet:drop() end
  if not ok then error(p, 0) end
  if not p then return nil end
  return { name = r.name, run = o.runs[1], checkpoint = state.path, phase = state.phase_name, epoch = state.epoch, split = split,
    data = data.file or data.root, values = values, bound = tasks, tasks = by_task(tasks, m, p), unreadable = p.bad,
    preprocessing = data:settings(), predictions = p, sheet = sheet }
end

local function measure_ensemble(e, o)
  local f = e:evaluate { data = o.data, split = o.split, batch = o.batch, workers = o.workers }
  if not f then return nil end
  return { name = e.name, mean = e.mean, members = f.members, split = f.split, data = f.data, values = f.values, bound = f.tasks,
    tasks = by_task(f.tasks, f.measures, f.predictions), unreadable = f.bad, predictions = f.predictions }
end

-- numbers of an evaluation: "top1", "loss", "dish.top1"; n is told as `photos`
local function numbers(values, out)
  for key, v in pairs(values) do
    if key ~= "n" and key ~= "bad" and key ~= "photos" and key ~= "empty" and not key:find "%.empty$" then out[key] = v end
  end
end

local function as_json(found)
  local json = require "foodrt.core.json"
  local out = { photos = found.values.n, n_unreadable = #found.unreadable }
  for _, key in ipairs { "name", "run", "checkpoint", "phase", "epoch", "split", "data", "preprocessing", "mean" } do
    out[key] = found[key]
  end
  numbers(found.values, out)
  out.unreadable = json.list(found.unreadable)
  for _, key in ipairs { "classes", "per_class", "confused" } do out[key] = json.list(found.tasks[1][key]) end
  if #found.tasks > 1 then
    out.tasks = json.list {}
    for i, t in ipairs(found.tasks) do
      out.tasks[i] = { name = t.name, classes = json.list(t.classes), per_class = json.list(t.per_class), confused = json.list(t.confused) }
    end
  end
  if found.members then
    out.members = json.list {}
    for i, m in ipairs(found.members) do
      local one = { run = m.path, name = m.name, checkpoint = m.checkpoint, phase = m.phase, epoch = m.epoch, weight = m.weight,
        preprocessing = m.preprocessing }
      numbers(m.values, one)
      out.members[i] = one
    end
  end
  return json.encode(out, true)
end

-- says what was found; out exit status
local function say(found, o)
  if not found then return 130 end
  for _, b in ipairs(found.unreadable) do io.stderr:write(text.safe(b.why), "\n") end
  if found.values.n == 0 then
    if found.sheet then found.sheet:drop() end
    error(("foodrt: eval: no photo of '%s' in '%s' %s"):format(found.split, found.data,
      found.values.photos > 0 and "has a label" or "can be read"), 0)
  end
  if found.sheet then found.sheet:close() elseif o.out then found.predictions:write(o.out) end
  print(o.json and as_json(found) or text.safe(page(found), true))
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
    local given_to = args.rest(o.runs, 1)
    given_to.mean, given_to.weights = o.mean, o.weights
    local e = require("foodrt.run.ensemble").new(given_to)
    e.trust = o.trust
    return eval.ensemble(e, o)
  end
  return say(measure(o), o)
end

return eval
