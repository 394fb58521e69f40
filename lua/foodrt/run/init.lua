--- run: what a run left behind, loaded again.
---   local model, recipe, state = frt.run.load "runs/effnet_b4_focal"
---   print(state.classes[1], model(recipe.data:preprocess "photo.jpg"):softmax(2))
local checkpoint, task, learners = require "foodrt.train.checkpoint", require "foodrt.train.task", require "foodrt.train.learners"
local T, opt = require "foodrt.tensor", require "foodrt.core.opt"
local run = {}

--- makes `data` look at photos as a checkpoint says, whatever the model or foodrt's defaults say today.
--- in   p  the checkpoint's preprocessing
function run.see_as(data, p)
  if not p then return end
  data.size, data.mean, data.std, data.fill = p.train_size or p.size, p.mean, p.std, p.fill
  data.eval = { size = p.train_size and p.size, crop_pct = p.crop_pct, mode = p.mode, interpolation = p.interpolation,
    shrink = p.shrink or false }
end

-- --- loading --------------------------------------------------------------------------------------------------
-- The recipe's own module, by running its text: with all the user's rights.
local function from_recipe(c, file)
  local meta = c.meta
  if type(meta.recipe_text) ~= "string" then error(("foodrt: %s holds no recipe"):format(file), 0) end
  local given = require("foodrt.core.args").rest(meta.overrides or {}, 1)
  given.files, given.sample = meta.files, meta.sample or false
  local r = require("foodrt.train.recipe").from_text(meta.recipe_path, meta.recipe_text,
    given)
  local model = r.model
  run.see_as(r.data, meta.preprocessing)
  local sizes = task.sizes(meta.columns)
  model:build { input = { 1, 3, r.data.size, r.data.size }, classes = sizes.classes, columns = sizes.columns, seed = r.seed,
    values = false }
  model:load_state_dict(checkpoint.weights(c), { from = file })
  learners.build(r, meta.columns, false)
  learners.load(r, c.losses, file)
  return model:eval(), r
end

-- What an error of a check says, as damage of the file.
local function damaged(file, fn, ...)
  local ok, found = pcall(fn, ...)
  if ok then return found end
  error(("foodrt: %s: damaged card: %s"):format(file, (tostring(found):gsub("^[^%s:]+%.lua:%d+: ", ""):gsub("^foodrt: ", ""))), 0)
end

local TRUST = "--trust runs the recipe that it holds (Lua, with all your rights) instead; frt.run.load(path, { trust = true })"

-- Photos as the card says: where they were, and how they are looked at.
local function data_of(said, file)
  local d, frt_data = said.data, require "foodrt.data"
  return damaged(file, function()
    local data = frt_data[d.kind] { file = d.file, root = not d.sample and d.root or nil, attributes = d.attributes, batch = d.batch,
      on_bad = d.on_bad }
    -- the sample set has one place: no file says where something is drawn
    if d.sample then data.root = require("foodrt.train.recipe").DEFAULT_ROOT .. "/sample" end
    run.see_as(data, said.preprocessing)
    data:recheck()
    data:view(false)
    return data
  end)
end

-- The values of the graph's variables, from the file's tensors by name.
local function bound_graph(c, file)
  local g = T.api.graph.parse(c.metadata.graph, file .. ": evaluation graph")
  for _, tensors in ipairs { checkpoint.weights(c), c.losses, c.graph } do
    local ok, why = pcall(g.bind, g, tensors)
    if not ok then error(("foodrt: %s: %s"):format(file, (tostring(why):gsub("^[^%s:]+%.lua:%d+: ", ""))), 0) end
  end
  local missing = g:missing()
  if #missing > 0 then
    error(("foodrt: %s: its evaluation graph reads '%s', of which the file has no values%s"):format(file, missing[1],
      #missing > 1 and (" (and %d more)"):format(#missing - 1) or ""), 0)
  end
  local most, available = g:largest(), require("foodrt.train.budget").available()
  if available and most > available then
    error(("foodrt: %s: its evaluation graph needs %s for one value of one photo, this machine has %s"):format(file,
      require("foodrt.core.text").bytes(most), require("foodrt.core.text").bytes(available)), 0)
  end
  return g
end

-- Every output that the card speaks of must be there, in the shape it says.
local function check_outputs(g, said, file)
  local by = {}
  for _, o in ipairs(g:outputs()) do by[o.name] = g:value(o.value) end
  local function check(name, ...)
    local v, want = by[name], { ... }
    local ok = v and v.dtype == "f32" and #v.shape == #want
    for d, n in ipairs(want) do ok = ok and v.shape[d] == n end
    if not ok then
      error(("foodrt: %s: damaged card: the graph's '%s' must be f32 [%s], got %s"):format(file, name, table.concat(want, ", "),
        v and ("%s [%s]"):format(v.dtype, table.concat(v.shape, ", ")) or "nothing"), 0)
    end
  end
  for _, h in ipairs(said.heads) do
    check("logits:" .. h.name, "N", h.width)
    for which, w in pairs(h.loss or {}) do
      local missing = which == "missing" and ":missing" or ""
      check("sum:" .. h.name .. missing)
      if w.tensor then check("weight:" .. h.name .. missing) end
    end
  end
end

-- The tasks that the card's heads are. Metrics of a recipe's own are code, and not there.
local function tasks_of(said, m)
  local registry, out = require "foodrt.train.metric.registry", {}
  for i, h in ipairs(said.heads) do
    local metrics = {}
    for _, name in ipairs(h.metrics) do
      if registry.has(name) then
        metrics[#metrics + 1] = name
      else
        io.stderr:write(("metric '%s' is the recipe's own and left out: --trust runs the recipe\n"):format(
          require("foodrt.core.text").safe(name)))
      end
    end
    out[i] = { name = h.name, single = h.single or nil, prefix = h.single and "" or h.name .. ".", label = h.label, head = h.head,
      classes = h.classes, metrics = metrics, weight = h.weight, loss = require("foodrt.run.model").loss(m, h) }
  end
  return out
end

-- What the commands ask of a checkpoint's metadata, as the card says it.
local function state_of(c, said)
  local out = {}
  for key, v in pairs(c.meta) do out[key] = v end
  out.columns = {}
  for i, h in ipairs(said.heads) do out.columns[i] = { name = h.label, classes = h.classes } end
  out.classes, out.epoch, out.preprocessing = said.heads[1].classes, said.epoch, said.preprocessing
  out.phase_name = require("foodrt.core.text").safe(said.phase)
  return out
end

local function from_card(c, file)
  local said = require("foodrt.train.card").read(file, c.metadata)
  if not said then
    error(("foodrt: %s was written before checkpoints carried their evaluation graph; %s"):format(file, TRUST), 0)
  end
  if said.no_graph then
    error(("foodrt: %s has no evaluation graph (%s); %s"):format(file, require("foodrt.core.text").safe(said.no_graph), TRUST), 0)
  end
  local g = bound_graph(c, file)
  check_outputs(g, said, file)
  local m, data = require("foodrt.run.model").new(said, g, file), data_of(said, file)
  local r = { name = said.name, data = data, model = m, card = said, metrics = said.heads[1].metrics, phases = {},
    source = { path = file, sample = said.data.sample } }
  return m, r, state_of(c, said)
end

--- a checkpoint's model with its values (in evaluation mode), what is known of its recipe, and its state. The model is the
--- evaluation graph that the file holds: nothing in the file is run.
--- in   path   a run's folder (its best checkpoint, else the last) or a checkpoint file
---      given  trust = true: run the recipe that the file holds, with all your rights: the model is its module then
--- out  model   model(x) -> logits
---      recipe  name, data (looks at photos as the checkpoint says), metrics; with trust the recipe as it ran
---      state   classes, preprocessing, phase_name, epoch, best, … and path (see checkpoint.lua)
function run.load(path, given)
  local o = opt.check({ "run.load", trust = { "boolean", false } }, given)
  local file = checkpoint.find(path)
  local c = checkpoint.load(file)
  local model, r, state
  if o.trust then
    model, r = from_recipe(c, file)
    state = c.meta
  else
    model, r, state = from_card(c, file)
  end
  state.path = file
  return model, r, state
end

--- the newest run of a name; nil, message when there is none.
---   frt.run.newest "effnet_b4_focal"  -->  "runs/effnet_b4_focal-2"
function run.newest(name)
  local dir, why = require("foodrt.run.folder").newest(name)
  return dir, why
end

--- the tasks a run was trained with when this checkpoint was written, with the classes and metrics of each; without losses
--- where the recipe's own step computes them.
function run.tasks(r, state)
  if r.card then return tasks_of(r.card, r.model) end
  local phase
  for _, p in ipairs(r.phases) do
    if p.name == state.phase_name then phase = p end
  end
  local decides, tasks = require("foodrt.train.monitor").of(r), task.bind(task.of(r, phase), state.columns, state.path)
  for i, t in ipairs(tasks) do
    t.metrics = decides:metrics(t, i)
    if r.step then t.loss = false end
  end
  return tasks
end

return run
