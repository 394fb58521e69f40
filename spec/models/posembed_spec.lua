-- posembed: the grid of position embeddings resized as PyTorch's bicubic with antialiasing does: all values of two sizes, the
-- first of a third, from fp32 (differences up to 1.3e-6). Inputs follow the rule of spec/fixtures/fill.lua from the names pe5, pe8, pe14.
local ffi = require "ffi"
local fill = dofile "spec/fixtures/fill.lua"
local posembed = require "foodrt.models.posembed"

local WANT = {
  { 5, 7,
    1.077935, 0.1223062, -0.8277187, -1.009031, -0.7640835, -0.8069356, -1.008606, -0.1503278, -0.1589458, -0.2019243,
    -0.3005328, -0.5262103, -0.5866248, -0.5373775, -1.064035, -0.5016007, 0.05934229, 0.1735924, 0.09581596, -0.1038846,
    -0.274291, -0.6301358, -0.5977538, -0.456436, -0.1250538, 0.8402874, 0.3876202, -0.629417, -0.09817264, 0.2492674,
    0.4068289, 0.07370961, -0.06585947, -0.5208962, -0.9756045, 0.5583244, 0.2809902, 0.01192082, -0.03600371, 0.004180893,
    -0.3579406, -0.792854, 1.024464, -0.1561253, -0.9346899, -0.2824768, 0.6301118, 0.3572904, -0.4168113 },
  { 8, 5,
    -0.1959344, 0.04640594, -0.3545181, -0.3660683, -0.2281812, -0.1337226, -0.05180202, 0.4382709, -0.2503621, -0.1632231,
    -0.2336838, -0.4352398, 0.2081172, 0.289533, -0.2573853, -0.04744268, 0.02557123, -0.3905229, 0.1314805, 0.4402032,
    0.06294593, 0.4217444, 0.5378239, -0.1147874, 0.2237103 },
  { 14, 24,
    -0.9190397, -0.147725, 0.9631025, 0.1329094, -0.793889, -0.7230748, -0.5655047, -0.3696031, 0.1746796, 0.6947788,
    0.6581684, 0.3295506, -0.2554347, -0.5861686, -0.6354401, -0.0810596, 0.1872783, -0.6415833, -0.6720085, 0.155168,
    0.6536465, 0.8403768, 0.3958584, 0.09350838 },
}

describe("position embeddings", function()
  for _, case in ipairs(WANT) do
    local from, to = case[1], case[2]
    it(("from %dx%d to %dx%d"):format(from, from, to, to), function()
      local src = ffi.new("float[?]", from * from)
      fill.write(src, from * from, "pe" .. from, 0.5, 2)
      local dst = posembed.resize(src, from, to, 1)
      for i = 3, #case do assert.near(case[i], dst[i - 3], 3e-6) end
    end)
  end
end)
