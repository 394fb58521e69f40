--- ensemble: several trained runs asked together: the mean of what they say, each looking at photos its own way.
---   local e = frt.ensemble { "runs/resnet50", "runs/vit_small", weights = { 2, 1 }, mean = "logits" }
---   print(e:evaluate {}.values.top1)
---   for _, one in ipairs(e:predict("photo.jpg", 3)) do print(one.class, one.p) end
---
--- A member is a run's folder, a checkpoint file, or a recipe (FILE.lua: the newest run of its name). The constructor stores
--- and checks; members are loaded when they are needed.
local line = require "foodrt.core.line"
local err, opt, lists = require "foodrt.core.err", require "foodrt.core.opt", require "foodrt.core.lists"
local ensemble = {}

local Ensemble = {}
Ensemble.__index = Ensemble
Ensemble.__newindex = function(self, key, value)
  if line.is_user(debug.getinfo(2, "f").func) then
    err.user("ensemble: '%s' can't be set afterwards, give it to the call: frt.ensemble { …, %s = … }", tostring(key), tostring(key))
  end
  rawset(self, key, value)
end

ensemble.MEANS = { "probs", "logits" }

local SPEC = { "ensemble",
  weights = { "list", nil, "one positive number per member; all the same when left out" },
  mean = { "string", "probs", "of probabilities, or of logits", one_of = ensemble.MEANS },
  name = { "string", "ensemble", "in reports" },
}

local function check_weights(weights, n)
  if #weights ~= n then err.user("ensemble: 'weights' must be %d numbers, one per member, got %d", n, #weights) end
  for _, w in ipairs(weights) do
    if type(w) ~= "number" or not (w > 0 and w < math.huge) then
      err.user("ensemble: 'weights' must be positive numbers, got %s", opt.show(w))
    end
  end
end

--- frt.ensemble { "runs/a", "runs/b", weights = { 2, 1 }, mean = "probs" }.
function ensemble.new(given)
  if type(given) ~= "table" then err.user("ensemble: expected { \"runs/a\", \"runs/b\" }, got %s", opt.show(given)) end
  local paths, options = {}, {}
  for i = 1, lists.length("ensemble", nil, given, SPEC) do
    if type(given[i]) ~= "string" then err.user("ensemble: a member must be the path of a run, got %s", opt.show(given[i])) end
    paths[i] = given[i]
  end
  for key, v in pairs(given) do
    if type(key) ~= "number" then options[key] = v end
  end
  if #paths < 2 then err.user("ensemble: at least two members, got %d", #paths) end
  local o = opt.check(SPEC, options)
  if not o.weights then
    o.weights = {}
    for i = 1, #paths do o.weights[i] = 1 end
  end
  check_weights(o.weights, #paths)
  return setmetatable({ paths = paths, weights = o.weights, mean = o.mean, name = o.name }, Ensemble)
end

--- whether v is an ensemble.
function ensemble.is(v)
  return getmetatable(v) == Ensemble
end

-- --- members ------------------------------------------------------------------------------------------------------
--- the recipe that a member names, loaded, and its path; nil when the member is a run or checkpoint. A recipe is looked for
--- where the path says, then beside the recipe that made the ensemble.
function Ensemble:recipe_of(i)
  local path = self.paths[i]
  if not path:match "%.lua$" then return nil end
  local kind, beside = require("foodrt.core.io").kind, self.source and self.source.path:match "^(.*/)" or ""
  local found = kind(path) == "file" and path or kind(beside .. path) == "file" and beside .. path
  if not found then error(("foodrt: ensemble: no such recipe: '%s'"):format(path), 0) end
  return require("foodrt.train.recipe").load(found), found
end

--- the run or checkpoint of a member; nil and the recipe's path when that recipe has not been trained yet.
function Ensemble:run_of(i)
  local r, path = self:recipe_of(i)
  if not r then return self.paths[i] end
  return require("foodrt.run").newest(r.name), path
end

local function check_same(what, a, names, b, others)
  local known = {}
  for _, name in ipairs(others) do known[name] = true end
  for _, name in ipairs(names) do
    if not known[name] then
      error(("foodrt: ensemble: '%s' has the %s '%s', '%s' has not%s"):format(a.path, what, name, b.path, err.hint(name, known)), 0)
    end
  end
end

local function names_of(tasks)
  local out = {}
  for i, t in ipairs(tasks) do out[i] = t.name end
  return out
end

-- Tasks and classes are matched by name: each member has those of the first.
local function check_classes(self)
  local first = self.members[1]
  for i = 2, #self.members do
    local m = self.members[i]
    check_same("task", m, names_of(m.tasks), first, names_of(first.tasks))
    check_same("task", first, names_of(first.tasks), m, names_of(m.tasks))
    local by = {}
    for _, t in ipairs(m.tasks) do by[t.name] = t end
    for k, t in ipairs(first.tasks) do
      local own = by[t.name]
      m.tasks[k] = own  -- in the first one's order
      check_same("class", m, own.classes, first, t.classes)
      check_same("class", first, t.classes, m, own.classes)
    end
  end
end

--- loads the members (self.trust: by running the recipes that their checkpoints hold):
--- self.members[i] = { path, model, recipe, state, classes, tasks, weight }; self.classes are the first one's.
function Ensemble:open()
  if self.members then return self end
  local members = {}
  for i = 1, #self.paths do
    local path, recipe_path = self:run_of(i)
    if not path then
      error(("foodrt: ensemble: no run of %s yet: foodrt %s trains it"):format(recipe_path, recipe_path), 0)
    end
    local model, r, state = require("foodrt.run").load(path, { trust = self.trust })
    members[i] = { path = path, model = model, recipe = r, state = state, classes = state.classes, weight = self.weights[i],
      tasks = require("foodrt.run").tasks(r, state) }
  end
  self.members, self.classes = members, members[1].classes
  check_classes(self)
  return self
end

-- --- measuring ----------------------------------------------------------------------------------------------------
-- the first member's photos as member m sees them
local function seen_by(m, data)
  if m.recipe.data == data then return data end
  local where = data.file and { file = data.file } or { root = data.root }
  return require("foodrt.run.photos").moved(m.recipe.data, where)
end

local EVALUATE = { "ensemble:evaluate", data = { "string", nil, "other photos than the first member's" },
  split = { "string", nil, "test, else val, when left out" }, batch = { "integer", nil, min = 1 },
  workers = { "integer", nil, min = 1, max = 256 } }

--- measures the ensemble and its members on the same photos. A photo that one of them can't read is left out for all.
--- out  { values, measures, tasks, predictions, split, data, bad = { { path, why } }, members = { { path, weight, values, … } } }, as
---      `foodrt eval` reports them; the loss is that of the first member's recipe. nil when a signal came.
function Ensemble:evaluate(given)
  local o = opt.check(EVALUATE, given)
  self:open()
  local predictions = require "foodrt.run.predictions"
  local first = self.members[1]
  local data, split = require("foodrt.run.photos").choose(first.recipe, first.state, o.data, o.split)
  local list, bad, named = {}, {}, {}
  for i, m in ipairs(self.members) do
    local own = seen_by(m, data)
    own:open { classes = m.classes, columns = m.state.columns, splits = { split } }
    local p = predictions.of(m.model, own, split, m.tasks, { batch = o.batch, workers = o.workers })
    if not p then return nil end
    for _, b in ipairs(p.bad) do
      if not named[b.path] then
        named[b.path], bad[#bad + 1] = true, b
      end
    end
    list[i], m.data = p, own
  end
  list = predictions.matched(list)
  local found = { split = split, data = data.file or data.root, bad = bad, members = {} }
  for i, m in ipairs(self.members) do
    found.members[i] = { path = m.path, name = m.recipe.name, checkpoint = m.state.path, weight = m.weight,
      phase = m.state.phase_name, epoch = m.state.epoch, preprocessing = m.data:settings(), predictions = list[i],
      values = (list[i]:measure()) }
  end
  found.predictions = predictions.mean(list, self.weights, self.mean)
  found.values, found.measures = found.predictions:measure()
  found.tasks = first.tasks
  return found
end

--- what the members together say of one photo (run/predictions.lua).
function Ensemble:look(path)
  self:open()
  local predictions, list = require "foodrt.run.predictions", {}
  for i, m in ipairs(self.members) do list[i] = predictions.one(m.model, m.recipe.data, m.tasks, path) end
  return predictions.mean(predictions.matched(list), self.weights, self.mean)
end

--- the most probable classes of one photo: { { class, p }, … }, the first `n`; all of them without n. Of several tasks the
--- first one's.
function Ensemble:predict(path, n)
  local found = self:look(path)
  return found:top(1, n or #self.classes)
end

return setmetatable(ensemble, { __call = function(_, given)
  local e = ensemble.new(given)
  return e
end })
