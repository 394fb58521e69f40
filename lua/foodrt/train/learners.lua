--- learners: what is trained besides the model: losses that have parameters or buffers, under names of their own: "loss", of a
--- task "loss.TASK", of a phase's own loss "loss.PHASE". They are attached to the phase's optimizer (lr = { loss = 1e-2, … }
--- gives them a rate), saved and loaded with the run.
local losses, module, task = require "foodrt.train.loss", require "foodrt.nn.module", require "foodrt.train.task"
local err = require "foodrt.core.err"

local learners = {}

-- { name, module } of every loss of a recipe that is a module, each once; of one phase: those it uses.
local function list(r, phase)
  local out, seen = {}, {}
  local function add(name, v)
    if module.is(v) and not seen[v] then
      seen[v], out[#out + 1] = true, { name = name, module = v }
    end
  end
  for _, t in ipairs(r.tasks or {}) do add("loss." .. t.name, t.loss) end
  if not r.tasks and not (phase and phase.loss) then add("loss", r.loss) end
  for _, p in ipairs(phase and { phase } or r.phases) do add("loss." .. p.name, p.loss) end
  return out
end

--- makes the parameters of the losses.
--- in   columns  { { name, classes }, … } of the data
---      values   false: without values, for plans
function learners.build(r, columns, values)
  local by = {}
  for i, t in ipairs(task.bind(task.of(r), columns, r.data.file or r.data.root)) do by[i] = t end
  for _, l in ipairs(list(r)) do
    local classes = by[1].classes
    for i, t in ipairs(r.tasks or {}) do
      if t.loss == l.module then classes = by[i].classes end
    end
    if type(classes) == "number" then
      local names = {}
      for i = 1, classes do names[i] = tostring(i) end
      classes = names
    end
    losses.build(l.module, classes, r.seed, values)
  end
end

--- what a phase trains besides the model: { { name, module }, … } with parameters.
function learners.of(r, phase)
  local out = {}
  for _, l in ipairs(list(r, phase)) do
    if l.module:count() > 0 then out[#out + 1] = l end
  end
  return out
end

--- tensors of all losses by name.
function learners.state(r)
  local out = {}
  for _, l in ipairs(list(r)) do
    for name, t in pairs((l.module:state_dict())) do out[l.name .. "." .. name] = t end
  end
  return out
end

--- the other way: what a checkpoint has under these names. A loss it knows nothing of stays as it is built.
function learners.load(r, tensors, from)
  for _, l in ipairs(list(r)) do
    local own, any = {}, false
    for name, t in pairs(tensors or {}) do
      if name:sub(1, #l.name + 1) == l.name .. "." then own[name:sub(#l.name + 2)], any = t, true end
    end
    if next((l.module:state_dict())) then
      if not any then err.user("%s lacks the values of '%s'", from, l.name) end
      l.module:load_state_dict(own, { from = from })
    end
  end
end

return learners
