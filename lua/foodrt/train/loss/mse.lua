--- frt.loss.mse: mean of squared differences.
---   loss.mse {}
--- in   x, target  f32, the same shape
--- out  loss       f32 []
local base = require "foodrt.train.loss.base"
local err = require "foodrt.core.err"

local function rows(self, x, target)
  base.check_pair(self, x, target)
  local a, b = x.shape, target.shape
  if table.concat(a, ",") ~= table.concat(b, ",") then
    err.user("mse: the target must be [%s], got [%s]", table.concat(a, ", "), table.concat(b, ", "))
  end
  local d = x - target
  return d * d, nil, d:numel()
end

return base.define({ "mse", reduction = base.REDUCTION }, { rows = rows, describe = function() return "mse" end })
