--- rule.plain: the gradient of the loss where the weights are. One forward pass, one backward pass.
local Plain = {}
Plain.__index = Plain

--- records a batch's gradients. See rule/init.lua.
function Plain.record(_, pass)
  local out = pass:forward()
  out.groups = pass:gradients(out)
  return out
end

return function()
  return setmetatable({}, Plain)
end
