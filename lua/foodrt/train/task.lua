--- task: one question that a model answers: a head, the label column that knows the answer, a loss, metrics and a weight.
---   tasks = { frt.task { "dish", loss = frt.loss.cross_entropy {} },
---             frt.task { "taste", loss = frt.loss.cross_entropy {}, metrics = { "top1" }, weight = 0.3 } }
---
--- The model then returns a table of logits by head: { dish = …, taste = … }; their widths follow from the data by
--- nn.Linear { "classes.taste" }. What is measured is called "dish.top1". A recipe's single `loss` is one task whose logits are
--- what the model returns and whose label is the first column; its measures have plain names. A photo without a label in a
--- column has weight 0 in that task.
local T = require "foodrt.tensor"
local err, opt = require "foodrt.core.err", require "foodrt.core.opt"
local losses, registry = require "foodrt.train.loss", require "foodrt.train.metric.registry"

local task = {}

local Task = {}
Task.__index = Task
Task.__tostring = function(self) return "task '" .. self.name .. "'" end

local SPEC = { "task", "name", name = "string",
  label = { "string", nil, "column of its labels; of the task's name when left out" },
  head = { "string|integer", nil, "where its logits are in what the model returns; the task's name when left out" },
  loss = "table|function",
  metrics = { "list", { "top1" }, "what evaluation reports of it" },
  weight = { "number", 1, "of its loss in the sum of all", min = 0 } }

--- frt.task { "name", loss = …, label = …, head = …, metrics = { … }, weight = 1 }.
function task.new(given)
  local self = opt.check(SPEC, given)
  if not self.name:match "^[%a_][%w_]*$" then
    err.user("task: 'name' must be letters, digits and '_', got '%s'", self.name)
  end
  if not losses.is(self.loss) then err.user("task '%s': 'loss' must be a loss, such as frt.loss.cross_entropy {}", self.name) end
  self.label, self.head = self.label or self.name, self.head or self.name
  for _, name in ipairs(self.metrics) do registry.get(name) end
  self.prefix, self.spec = self.name .. ".", SPEC
  return setmetatable(self, Task)
end

--- whether v is one.
function task.is(v)
  return getmetatable(v) == Task
end

-- --- the tasks of a recipe ----------------------------------------------------------------------------------
-- A single loss as a task: plain names, the first label column, and what the model returns is its logits.
local function single(loss, metrics)
  return setmetatable({ name = "class", single = true, prefix = "", loss = loss, metrics = metrics, weight = 1 }, Task)
end

--- the one task that evaluation of a loss and metrics by themselves means.
function task.alone(loss, metrics)
  return { single(loss, metrics) }
end

--- the tasks of a recipe in a phase (nil: in none).
function task.of(r, phase)
  if not r.tasks then return { single(phase and phase.loss or r.loss, r.metrics) } end
  local out = {}
  for i, t in ipairs(r.tasks) do out[i] = t end
  return out
end

--- the list of a recipe checked: names that differ. Returns what is wrong, or nil.
function task.complaint(list)
  local seen = {}
  if #list == 0 then return "'tasks' is empty: frt.task { \"dish\", loss = frt.loss.cross_entropy {} }" end
  for i, t in ipairs(list) do
    if not task.is(t) then return ("tasks[%d] must be frt.task { … }, got %s"):format(i, opt.show(t)) end
    if seen[t.name] then return ("two tasks are called '%s'"):format(t.name) end
    seen[t.name] = true
  end
end

-- --- what the data says -------------------------------------------------------------------------------------
--- tasks with the classes of their label columns: { task, classes = { names } or their number, label }.
--- in   columns  { { name, classes = { … } }, … } in the data's order
---      where    for messages: the data's file or folder
function task.bind(list, columns, where)
  local by, names, out = {}, {}, {}
  for _, c in ipairs(columns) do
    by[c.name], names[c.name] = c, true
  end
  for i, t in ipairs(list) do
    local column = t.single and columns[1] or by[t.label]
    if not column then
      err.user("task '%s': no label column '%s' in '%s'%s", t.name, t.label, where or "the data", err.hint(t.label, names))
    end
    if type(t.loss) == "table" and t.loss.name_classes then t.loss:name_classes(column.classes) end
    out[i] = setmetatable({ classes = column.classes, label = column.name }, { __index = t })
  end
  return out
end

--- sizes for model:build: { classes = n, columns = { name = n } }.
function task.sizes(columns)
  local out = { columns = {} }
  for i, c in ipairs(columns) do
    local n = type(c.classes) == "table" and #c.classes or c.classes
    if i == 1 then out.classes = n end
    out.columns[c.name] = n
  end
  return out
end

--- how many classes a bound task has.
function task.width(t)
  return type(t.classes) == "table" and #t.classes or t.classes
end

-- --- what the model says ------------------------------------------------------------------------------------
local function where(model)
  return (model._at:gsub(": $", ""))
end

--- a task's logits in what a model returned for n photos; an error at the model's line where they are none.
function task.logits(t, model, heads, n)
  local logits, at, classes = heads, where(model), task.width(t)
  if not t.single then
    if type(heads) ~= "table" or T.is(heads) then
      err.at(at, "recipe: a model of several tasks must return a table of logits by head, got %s", opt.show(heads))
    end
    logits = heads[t.head]
    if logits == nil then
      err.at(at, "recipe: the model returns no '%s' for task '%s'%s", tostring(t.head), t.name, err.hint(t.head, heads))
    end
  end
  local whose = t.single and "" or ("for task '%s' "):format(t.name)
  if not T.is(logits) then
    err.at(at, "recipe: the model must give logits%s, got %s", whose ~= "" and " " .. whose:sub(1, -2) or "", opt.show(logits))
  end
  local s = logits.shape
  if #s ~= 2 or s[1] ~= n or s[2] ~= classes then
    err.at(at, "recipe: the model must give logits [%d, %d] %sfor %d photos of %d classes, got [%s]", n, classes, whose, n,
      classes, table.concat(s, ", "))
  end
  return logits
end

task.spec = SPEC

return setmetatable(task, { __call = function(_, given) local t = task.new(given) return t end })
