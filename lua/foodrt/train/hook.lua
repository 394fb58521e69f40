--- hook: what a recipe wants to be called for: on = { epoch_end = function(run) … end }, or hooks as values, which have a state
--- that checkpoints keep, and may serve several events:
---   on = { frt.hook { "patience", state = { since = 0 },
---            epoch_end = function(self, run)
---              self.state.since = run.is_best and 0 or self.state.since + 1
---              if self.state.since >= 5 then return "stop" end
---            end } }
---
--- Events: phase_start, step_end (after an update), epoch_end (validated and saved), phase_end, run_end. A hook that returns
--- "stop", or calls run:stop(why), ends training: what is trained is validated, and the best checkpoint tested. Hooks see
--- the model in training mode and leave it so, whatever they did.
local err, line, opt = require "foodrt.core.err", require "foodrt.core.line", require "foodrt.core.opt"
local hook = {}

local Hook = {}
Hook.__index = Hook
local List = {}
List.__index = List

hook.EVENTS = { "phase_start", "step_end", "epoch_end", "phase_end", "run_end" }

local SPEC = { "hook", "name", name = "string", state = { "table", nil, "numbers, texts, booleans and tables of them" } }
local KNOWN = {}
for _, event in ipairs(hook.EVENTS) do
  SPEC[event], KNOWN[event] = { "function", nil }, true
end

--- frt.hook { "name", state = { … }, epoch_end = function(self, run) … end, … }.
function hook.new(given)
  local self = opt.check(SPEC, given)
  self.state = self.state or {}
  local any = false
  for _, event in ipairs(hook.EVENTS) do any = any or self[event] ~= nil end
  if not any then err.user("hook '%s': needs a function for one of %s", self.name, table.concat(hook.EVENTS, ", ")) end
  return setmetatable(self, Hook)
end

--- whether v is one.
function hook.is(v)
  return getmetatable(v) == Hook
end

--- what is wrong with a recipe's `on`: the key and the text; nil when nothing is.
function hook.complaint(on)
  local seen = {}
  for key, v in pairs(on or {}) do
    if type(key) == "number" then
      if not hook.is(v) then return "on", ("on[%s] must be frt.hook { … }, got %s"):format(tostring(key), opt.show(v)) end
      if seen[v.name] then return "on", ("two hooks are called '%s'"):format(v.name) end
      seen[v.name] = true
    elseif not KNOWN[key] then
      return tostring(key), ("no hook '%s'%s"):format(tostring(key), err.hint(key, KNOWN))
    elseif type(v) ~= "function" then
      return key, ("hook '%s' must be a function, got %s"):format(key, opt.show(v))
    end
  end
end

--- a recipe's hooks: list:call(event, run), list:state(), list:load(state). `on` is looked at at each call: it may be changed.
function hook.list(r)
  return setmetatable({ recipe = r }, List)
end

--- calls whoever wants to know of an event. out: why training should stop, or nil
function List:call(event, run)
  local on, why = self.recipe.on or {}, nil
  for _, h in ipairs(on) do
    if h[event] then
      line.reset()
      if h[event](h, run) == "stop" then why = why or ("hook '%s'"):format(h.name) end
    end
  end
  if on[event] then
    line.reset()
    if on[event](run) == "stop" then why = why or ("hook '%s'"):format(event) end
  end
  return why
end

--- whether anybody wants to know of an event.
function List:has(event)
  local on = self.recipe.on or {}
  for _, h in ipairs(on) do
    if h[event] then return true end
  end
  return on[event] ~= nil
end

local function check_plain(name, v, depth)
  local kind = type(v)
  if kind == "table" and depth < 16 and getmetatable(v) == nil then
    for key, x in pairs(v) do
      if type(key) ~= "string" and type(key) ~= "number" then err.user("hook '%s': a key of its state is a %s", name, type(key)) end
      check_plain(name, x, depth + 1)
    end
  elseif kind ~= "number" and kind ~= "string" and kind ~= "boolean" then
    err.user("hook '%s': its state must hold numbers, texts, booleans and tables of them, got %s", name, opt.show(v))
  end
end

--- states by name.
function List:state()
  local out = {}
  for _, h in ipairs(self.recipe.on or {}) do
    check_plain(h.name, h.state, 0)
    out[h.name] = h.state
  end
  return out
end

function List:load(states)
  for _, h in ipairs(self.recipe.on or {}) do
    if states[h.name] then h.state = states[h.name] end
  end
end

return setmetatable(hook, { __call = function(_, given) local h = hook.new(given) return h end })
