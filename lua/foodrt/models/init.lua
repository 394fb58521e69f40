--- models: image classifiers under timm's names, with timm's parameter keys.
---   local model = frt.models.efficientnet_b4 { classes = 101, pretrained = "efficientnet_b4.safetensors" }
local err = require "foodrt.err"
local glob = require "foodrt.nn.glob"

local FAMILIES = { "efficientnet", "mobilenetv2", "resnet", "convnext", "vit" }

local models, known = {}, {}
for _, family in ipairs(FAMILIES) do
  for name, constructor in pairs(require("foodrt.models." .. family)) do
    models[name], known[name] = constructor, true
  end
end

--- names of the models that a glob covers, in alphabetical order; all of them without one.
---   frt.models.list "tf_*"
function models.list(pattern)
  local names = {}
  for name in pairs(known) do
    if not pattern or glob.match(pattern, name) then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

return setmetatable(models, { __index = function(_, name)
  err.user("no model '%s'%s (frt.models.list() names them)", tostring(name), err.hint(name, known))
end })
