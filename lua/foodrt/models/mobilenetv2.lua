--- mobilenetv2: MobileNetV2 in seven sizes.
--- from Sandler et al. 2018 (arXiv:1801.04381), table 2
local mbconv = require "foodrt.models.mbconv"

local STAGES = {  -- repeats, kernel, stride, expansion, channels
  { 1, 3, 1, 1, 16 }, { 2, 3, 2, 6, 24 }, { 3, 3, 2, 6, 32 }, { 4, 3, 2, 6, 64 },
  { 3, 3, 1, 6, 96 }, { 3, 3, 2, 6, 160 }, { 1, 3, 1, 6, 320 },
}
local SCALE = {  -- width, depth, whether stem, head, first and last stage keep theirs
  ["035"] = { 0.35, 1 }, ["050"] = { 0.5, 1 }, ["075"] = { 0.75, 1 }, ["100"] = { 1, 1 }, ["140"] = { 1.4, 1 },
  ["110d"] = { 1.1, 1.2, true }, ["120d"] = { 1.2, 1.4, true },
}

local models = {}
for variant, scale in pairs(SCALE) do
  local name, width, fixed = "mobilenetv2_" .. variant, scale[1], scale[3]
  models[name] = mbconv.constructor(name, {
    stages = STAGES, width = width, depth = scale[2], fixed = fixed,
    stem = fixed and 32 or mbconv.round8(32 * width), head = fixed and 1280 or math.max(1280, mbconv.round8(1280 * width)),
    act = "relu6", padding = "symmetric", eps = 1e-5,
  })
end
return models
