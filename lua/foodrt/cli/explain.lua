--- foodrt explain: what a recipe would do on this machine, without photos and without computing: parameters,
--- phases, learning rates, FLOPs, memory, kernels, and what is probably not meant; of an ensemble its members. --json for
--- programs.
local cli, args = require "foodrt.cli", require "foodrt.core.args"
local explain = {}

explain.usage = [[
usage: foodrt explain RECIPE.lua [-o key.path=value ...] [--threads N] [--fused] [--json]
  what the recipe would do on this machine: parameters, phases, learning rates, FLOPs, memory, kernels
  --fused     for the training step of each phase: which ops became one step, which did not and why]]

local function parse(given)
  local o = args.parse("explain", given, { ["-o"] = args.override, ["--json"] = true, ["--fused"] = true,
    ["--threads"] = args.whole(1, 1024),
    ["--backend"] = args.device, ["--device"] = args.device })
  if not o[1] then cli.usage_error "explain: which recipe? foodrt explain RECIPE.lua" end
  if o[2] then cli.usage_error("explain: one recipe at a time, got '%s' and '%s'", o[1], o[2]) end
  return o
end

-- --- photos ----------------------------------------------------------------------------------------------------
local ASSUMED = { source = "assumed", classes = 101, train = 70700, val = 5050, test = 25250 }  -- Food-101, val out of train

local function sample_photos()
  local draw = dofile(require("foodrt.host").root .. "/share/foodrt/data/sample.lua")
  local n, each = #draw.classes(), draw.default_per_class
  return { source = "sample", classes = n, train = n * each.train, val = n * each.val, test = n * each.test }
end

-- What is known of the photos: counted where they are there, known of the sample set, else assumed.
local function photos_of(r)
  local data = r.data
  local kind = require("foodrt.core.io").kind
  if kind(data.file or data.root .. "/train") then
    data:open()
    return { source = "counted", classes = #data.classes, train = data:count "train", val = data:count "val",
      test = data:count "test" }
  end
  if r.source.sample then return sample_photos() end
  local out = {}
  for k, v in pairs(ASSUMED) do out[k] = v end
  return out
end

-- --- what is found -----------------------------------------------------------------------------------------------
local function kernels_of(step)
  local count, order = {}, {}
  for _, s in ipairs(step.step) do
    local key = s.op .. "\0" .. s.kernel
    if not count[key] then
      count[key] = { op = s.op, kernel = s.kernel, n = 0, flops = 0, reference = s.reference }
      order[#order + 1] = count[key]
    end
    count[key].n, count[key].flops = count[key].n + 1, count[key].flops + s.flops
  end
  table.sort(order, function(a, b)
    if a.n ~= b.n then return a.n > b.n end
    return a.op .. a.kernel < b.op .. b.kernel
  end)
  return order
end

-- steps of an epoch and of the phase
local function lengths(steps, photos)
  for _, s in ipairs(steps) do
    local batches = math.max(1, math.floor(photos.train / s.batch))
    s.epoch = math.ceil(batches / s.accumulate)
    s.updates = s.phase.steps or math.max(1, math.ceil(s.phase.epochs * s.epoch - 1e-9))
    s.epochs = s.updates / s.epoch
  end
end

-- What a phase with cache = true keeps, and how many times fewer FLOPs it computes for it.
local function cache_of(s, found)
  local features = require "foodrt.train.features"
  local k, photos = s.kept, found.photos
  if not k or not s.phase.cache then return nil end
  local out = { shapes = k.cut.shapes, where = k.cut.where, row = k.cut.row, views = k.views, used = k.used }
  if not k.used then return out end
  local fill = k.fill.flops / s.batch  -- of a photo
  local seen, steps = s.updates * s.batch * s.accumulate, s.updates * require("foodrt.show").step_flops(s)
  local once = features.flops(s, photos.train, { total = s.updates, updates = s.epoch })
  local each = found.evaluation.flops / found.steps[1].batch * photos.val
  out.train = features.bytes(k.cut.row, photos.train, k.views)
  out.val = photos.val > 0 and features.bytes(k.cut.row, photos.val, 1) or 0
  out.speedup = (steps + seen * fill + each * s.epochs) / (steps + once + each)
  return out
end

-- A script is not run: it would do its work, not say what it is.
local function load(o)
  local recipe = require "foodrt.train.recipe"
  local text, why = require("foodrt.core.file").read(o[1])
  if not text then error("foodrt: explain: " .. why, 0) end
  if not recipe.is_recipe(text, o[1]) then
    error(("foodrt: explain: %s is a script, not a recipe: it returns nothing"):format(o[1]), 0)
  end
  return recipe.from_text(o[1], text, o.o) or error(("foodrt: explain: %s returned nothing"):format(o[1]), 0)
end

-- --- an ensemble -------------------------------------------------------------------------------------------------
-- its members: { path, weight, run (nil: not trained yet), parameters, preprocessing, seen (the latter in words) }
local function members_of(e)
  local out = {}
  for i, path in ipairs(e.paths) do
    local r, recipe_path = e:recipe_of(i)
    local model = r and r.model
    if r then
      require("foodrt.train.dry").build(r, photos_of(r).classes)
    else
      model, r = require("foodrt.run").load(path)
    end
    out[i] = { path = recipe_path or path, name = r.name, weight = e.weights[i], run = e:run_of(i), parameters = model:count(),
      preprocessing = r.data:settings(), seen = r.data:preprocessing() }
  end
  return out
end

local function explain_ensemble(e, o)
  local members = members_of(e)
  if o.json then
    local list = require("foodrt.core.json").list {}
    for i, m in ipairs(members) do
      list[i] = { path = m.path, name = m.name, weight = m.weight, run = m.run or false, parameters = m.parameters,
        preprocessing = m.preprocessing }
    end
    print(require("foodrt.core.json").encode { name = e.name, recipe = e.source.path, ensemble = true, mean = e.mean, members = list })
    return 0
  end
  local text = require "foodrt.core.text"
  local rows = { { "member", "weight", "parameters", "run", "photos" } }
  for i, m in ipairs(members) do
    rows[i + 1] = { m.path, ("%g"):format(m.weight), text.count(m.parameters), m.run or "none yet, trained first", m.seen }
  end
  print(("%s  (%s), mean of %s\n"):format(e.name, e.source.path, e.mean == "probs" and "probabilities" or "logits"))
  print(table.concat(text.columns(rows, { false, true, true }), "\n"))
  return 0
end

local function gather(o, r)
  local dry, budget = require "foodrt.train.dry", require "foodrt.train.budget"
  local api = require("foodrt.tensor").api
  if o.threads or r.threads then api.set_threads(o.threads or r.threads) end
  args.use_device(o.device or o.backend)
  local precision, other = require("foodrt.train.precision").set(r.precision)
  local photos = photos_of(r)
  dry.build(r, photos.classes)
  local ok, planned = pcall(budget.limit, r)
  if not ok then
    error(dry.looked(planned) and planned .. "; explain computes nothing: print shapes there, or leave it to a run" or planned, 0)
  end
  local steps, needs, worst, evaluation = planned.steps, planned.needs, planned.worst, planned.evaluation
  lengths(steps, photos)
  local verdict, fit = budget.verdict(r, steps, needs, worst)
  verdict = planned.message or verdict
  local available, where = budget.available()
  local found = { photos = photos, steps = steps, evaluation = evaluation }
  for _, s in ipairs(steps) do s.cache = cache_of(s, found) end
  return { recipe = r, photos = photos, steps = steps, needs = needs, worst = worst, evaluation = evaluation,
    verdict = verdict, fit = fit, available = available, where = where, device = api.device(),
    precision = precision, precision_why = other,
    lints = require("foodrt.train.lint").find(r, { steps = steps, photos = photos }) }
end

--- in arguments after "explain"; out exit status
function explain.run(given)
  local o = parse(given)
  local r = load(o)
  if require("foodrt.run.ensemble").is(r) then return explain_ensemble(r, o) end
  local found = gather(o, r)
  found.fused = o.fused
  for _, s in ipairs(found.steps) do s.kernels = kernels_of(s) end
  local show = require "foodrt.show"
  if o.json then
    print(require("foodrt.core.json").encode(show.json(found)))
  else
    print(table.concat(show.text(found), "\n"))
  end
  return 0
end

return explain
