--- efficientnet: EfficientNet B0 to B8, L2 and Lite 0 to 4, native (symmetric padding) and tf_ (SAME padding).
--- from Tan and Le 2019 (arXiv:1905.11946), table 1 and eq. 3
local mbconv = require "foodrt.models.mbconv"

local STAGES = {  -- repeats, kernel, stride, expansion, channels
  { 1, 3, 1, 1, 16 }, { 2, 3, 2, 6, 24 }, { 2, 5, 2, 6, 40 }, { 3, 3, 2, 6, 80 },
  { 3, 5, 1, 6, 112 }, { 4, 5, 2, 6, 192 }, { 1, 3, 1, 6, 320 },
}
local SCALE = {  -- width, depth
  b0 = { 1.0, 1.0 }, b1 = { 1.0, 1.1 }, b2 = { 1.1, 1.2 }, b3 = { 1.2, 1.4 }, b4 = { 1.4, 1.8 }, b5 = { 1.6, 2.2 },
  b6 = { 1.8, 2.6 }, b7 = { 2.0, 3.1 }, b8 = { 2.2, 3.6 }, l2 = { 4.3, 5.3 },
  lite0 = { 1.0, 1.0 }, lite1 = { 1.0, 1.1 }, lite2 = { 1.1, 1.2 }, lite3 = { 1.2, 1.4 }, lite4 = { 1.4, 1.8 },
}

-- Lite: no squeeze and excitation, ReLU6, and a stem, head, first and last stage that do not grow
local function constructor(name, variant, tf)
  local lite, width, depth = variant:sub(1, 4) == "lite", unpack(SCALE[variant])
  return (mbconv.constructor(name, {
    stages = STAGES, width = width, depth = depth, fixed = lite,
    stem = lite and 32 or mbconv.round8(32 * width), head = lite and 1280 or mbconv.round8(1280 * width),
    se = not lite and 0.25 or nil, act = lite and "relu6" or "silu",
    padding = tf and "same" or "symmetric", eps = tf and 1e-3 or 1e-5,
  }))
end

local models = {}
for variant in pairs(SCALE) do
  for _, prefix in ipairs { "efficientnet_", "tf_efficientnet_" } do
    models[prefix .. variant] = constructor(prefix .. variant, variant, prefix == "tf_efficientnet_")
  end
end
return models
