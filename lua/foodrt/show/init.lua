--- show: what `foodrt explain` found, as text for a terminal and as a table for JSON.
--- What it is given is described in cli/explain.lua.
local text = require "foodrt.core.text"

local show = {}

local PLOT = 60  -- columns of the learning-rate curve

-- --- learning rates ------------------------------------------------------------------------------------------
-- the parts of a model whose parameters a list of names covers: as few dotted paths as do it
local function cover(names, all)
  if #names == #all then return { "everything" } end
  local chosen = {}
  for _, n in ipairs(names) do chosen[n] = true end
  local total, hit = {}, {}
  for _, n in ipairs(all) do
    local path = ""
    for part in n:gmatch "[^%.]+" do
      path = path == "" and part or path .. "." .. part
      total[path] = (total[path] or 0) + 1
      if chosen[n] then hit[path] = (hit[path] or 0) + 1 end
    end
  end
  local out, done = {}, {}
  for _, n in ipairs(names) do
    local path = ""
    for part in n:gmatch "[^%.]+" do
      path = path == "" and part or path .. "." .. part
      if done[path] then break end
      if hit[path] == total[path] then
        done[path] = true
        out[#out + 1] = path
        break
      end
    end
  end
  return out
end

--- parameters that have the same rate in every phase: { { parts, lr = { per phase, false: frozen } }, … }
local function curves(found)
  local by_key, order, all = {}, {}, {}
  for name in found.recipe.model:named_parameters() do
    local lrs, key = {}, {}
    for p, step in ipairs(found.steps) do
      lrs[p] = step.rate_of[name] or false
      key[p] = tostring(lrs[p])
    end
    key = table.concat(key, "/")
    local row = by_key[key]
    if not row then
      row = { names = {}, lr = lrs }
      by_key[key], order[#order + 1] = row, row
    end
    table.insert(row.names, name)
    all[#all + 1] = name
  end
  for _, row in ipairs(order) do row.parts = cover(row.names, all) end
  return order
end

local function factor(step, at)
  local s = step.phase.sched
  if not s then return 1 end
  return s:at(at, step.updates, step.epoch)
end

-- columns of each phase by its share of all updates, at least 6
local function split_columns(steps)
  local total, out = 0, {}
  for _, s in ipairs(steps) do total = total + s.updates end
  for i, s in ipairs(steps) do out[i] = math.max(6, math.floor(PLOT * s.updates / total + 0.5)) end
  return out
end

local POINTS = 1024  -- at which a schedule is looked at

-- a curve as values in 0 .. 1 of its peak (the highest of each column), and lowest and highest rate
local function sampled(found, row, columns)
  local values, peak, low = {}, 0, math.huge
  for p, step in ipairs(found.steps) do
    if p > 1 then values[#values + 1] = "|" end
    local n, first = math.min(step.updates, POINTS), #values
    for c = 1, columns[p] do values[first + c] = false end
    for i = 1, row.lr[p] and n or 0 do
      local at = n > 1 and math.floor((i - 1) / (n - 1) * (step.updates - 1) + 0.5) or 0
      local v = row.lr[p] * factor(step, at)
      local c = first + 1 + math.floor((i - 1) / n * columns[p])
      values[c] = math.max(values[c] or 0, v)
      peak, low = math.max(peak, v), math.min(low, v)
    end
    for c = first + 2, first + columns[p] do  -- fewer steps than columns
      if not values[c] then values[c] = values[c - 1] end
    end
  end
  for i, v in ipairs(values) do
    if type(v) == "number" then values[i] = peak > 0 and v / peak or 0 end
  end
  return values, low, peak
end

local function plots(found, add)
  local rows = curves(found)
  local shown = {}
  for _, row in ipairs(rows) do
    local any = false
    for _, lr in ipairs(row.lr) do any = any or lr end
    if any then shown[#shown + 1] = row end
  end
  local columns, height = split_columns(found.steps), #shown == 1 and 3 or 2
  local names = {}
  for p, step in ipairs(found.steps) do
    names[p] = text.pad(step.name:sub(1, columns[p]), columns[p])
  end
  add("rate", (table.concat(names, " "):gsub("%s+$", "")))
  for i, row in ipairs(shown) do
    if i > 6 then
      add("", ("… %d more groups"):format(#shown - 6))
      break
    end
    local values, low, peak = sampled(found, row, columns)
    local lines = text.plot(values, low == peak and 1 or height)
    for l, line in ipairs(lines) do
      local label = l == 1 and text.rate(peak) or l == #lines and low ~= peak and text.rate(tonumber(("%.2g"):format(low))) or ""
      line = text.pad(line, PLOT + #found.steps + 1) .. "  " .. label
      if l == #lines then line = text.pad(line, PLOT + #found.steps + 12) .. " " .. text.some(row.parts, 3) end
      add("", (line:gsub("%s+$", "")))
    end
  end
end

-- --- the parts of the page -------------------------------------------------------------------------------------
local function model_lines(found, add)
  local model, parts = found.recipe.model, {}
  for _, child in ipairs(require("foodrt.nn.module").children(model)) do
    local name, m = child[1], child[2]
    local n = m:count()
    if n > 0 then
      local kind = rawget(m, "name") and (m.name ~= name and " " .. m.name or "") or tonumber(name) and " " .. m.kind or ""
      parts[#parts + 1] = ("%s%s %s"):format(name, kind, text.count(n))
    end
  end
  local weights = found.weights
  add("model", ("%s parameters%s"):format(text.count(model:count()), #parts > 0 and ": " .. text.some(parts, 6) or ""))
  add("", weights)
end

local function data_lines(found, add)
  local r, p = found.recipe, found.photos
  local counts = ("%s train, %s val, %s test"):format(text.grouped(p.train), text.grouped(p.val), text.grouped(p.test))
  if p.source == "counted" then
    add("data", ("%s: %d classes, %s"):format(r.data.file or r.data.root, p.classes, counts))
  elseif p.source == "sample" then
    local taken = {}
    for i, o in ipairs(r.source.sample) do taken[i] = ("%s = %s"):format(o[1], type(o[2]) == "table" and "…" or tostring(o[2])) end
    add("data", ("no photos in data/train: the sample set, %d classes, %s"):format(p.classes, counts))
    for i = 1, #taken, 3 do
      add("", (i == 1 and "with " or "     ") .. table.concat(taken, ", ", i, math.min(i + 2, #taken)))
    end
  else
    add("data", ("%s is not there; %d classes and %s are assumed"):format(r.data.file or r.data.root, p.classes, counts))
  end
  add("photos", r.data:preprocessing())
  add("", r.data:origin())
  local train = {}
  for i, a in ipairs(r.data.train) do
    train[i] = tostring(a):gsub(", interpolation = bilinear", ""):gsub("interpolation = bilinear, ", "")
      :gsub("{ interpolation = bilinear }", "{}")
  end
  local own_size = r.data:settings().train_size
  add("", ("training: %s%s"):format(own_size and ("%d x %d, "):format(own_size, own_size) or "", train[1] or "no augmentation"))
  for i = 2, #train do add("", "          " .. train[i]) end
  local losses, own = require "foodrt.train.loss", r.step and "; the recipe's own step" or ""
  if not r.tasks then add("loss", losses.describe(r.loss) .. own) end
  for i, t in ipairs(r.tasks or {}) do
    add(i == 1 and "tasks" or "", ("%s: %s, weight %g, of the column '%s'%s"):format(t.name, losses.describe(t.loss), t.weight, t.label,
      i == 1 and own or ""))
  end
end

-- "adamw 1e-3 on 43.0 k, 1e-5 on 17.5 M; decay 1e-4 on 17.4 M"
local function rates(step)
  local function by(key)
    local count, order = {}, {}
    for _, g in ipairs(step.groups) do
      local v = g[key]
      if not count[v] then
        count[v], order[#order + 1] = 0, v
      end
      count[v] = count[v] + g.count
    end
    table.sort(order, function(a, b) return a > b end)
    local parts = {}
    for _, v in ipairs(order) do
      if key == "lr" or v > 0 then
        parts[#parts + 1] = text.rate(v) .. ((#order > 1 or key ~= "lr") and " on " .. text.count(count[v]) or "")
      end
    end
    if #parts > 3 then parts = { parts[1], ("… %d rates …"):format(#parts - 2), parts[#parts] } end
    return table.concat(parts, ", ")
  end
  local decay = by "weight_decay"
  return step.phase.optim.kind .. " " .. by "lr" .. (decay ~= "" and "; decay " .. decay or "")
    .. (step.ema and ("; ema %g"):format(step.ema.decay) or "")
end

local function phase_lines(found, add)
  local rows = { { "phase", "epochs", "steps", "batch", "trained", "FLOPs/step", "optimizer" } }
  for _, s in ipairs(found.steps) do
    rows[#rows + 1] = { s.name, ("%.3g"):format(s.epochs), text.grouped(s.updates),
      s.accumulate > 1 and ("%d x %d"):format(s.batch, s.accumulate) or tostring(s.batch), text.count(s.trainable),
      text.count(show.step_flops(s)), rates(s) }
  end
  for i, line in ipairs(text.columns(rows, { false, true, true, true, true, true })) do add(i == 1 and "phases" or "", line) end
  add("FLOPs", ("%s for one photo in evaluation, by a plan of %d steps"):format(
    text.count(found.evaluation.flops / found.steps[1].batch), found.evaluation.n_steps))
end

-- what phases keep of the photos
local function cache_lines(found, add)
  local first = true
  for _, s in ipairs(found.steps) do
    local c = s.cache
    if c and not c.used then
      add(first and "cache" or "", ("%s: nothing, no photo is seen twice in the same view"):format(s.name))
    elseif c then
      add(first and "cache" or "", ("%s: %s by %s, %s a photo, %d view%s: %s train, %s val under the run"):format(s.name,
        table.concat(c.shapes, " and "), c.where, text.bytes(c.row), c.views, c.views == 1 and "" or "s", text.bytes(c.train),
        text.bytes(c.val)))
      add("", ("%sabout %.3g times fewer FLOPs than without, validation included"):format((" "):rep(#s.name + 2), c.speedup))
    end
    first = first and not c
  end
end

--- FLOPs of one optimizer step.
function show.step_flops(s)
  return s.step.flops * s.accumulate + (s.update and s.update.flops or 0)
end

local MEMORY = { { "arena", "intermediates" }, { "weights", "weights" }, { "moments", "optimizer" }, { "averages", "averages" },
  { "sums", "gradients" }, { "counts", "measures" }, { "derived", "packed" }, { "ring", "loader" },
  { "checkpoint", "checkpoint" }, { "outputs", "outputs" }, { "process", "process" } }

local function memory_lines(found, add)
  local rows = { { "" } }
  local used = {}
  for _, part in ipairs(MEMORY) do
    for _, need in ipairs(found.needs) do used[part[1]] = used[part[1]] or need[part[1]] >= 2 ^ 19 end
    if used[part[1]] then table.insert(rows[1], part[2]) end
  end
  table.insert(rows[1], "together")
  local right = {}
  for i, need in ipairs(found.needs) do
    local row = { found.steps[i].name }
    for _, part in ipairs(MEMORY) do
      if used[part[1]] then table.insert(row, need[part[1]] > 0 and text.bytes(need[part[1]]) or "") end
    end
    table.insert(row, text.bytes(need.total))
    rows[i + 1] = row
    for c = 2, #row do right[c] = true end
  end
  for i, line in ipairs(text.columns(rows, right)) do add(i == 1 and "memory" or "", line) end
  add("", ("available %s%s; %s"):format(text.bytes(found.available), found.where ~= "memory" and (" (%s)"):format(found.where) or "",
    found.device))
  if found.precision_why then add("", found.precision_why) end
end

-- "conv2d 160 onednn, 32 own"
local function kernel_lines(found, add)
  local ops, order = {}, {}
  local step = found.steps[#found.steps]
  for _, k in ipairs(step.kernels) do
    if not ops[k.op] then
      ops[k.op] = {}
      order[#order + 1] = k.op
    end
    table.insert(ops[k.op], ("%d %s"):format(k.n, k.kernel))
  end
  local line, first = "", true
  for i, op in ipairs(order) do
    local part = op .. ": " .. table.concat(ops[op], ", ")
    if text.width(line .. part) > 84 then
      add(first and "kernels" or "", line:gsub("%s+$", "") .. "")
      line, first = "", false
    end
    line = line .. part .. (i < #order and " · " or "")
  end
  if line ~= "" then add(first and "kernels" or "", line) end
  local n, reference = 0, 0
  for _, s in ipairs(found.steps) do
    n, reference = n + s.step.n_steps, reference + s.step.n_reference
  end
  n, reference = n + found.evaluation.n_steps, reference + found.evaluation.n_reference
  add("", ("%d steps in all phases and evaluation, %d by the reference"):format(n, reference))
end

-- what each phase's step fuses; phases with the same plan once
local function fused_lines(found, lines)
  local fused, last = require "foodrt.show.fused", nil
  for _, s in ipairs(found.steps) do
    local text_of = table.concat(fused.lines(s.step), "\n")
    lines[#lines + 1] = ""
    lines[#lines + 1] = ("training step of phase '%s'%s"):format(s.name, text_of == last and ": as before" or "")
    if text_of ~= last then lines[#lines + 1] = text_of end
    last = text_of
  end
end

local function wrap(line, width)
  local out, now = {}, ""
  for word in line:gmatch "%S+" do
    if now ~= "" and text.width(now) + 1 + text.width(word) > width then
      out[#out + 1] = now
      now = word
    else
      now = now == "" and word or now .. " " .. word
    end
  end
  out[#out + 1] = now
  return out
end

-- the weights a model starts from: what --json says of them, and in words
local function weights_of(r)
  local pretrained, plan = require "foodrt.models.pretrained", nil
  for _, m in r.model:modules() do
    plan = plan or pretrained.plan(m, r.source.sample ~= nil)
  end
  local random = ("from random weights, seed %d"):format(r.seed)
  if not plan then return false, random end
  if plan.random then return { random = true, why = plan.why }, ("%s (%s)"):format(random, plan.why) end
  if plan.path then return { name = plan.name, cached = true }, "from the weights " .. plan.name end
  return { name = plan.name, licence = plan.licence, cached = plan.cached }, ("from %s (%s), %s"):format(plan.name,
    plan.licence or "licence not known yet", plan.cached and "in the cache"
    or plan.auto and "fetched when it runs; else from random weights" or "fetched when it runs")
end

local function prepare(found)
  for _, s in ipairs(found.steps) do
    s.rate_of = {}
    for _, e in ipairs(s.rates) do s.rate_of[e.name] = e.lr end
  end
  found.pretrained, found.weights = weights_of(found.recipe)
end

--- lines of the page.
function show.text(found)
  prepare(found)
  local lines = {}
  local function add(label, line) lines[#lines + 1] = text.pad(label, 9) .. line end
  lines[1] = ("%s  (%s%s)"):format(found.recipe.name, found.recipe.source.path, #found.recipe.source.overrides > 0
    and (", %d override%s"):format(#found.recipe.source.overrides, #found.recipe.source.overrides == 1 and "" or "s") or "")
  local function gap() lines[#lines + 1] = "" end
  gap()
  model_lines(found, add)
  data_lines(found, add)
  gap()
  phase_lines(found, add)
  cache_lines(found, add)
  plots(found, add)
  gap()
  memory_lines(found, add)
  if found.verdict then
    for i, line in ipairs(wrap(found.verdict, 88)) do add(i == 1 and "" or "", (i == 1 and "! " or "  ") .. line) end
  end
  kernel_lines(found, add)
  if #found.lints > 0 then gap() end
  for i, one in ipairs(found.lints) do
    for l, line in ipairs(wrap(one, 86)) do add(i == 1 and l == 1 and "notes" or "", (l == 1 and "- " or "  ") .. line) end
  end
  if found.fused then fused_lines(found, lines) end
  return lines
end

-- --- JSON --------------------------------------------------------------------------------------------------------
local function phase_json(s, need, with_fused)
  local fused, list = require "foodrt.show.fused", require("foodrt.core.json").list
  local memory = {}
  for key, v in pairs(need) do memory[key] = v end
  return { name = s.name, epochs = s.epochs, steps = s.updates, batch = s.batch, accumulate = s.accumulate,
    trainable = s.trainable, step_flops = show.step_flops(s), memory = memory, groups = s.groups,
    optimizer = s.phase.optim.kind, schedule = s.phase.sched and tostring(s.phase.sched) or "constant",
    plan_steps = s.step.n_steps + (s.update and s.update.n_steps or 0),
    reference_steps = s.step.n_reference + (s.update and s.update.n_reference or 0), kernels = s.kernels,
    cache = s.cache, ema = s.ema, fused = with_fused and list(fused.done(s.step)) or nil,
    missed = with_fused and list(fused.missed(s.step)) or nil }
end

local function curve_json(found)
  local out = {}
  for i, row in ipairs(curves(found)) do
    local points = {}
    for p, step in ipairs(found.steps) do
      local n = math.min(step.updates, 33)
      for c = 1, row.lr[p] and n or 0 do
        local at = n > 1 and math.floor((c - 1) / (n - 1) * (step.updates - 1) + 0.5) or 0
        points[#points + 1] = { phase = step.name, step = at, lr = row.lr[p] * factor(step, at) }
      end
    end
    out[i] = { parts = row.parts, points = require("foodrt.core.json").list(points) }
  end
  return out
end

local function tasks_of(r)
  if not r.tasks then return nil end
  local out = {}
  for i, t in ipairs(r.tasks) do
    out[i] = { name = t.name, label = t.label, loss = require("foodrt.train.loss").describe(t.loss), weight = t.weight }
  end
  return out
end

--- the same as a table.
function show.json(found)
  prepare(found)
  local list = require("foodrt.core.json").list
  local r, phases = found.recipe, {}
  for i, s in ipairs(found.steps) do phases[i] = phase_json(s, found.needs[i], found.fused) end
  local photos, train = found.photos, {}
  for i, a in ipairs(r.data.train) do train[i] = tostring(a) end
  local _, buffers = require("foodrt.train.dry").weights(r.model)
  return { name = r.name, recipe = r.source.path, seed = r.seed, parameters = r.model:count(), buffers = buffers / 4,
    pretrained = found.pretrained, data = { root = r.data.root, file = r.data.file, source = photos.source,
      classes = photos.classes, train = photos.train, val = photos.val, test = photos.test },
    sample = r.source.sample and true or false, preprocessing = r.data:settings(), augment = list(train),
    loss = r.loss and (type(r.loss) == "table" and rawget(r.loss, "describe") or "function") or nil, tasks = tasks_of(r), phases = phases,
    flops_per_photo = found.evaluation.flops / found.steps[1].batch, learning_rates = curve_json(found),
    reference_steps = found.evaluation.n_reference, available = found.available, limit = found.where,
    fits = found.verdict == nil, advice = found.verdict, fitting = found.fit, device = found.device,
    precision = found.precision, notes = list(found.lints) }
end

return show
