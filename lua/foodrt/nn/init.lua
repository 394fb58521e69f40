--- nn: layers. PascalCase owns parameters (nn.Linear { 10 }); snake_case is a pure function (nn.cat { a, b }).
---   local m = nn.Chain { nn.Linear { 64 }, nn.ReLU {}, nn.Linear { "classes" } }
local err = require "foodrt.core.err"
local module, glob = require "foodrt.nn.module", require "foodrt.nn.glob"
require "foodrt.nn.state"

local nn = {
  Module = module.new_module, Chain = module.new_chain, List = module.new_list, Parameter = module.new_parameter,
  is = module.is, match = glob.match,
}

for _, file in ipairs { "layers", "norm", "drop", "act", "blocks", "attention" } do
  for name, value in pairs(require("foodrt.nn." .. file)) do
    if name:sub(1, 1) ~= "_" then nn[name] = value end
  end
end

return setmetatable(nn, { __index = function(_, name)
  err.user("nn has no layer '%s'%s", tostring(name), err.hint(name, nn))
end })
