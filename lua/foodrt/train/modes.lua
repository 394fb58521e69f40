--- modes: whether each module of a model trains or evaluates, remembered and put back as it was: what runs in between (an
--- evaluation, a hook, a step of the recipe's own) may change it.
---   local before = modes.of(model);  model:eval();  …  before:restore()
local modes = {}
local Modes = {}
Modes.__index = Modes

--- the modes of a model and all below it.
function modes.of(model)
  local self = setmetatable({ list = {}, training = {} }, Modes)
  for _, m in model:modules() do
    local n = #self.list + 1
    self.list[n], self.training[n] = m, rawget(m, "training")
  end
  return self
end

--- puts them back.
function Modes:restore()
  for i, m in ipairs(self.list) do
    if rawget(m, "training") ~= self.training[i] then rawset(m, "training", self.training[i]) end
  end
end

return modes
