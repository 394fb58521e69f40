--- run.model: the evaluation graph of a checkpoint as a model that can be called, and its losses. What a recipe's module would
--- compute, in the same order and to the same bits, without its Lua.
---   local m = model.new(card, graph, "best.safetensors")
---   local logits = m(x)              -- [N, K], or { head = logits } of several heads
local model = {}
local Model = {}
Model.__index = Model

--- in   c     a card (train/card.lua)
---      g     its graph, with values
---      from  the file, for messages
function model.new(c, g, from)
  local outputs = {}
  for i, h in ipairs(c.heads) do outputs[i] = "logits:" .. h.name end
  return setmetatable({ card = c, graph = g, outputs = outputs, training = false, _at = from }, Model)
end

function Model:__call(x)
  local found, heads = self.graph:record({ photos = x }, self.outputs), {}
  for i, h in ipairs(self.card.heads) do
    if h.single then return found[self.outputs[i]] end
    heads[h.head] = found[self.outputs[i]]
  end
  return heads
end

--- it is always in evaluation mode.
function Model:eval()
  return self
end

--- iterates over its modules: there are none.
function Model.modules(_)
  return next, {}
end

--- how many parameters it has.
function Model:count()
  return self.card.parameters
end

-- --- losses -------------------------------------------------------------------------------------------------------
local Loss = {}
Loss.__index = Loss

local function weight(w, found, name, n)
  if w.tensor then return found[name] end
  return w.number or w.photos * n
end

--- (sum, weight), as the recipe's loss gives them.
function Loss:terms(logits, target, batch)
  local h = self.head
  local whole = rawget(target, "complete") == true
  local w, missing = h.loss[whole and "whole" or "missing"], whole and "" or ":missing"
  local sum, weighs = "sum:" .. h.name .. missing, "weight:" .. h.name .. missing
  local found = self.graph:record({ ["logits:" .. h.name] = logits, ["labels:" .. h.label] = target },
    w.tensor and { sum, weighs } or { sum })
  return found[sum], weight(w, found, weighs, batch.n)
end

--- the loss of a head, false where the file has none.
function model.loss(m, head)
  if not head.loss then return false end
  return setmetatable({ head = head, graph = m.graph }, Loss)
end

return model
