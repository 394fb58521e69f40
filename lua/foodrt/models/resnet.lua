--- resnet: ResNet 18 to 152 and ResNeXt, with the stride in the 3x3 convolution. Keys are timm's and torchvision's.
--- from He et al. 2015 (arXiv:1512.03385), table 1; Xie et al. 2016 (arXiv:1611.05431)
local nn, opt = require "foodrt.nn", require "foodrt.core.opt"
local backbone = require "foodrt.models.backbone"

local NETS = {  -- blocks per layer, bottleneck, groups, width of a group
  resnet18 = { { 2, 2, 2, 2 } },
  resnet34 = { { 3, 4, 6, 3 } },
  resnet50 = { { 3, 4, 6, 3 }, true },
  resnet101 = { { 3, 4, 23, 3 }, true },
  resnet152 = { { 3, 8, 36, 3 }, true },
  resnext50_32x4d = { { 3, 4, 6, 3 }, true, 32, 4 },
  resnext101_32x4d = { { 3, 4, 23, 3 }, true, 32, 4 },
  resnext101_32x8d = { { 3, 4, 23, 3 }, true, 32, 8 },
  resnext101_64x4d = { { 3, 4, 23, 3 }, true, 64, 4 },
}

local function conv(out, kernel, stride, groups)
  return (nn.Conv2d { out, kernel, stride = stride, padding = "symmetric", groups = groups, bias = false,
    init = { "normal", 0, math.sqrt(2 / (out * kernel * kernel)) } })
end

-- what both kinds of block end with
local function residual(self, h, x)
  if self.se then h = self.se(h) end
  if self.drop_path then h = self.drop_path(h) end
  return ((h + (self.downsample and self.downsample(x) or x)):relu())
end

local function basic_forward(self, x)
  local h = self.bn1(self.conv1(x)):relu()
  return (residual(self, self.bn2(self.conv2(h)), x))
end

local function bottleneck_forward(self, x)
  local h = self.bn1(self.conv1(x)):relu()
  h = self.bn2(self.conv2(h)):relu()
  return (residual(self, self.bn3(self.conv3(h)), x))
end

local function block(k, o, cin, planes, stride, drop_path)
  local cout, last = planes * k.expansion, { init = o.zero_init_last and 0 or 1 }
  local m
  if k.expansion == 1 then
    m = nn.Module { conv1 = conv(planes, 3, stride), bn1 = nn.BatchNorm2d {}, conv2 = conv(planes, 3, 1),
      bn2 = nn.BatchNorm2d(last), forward = basic_forward }
  else
    local width = math.floor(planes * k.base / 64) * k.groups
    m = nn.Module { conv1 = conv(width, 1, 1), bn1 = nn.BatchNorm2d {}, conv2 = conv(width, 3, stride, k.groups),
      bn2 = nn.BatchNorm2d {}, conv3 = conv(cout, 1, 1), bn3 = nn.BatchNorm2d(last), forward = bottleneck_forward }
  end
  m.se = backbone.attention(o, cout)
  if stride ~= 1 or cin ~= cout then m.downsample = nn.Chain { conv(cout, 1, stride), nn.BatchNorm2d {} } end
  m.drop_path = drop_path
  return m
end

-- stage 1 is the stem, 2 to 5 are layer1 to layer4
local function stage(self, i, x)
  if i == 1 then return (self.bn1(self.conv1(x)):relu()) end
  if i == 2 then x = x:max_pool2d { 3, stride = 2, padding = 1 } end
  return (self["layer" .. i - 1](x))
end

local function cut(m, i)
  backbone.cut(m, m, "layer" .. i - 1)
end

local function constructor(name, net)
  local spec = backbone.options(name, { zero_init_last = { "boolean", true, "blocks start as identities" } })
  local k = { expansion = net[2] and 4 or 1, groups = net[3] or 1, base = net[4] or 64 }
  local total = 0
  for _, n in ipairs(net[1]) do total = total + n end
  return function(given)
    local o = opt.check(spec, given)
    local m = nn.Module { conv1 = conv(64, 7, 2), bn1 = nn.BatchNorm2d {}, forward = backbone.forward }
    m.conv1.in_channels = o.in_chans
    local cin, index = 64, 0
    for s, n in ipairs(net[1]) do
      local planes, blocks = 32 * 2 ^ s, {}
      for i = 1, n do
        blocks[i] = block(k, o, cin, planes, i == 1 and s > 1 and 2 or 1,
          backbone.drop_path(o.drop_path_rate, index, total - 1))
        cin, index = planes * k.expansion, index + 1
      end
      m["layer" .. s] = nn.Chain(blocks)
    end
    m.fc = nn.Linear { o.classes }
    m.n_stages, m.stage = 5, stage
    return (backbone.finish(m, name, o, { first_conv = "conv1", classifier = "fc", cut = cut }))
  end
end

local models = {}
for name, net in pairs(NETS) do models[name] = constructor(name, net) end
return models
