--- card: what a checkpoint says of itself as data: which model, which heads with which classes, how photos are looked at, what
--- it was measured on; and its evaluation graph as text. Whoever predicts or evaluates reads this and runs no Lua from the file.
---   local text, graph, extra = card.make { recipe = r, state = state, tasks = tasks, model = model, losses = losses }
---   local c = card.read("best.safetensors", metadata)      -- checked; nil where the file has none
---
---   { format = 1, name, model = { constructor, options } or nil, parameters, phase, epoch,
---     preprocessing = { size, train_size, mean, std, fill, crop_pct, mode, interpolation, shrink }, precision,
---     heads = { { name, single, label, head, width, classes = { … }, metrics = { … }, weight,
---                 loss = { photos = k } or { number = k } or { tensor = true }, or nil } },
---     data = { kind, root, file, attributes, batch, on_bad, sample = { { path, text }, … } },
---     no_graph = why there is none, no_loss = why it has no losses }
---
--- Values of the graph: inputs "photos" [N, 3, S, S] and "labels:LABEL" [N]; outputs "logits:NAME", and of a loss its sum and
--- weight, "sum:NAME" and "weight:NAME", once where no label is missing and once (…:missing) where some may be.
local T = require "foodrt.tensor"
local task, losses, modes = require "foodrt.train.task", require "foodrt.train.loss", require "foodrt.train.modes"
local registry, json = require "foodrt.train.metric.registry", require "foodrt.core.json"

local card = { FORMAT = 1 }

-- --- recording ----------------------------------------------------------------------------------------------
-- A loss's weight as a number: what it is of n photos at both batches that are recorded.
local function weight_of(seen)
  local a, b = seen[1], seen[2]
  if type(a.weight) ~= "number" then return { tensor = true } end
  if a.weight == b.weight then return { number = a.weight } end
  if a.weight * b.n == b.weight * a.n then return { photos = a.weight / a.n } end
  error("the weight of its loss is no multiple of the photos", 0)
end

-- The sum and weight of a task's loss, where labels are all there and where some may be missing.
local function record_loss(t, logits, batch, out, seen)
  local y = batch.labels[t.label]
  for _, whole in ipairs { true, false } do
    rawset(y, "complete", whole)
    local part, missing = losses.part(t.loss, logits, y, batch), whole and "" or ":missing"
    out["sum:" .. t.name .. missing] = losses.sum(part)
    if type(part.weight) ~= "number" then out["weight:" .. t.name .. missing] = part.weight end
    local key = t.name .. missing
    seen[key] = seen[key] or {}
    table.insert(seen[key], { n = batch.n, weight = part.weight })
  end
end

local function trace(model, tasks, size, with_losses)
  local inputs, seen = { photos = { "N", 3, size, size } }, {}
  for _, t in ipairs(tasks) do
    if t.loss and with_losses then inputs["labels:" .. t.label] = { "N", dtype = "i32" } end
  end
  local g = T.api.graph.trace(function(given)
    local x = given.photos
    local batch, out = { n = x.shape[1], index = 1, n_bad = 0, ids = {}, paths = {}, labels = {}, x = x }, {}
    for _, t in ipairs(tasks) do
      batch.labels[t.label] = given["labels:" .. t.label]
      batch.y = batch.y or batch.labels[t.label]
    end
    local heads, logits = model(x), {}
    for i, t in ipairs(tasks) do
      logits[i] = task.logits(t, model, heads, batch.n)
      out["logits:" .. t.name] = logits[i]
    end
    for i, t in ipairs(tasks) do
      if t.loss and with_losses then record_loss(t, logits[i], batch, out, seen) end
    end
    return out
  end, inputs)
  local weights = {}
  for _, t in ipairs(tasks) do
    if t.loss and with_losses then
      weights[t.name] = { whole = weight_of(seen[t.name]), missing = weight_of(seen[t.name .. ":missing"]) }
    end
  end
  return g, weights
end

-- Without the line that raised it, which is foodrt's own where user code isn't to blame.
local function reason(why)
  return (tostring(why):gsub("%c", " "))
end

-- The graph and the weights of the losses; nil and why. Where only the losses can't be recorded, the graph goes without.
local function recorded(model, tasks, size)
  local before = modes.of(model)
  model:eval()
  local ok, g, weights = pcall(trace, model, tasks, size, true)
  local no_loss
  if not ok then
    no_loss = reason(g)
    ok, g, weights = pcall(trace, model, tasks, size, false)
  end
  before:restore()
  T.forget()
  if not ok then return nil, reason(g) end
  return g, weights, no_loss
end

-- Variables take the names under which the file keeps their values; the others are kept beside them.
local function take_names(g, state, losses_state)
  local by_ref, extra, n = {}, {}, 0
  for name, t in pairs(losses_state or {}) do by_ref[t.ref] = name end
  for name, t in pairs(state) do by_ref[t.ref] = name end
  local function fresh()
    repeat n = n + 1 until not state["graph." .. n] and not (losses_state or {})["graph." .. n]
    return "graph." .. n
  end
  local large = g:constants(true)
  g:rename(function(name, ref, kind)
    if kind == "variable" and by_ref[ref] then return by_ref[ref] end
    local value = large[name]
    if kind == "variable" then value = T.wrap(ref) end
    if not value then return nil end
    local own = fresh()
    extra[own] = value
    return own
  end)
  return extra
end

-- --- what is said -------------------------------------------------------------------------------------------
local function data_of(r)
  local data, sample = r.data, nil
  if r.source and r.source.sample then
    sample = json.list {}
    for i, o in ipairs(r.source.sample) do sample[i] = json.list { o[1], require("foodrt.run.sample").shown(o[2]) } end
  end
  local file = rawget(data, "file")
  return { kind = file and "manifest" or "folder", root = rawget(data, "root"), file = file, attributes = rawget(data, "attributes"),
    batch = data.batch, on_bad = data.on_bad, sample = sample }
end

local function heads_of(tasks, weights)
  local out = json.list {}
  for i, t in ipairs(tasks) do
    local names = json.list {}
    for k, m in ipairs(t.metrics) do names[k] = registry.get(m).name end
    local classes = json.list {}
    for k, class in ipairs(t.classes) do classes[k] = class end
    out[i] = { name = t.name, single = t.single or false, label = t.label, head = t.head, width = #t.classes,
      classes = classes, metrics = names, weight = t.weight, loss = weights and weights[t.name] or nil }
  end
  return out
end

--- the card as a table, the graph's text (nil where the model has none: the card says why), and tensors by name that the file
--- must keep for the graph beside the model's and the losses'.
--- in   o.recipe, o.model   and what of them is in the file:
---      o.state             a checkpoint's metadata (session:state())
---      o.tasks             bound tasks with the metrics that are reported (run.tasks)
---      o.losses            tensors of the losses by name
function card.make(o)
  local r, s = o.recipe, o.state
  local g, weights, no_loss = recorded(o.model, o.tasks, s.preprocessing.size)
  local out = { format = card.FORMAT, name = s.name, model = rawget(o.model, "_made_by"), parameters = o.model:count(),
    phase = s.phase_name, epoch = s.epoch, preprocessing = s.preprocessing, precision = s.precision, data = data_of(r),
    heads = heads_of(o.tasks, g and weights), no_loss = no_loss, no_graph = not g and weights or nil }
  if not g then return out end
  local extra = take_names(g, (o.model:state_dict()), o.losses)
  local ok, text = pcall(g.text, g)
  if not ok then
    out.no_graph = reason(text)
    return out
  end
  return out, text, extra
end

-- --- reading ------------------------------------------------------------------------------------------------
local NAME, LONG = 200, 4096
local MOST_CLASSES, MOST_HEADS = 1e6, 64

local function text(v, most)
  return type(v) == "string" and #v <= most and not v:find "%z"
end

local function whole(v, least, most)
  return type(v) == "number" and v % 1 == 0 and v >= least and v <= most
end

local function finite(v)
  return type(v) == "number" and v - v == 0
end

local function texts(list, most, long)
  if type(list) ~= "table" or #list > most then return false end
  for key, v in pairs(list) do
    if not whole(key, 1, #list) or not text(v, long) then return false end
  end
  return true
end

local function weight_ok(w)
  if type(w) ~= "table" then return false end
  return w.tensor == true or finite(w.number) and w.number > 0 or finite(w.photos) and w.photos > 0
end

local function head_fault(h)
  if type(h) ~= "table" then return "is no object" end
  if not text(h.name, NAME) or not h.name:match "^[%a_][%w_]*$" then return "has no name" end
  if not text(h.label, LONG) then return "has no label column" end
  if type(h.single) ~= "boolean" then return "does not say whether it is the only one" end
  if not h.single and not (text(h.head, NAME) or whole(h.head, 1, 1e6)) then return "does not say where its logits are" end
  if not whole(h.width, 1, MOST_CLASSES) then return "has no width" end
  if not texts(h.classes, MOST_CLASSES, LONG) or #h.classes ~= h.width then return "must have as many classes as its width" end
  if not texts(h.metrics, 100, NAME) then return "has no list of metrics" end
  if not finite(h.weight) or h.weight < 0 then return "has no weight" end
  if h.loss ~= nil and not (type(h.loss) == "table" and weight_ok(h.loss.whole) and weight_ok(h.loss.missing)) then
    return "has a damaged loss"
  end
end

local KINDS = { folder = "root", manifest = "file" }
local ON_BAD = { substitute = true, skip = true, error = true }

local function data_fault(d)
  if type(d) ~= "table" or not KINDS[d.kind] then return "must be a folder or a manifest" end
  if not text(d[KINDS[d.kind]], LONG) then return "does not say where the photos are" end
  for _, key in ipairs { "root", "file", "attributes" } do
    if d[key] ~= nil and not text(d[key], LONG) then return ("has a damaged '%s'"):format(key) end
  end
  if not whole(d.batch, 1, 65536) then return "has no batch" end
  if not ON_BAD[d.on_bad] then return "has no on_bad" end
  if d.sample ~= nil then
    if type(d.sample) ~= "table" then return "has a damaged 'sample'" end
    for _, o in ipairs(d.sample) do
      if not texts(o, 2, LONG) or #o ~= 2 then return "has a damaged 'sample'" end
    end
  end
end

local function fault(c)
  if type(c) ~= "table" then return "is no object" end
  if c.format ~= card.FORMAT then
    return ("is of form %s, this foodrt reads form %d"):format(type(c.format) == "number" and c.format or "?", card.FORMAT)
  end
  if not text(c.name, NAME) or not c.name:match "^[%w_%-%.]+$" then return "has no name" end
  if not text(c.phase, NAME) or not whole(c.epoch, 0, 1e9) then return "does not say which phase and epoch it is of" end
  if not whole(c.parameters, 0, 1e13) then return "does not say how many parameters there are" end
  if type(c.preprocessing) ~= "table" then return "does not say how photos are looked at" end
  if type(c.heads) ~= "table" or #c.heads < 1 or #c.heads > MOST_HEADS then return ("must have 1 to %d heads"):format(MOST_HEADS) end
  local seen = {}
  for i = 1, #c.heads do
    local why = head_fault(c.heads[i])
    if why then return ("head %d %s"):format(i, why) end
    if seen[c.heads[i].name] or c.heads[i].single and #c.heads > 1 then return "its heads are not told apart" end
    seen[c.heads[i].name] = true
  end
  local why = data_fault(c.data)
  if why then return "its data " .. why end
  if c.no_graph ~= nil and not text(c.no_graph, 1e5) then return "has a damaged 'no_graph'" end
end

--- the card of a file's metadata; nil where it has none. Whatever is wrong with it is an error that names the file: its texts
--- are anybody's.
function card.read(path, metadata)
  if metadata.card == nil then return nil end
  local ok, c, why = pcall(json.decode, metadata.card)
  if not ok then c, why = nil, tostring(c) end
  if c == nil then error(("%s: damaged card: %s"):format(path, why or "it is empty"), 0) end
  why = fault(c)
  if why then error(("%s: damaged card: %s"):format(path, why), 0) end
  if c.no_graph == nil and not text(metadata.graph, math.huge) then
    error(("%s: damaged card: the evaluation graph is missing"):format(path), 0)
  end
  return c
end

return card
