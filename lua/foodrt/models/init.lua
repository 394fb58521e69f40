--- models: image classifiers under timm's names, with timm's parameter keys.
---   local model = frt.models.efficientnet_b4 { classes = 101, pretrained = "efficientnet_b4.safetensors" }
local err = require "foodrt.core.err"
local glob, cards = require "foodrt.nn.glob", require "foodrt.models.cards"

local FAMILIES = { "efficientnet", "mobilenetv2", "resnet", "convnext", "vit" }

local models, known = {}, {}
for _, family in ipairs(FAMILIES) do
  for name, constructor in pairs(require("foodrt.models." .. family)) do
    models[name], known[name] = constructor, true
  end
end

local list_mt = { __tostring = function(names)
  local lines = {}
  for i, name in ipairs(names) do lines[i] = cards.line(name) end
  return table.concat(lines, "\n")
end }

--- names of the models that a glob covers, in alphabetical order; all of them without one. Printed, the list shows what is
--- known of each in a line: parameters, multiply-adds, default weights and licence, photos they want, paper.
---   print(frt.models.list "tf_*")
function models.list(pattern)
  local names = {}
  for name in pairs(known) do
    if not pattern or glob.match(pattern, name) then names[#names + 1] = name end
  end
  table.sort(names)
  return setmetatable(names, list_mt)
end

--- what is known of one model: { name, paper, parameters, gmacs, tag, license, preprocess }.
---   frt.models.card "resnet50".preprocess.size
function models.card(name)
  if not known[name] then err.user("no model '%s'%s", tostring(name), err.hint(name, known)) end
  return (cards.of(name))
end

return setmetatable(models, { __index = function(_, name)
  err.user("no model '%s'%s (frt.models.list() names them)", tostring(name), err.hint(name, known))
end })
