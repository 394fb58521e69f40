--- efficientnet: EfficientNet B0 to B7 and Lite 0 to 4, native (symmetric padding) and tf_ (SAME padding).
--- from Tan and Le 2019 (arXiv:1905.11946), table 1 and eq. 3; keys, padding, eps and initial values are timm's.
local nn, opt, err = require "foodrt.nn", require "foodrt.opt", require "foodrt.err"
local photos, pretrained = require "foodrt.models.photos", require "foodrt.models.pretrained"

local STAGES = {  -- repeats, kernel, stride, expansion, channels
  { 1, 3, 1, 1, 16 }, { 2, 3, 2, 6, 24 }, { 2, 5, 2, 6, 40 }, { 3, 3, 2, 6, 80 },
  { 3, 5, 1, 6, 112 }, { 4, 5, 2, 6, 192 }, { 1, 3, 1, 6, 320 },
}
local SCALE = {  -- width, depth
  b0 = { 1.0, 1.0 }, b1 = { 1.0, 1.1 }, b2 = { 1.1, 1.2 }, b3 = { 1.2, 1.4 }, b4 = { 1.4, 1.8 }, b5 = { 1.6, 2.2 },
  b6 = { 1.8, 2.6 }, b7 = { 2.0, 3.1 },
  lite0 = { 1.0, 1.0 }, lite1 = { 1.0, 1.1 }, lite2 = { 1.1, 1.2 }, lite3 = { 1.2, 1.4 }, lite4 = { 1.4, 1.8 },
}
-- to a multiple of 8, never losing more than 10 %
local function round8(c)
  local r = math.max(8, math.floor((c + 4) / 8) * 8)
  return r < 0.9 * c and r + 8 or r
end

local function conv(k, out, kernel, stride)
  return (nn.Conv2d { out, kernel, stride = stride, padding = k.padding, bias = false, init = "goog" })
end

local function depthwise(k, kernel, stride)
  return (nn.Conv2d { kernel_size = kernel, stride = stride, padding = k.padding, groups = "depthwise", bias = false,
    init = "goog" })
end

local function norm(k)
  return (nn.BatchNorm2d { eps = k.eps })
end

-- the squeezed width is relative to the block's input, not to the expanded width
local function squeeze(k, cin)
  if k.lite then return nil end
  return (nn.SqueezeExcite { rd_channels = math.floor(cin * 0.25 + 0.5), act = "silu", init = "goog" })
end

-- h, dropped as a path and added to the block's input where that fits
local function shortcut(self, h, x)
  if not self.skip then return h end
  return (self.drop_path and self.drop_path(h) or h) + x
end

local function separable_forward(self, x)
  local h = self.bn1(self.conv_dw(x))
  h = h[self.act](h)
  if self.se then h = self.se(h) end
  return (shortcut(self, self.bn2(self.conv_pw(h)), x))
end

local function inverted_forward(self, x)
  local h = self.bn1(self.conv_pw(x))
  h = self.bn2(self.conv_dw(h[self.act](h)))
  h = h[self.act](h)
  if self.se then h = self.se(h) end
  return (shortcut(self, self.bn3(self.conv_pwl(h)), x))
end

local function block(k, cin, cout, kernel, stride, expansion, rate)
  local m
  if expansion == 1 then
    m = nn.Module { conv_dw = depthwise(k, kernel, stride), bn1 = norm(k), se = squeeze(k, cin),
      conv_pw = conv(k, cout), bn2 = norm(k), forward = separable_forward }
  else
    m = nn.Module { conv_pw = conv(k, cin * expansion), bn1 = norm(k), conv_dw = depthwise(k, kernel, stride),
      bn2 = norm(k), se = squeeze(k, cin), conv_pwl = conv(k, cout), bn3 = norm(k), forward = inverted_forward }
  end
  m.act, m.skip = k.act, stride == 1 and cin == cout
  if m.skip and rate > 0 then m.drop_path = nn.DropPath { rate } end
  return m
end

-- the blocks of all stages; the rate of drop_path grows with depth
local function stages(k, cin, drop_path_rate)
  local width, depth = unpack(k.scale)
  local counts, total, index, list = {}, 0, 0, {}
  for s, stage in ipairs(STAGES) do
    local fixed = k.lite and (s == 1 or s == #STAGES)
    counts[s] = fixed and stage[1] or math.ceil(stage[1] * depth - 1e-9)
    total = total + counts[s]
  end
  for s, stage in ipairs(STAGES) do
    local cout, blocks = round8(stage[5] * width), {}
    for i = 1, counts[s] do
      blocks[i] = block(k, cin, cout, stage[2], i == 1 and stage[3] or 1, stage[4], drop_path_rate * index / total)
      cin, index = cout, index + 1
    end
    list[s] = nn.Chain(blocks)
  end
  return (nn.Chain(list))
end

-- x [N, C, H, W] -> the last map [N, F, H/32, W/32]
local function features(self, x)
  local h = self.bn1(self.conv_stem(x))
  h = self.bn2(self.conv_head(self.blocks(h[self.act](h))))
  return (h[self.act](h))
end

-- the map -> logits [N, classes]
local function classify(self, map)
  if not self.classifier then err.user("%s: has no classifier (head = false)", self.name) end
  local h = map:avg_pool2d()
  if self.drop then h = self.drop(h) end
  return (self.classifier(h))
end

local function forward(self, x)
  local map = self:features(x)
  return self.classifier and self:classify(map) or map
end

local function constructor(name)
  local spec = { name, classes = { "integer|string", 1000, min = 1 }, pretrained = { "boolean|string", false },
    head = { "boolean", true }, drop_rate = { "number", 0, min = 0, max = 0.999 },
    drop_path_rate = { "number", 0, min = 0, max = 0.999 }, in_chans = { "integer", 3, min = 1 } }
  local variant, lite = name:match "_([bl]%w+)$", name:find "lite" ~= nil
  local tf = name:sub(1, 3) == "tf_"
  local k = { scale = SCALE[variant], lite = lite, act = lite and "relu6" or "silu",
    padding = tf and "same" or "symmetric", eps = tf and 1e-3 or 1e-5 }
  return function(given)
    local o = opt.check(spec, given)
    local width = k.scale[1]
    local stem = lite and 32 or round8(32 * width)
    local m = nn.Module {
      conv_stem = conv(k, stem, 3, 2), bn1 = norm(k),
      blocks = stages(k, stem, o.drop_path_rate),
      conv_head = conv(k, lite and 1280 or round8(1280 * width)), bn2 = norm(k),
      drop = o.head and o.drop_rate > 0 and nn.Dropout { o.drop_rate } or nil,
      classifier = o.head and nn.Linear { o.classes, init = "goog" } or nil,
      forward = forward, features = features, classify = classify,
    }
    m.name, m.act, m.first_conv, m.classifier_name = name, k.act, "conv_stem", "classifier"
    m.preprocess, m.tag = photos.of(name)
    m.default_input = { 1, o.in_chans, 64, 64 }
    m.conv_stem.in_channels = o.in_chans
    pretrained.attach(m, o.pretrained)
    return m
  end
end

local models = {}
for variant in pairs(SCALE) do
  for _, prefix in ipairs { "efficientnet_", "tf_efficientnet_" } do
    models[prefix .. variant] = constructor(prefix .. variant)
  end
end
return models
