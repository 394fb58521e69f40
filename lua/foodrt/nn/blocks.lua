--- blocks: small modules made of layers.
local err, lists = require "foodrt.core.err", require "foodrt.core.lists"
local T = require "foodrt.tensor"
local module = require "foodrt.nn.module"
local layers, norm, act = require "foodrt.nn.layers", require "foodrt.nn.norm", require "foodrt.nn.act"
local class = module.class
local nn = {}

local GATES = { sigmoid = true, hardsigmoid = true }
local ACTS = { relu = true, silu = true, relu6 = true, gelu = true, hardswish = true }

--- nn.SqueezeExcite: weighs channels by what the whole map shows.
---   nn.SqueezeExcite { rd_channels = 12, act = "silu" }    nn.SqueezeExcite { form = "seed" }
---
---     y = x * gate( expand( act( reduce( mean over h,w of x ))))
---
--- in   x  f32 [N, C, H, W]
--- out  y  f32 [N, C, H, W]
--- own  width rd_channels, or C * rd_ratio, at least 1
---      form = "timm": conv_reduce, conv_expand: 1x1 with bias; the width is rounded
---      form = "seed": fc.0, fc.2: Linear with bias around a ReLU; the width is rounded down
--- from Hu et al. 2018 (arXiv:1709.01507)
local SqueezeExcite
SqueezeExcite, nn.SqueezeExcite = class({ "SqueezeExcite", "rd_ratio", rd_ratio = { "number", 1 / 16, min = 0, max = 1 },
  rd_channels = { "integer", nil, min = 1 }, act = { "string", "relu" }, gate = { "string", "sigmoid" },
  form = { "string", "timm", one_of = { "timm", "seed" } }, init = { "list|string|number", nil } }, function(self)
  if not ACTS[self.act] then err.user("SqueezeExcite: no activation '%s'%s", self.act, err.hint(self.act, ACTS)) end
  if not GATES[self.gate] then err.user("SqueezeExcite: no gate '%s'%s", self.gate, err.hint(self.gate, GATES)) end
  -- their widths are set when the input is known
  if self.form == "seed" then
    if self.act ~= "relu" then err.user "SqueezeExcite: form = \"seed\" has a ReLU, 'act' is for form = \"timm\"" end
    self.fc = module.new_chain { layers.Linear { 1, init = self.init }, act.ReLU {}, layers.Linear { 1, init = self.init } }
  else
    self.conv_reduce = layers.Conv2d { 1, init = self.init }
    self.conv_expand = layers.Conv2d { 1, init = self.init }
  end
  self.init = nil
end)

local function squeeze_build(self, c)
  local width = math.max(1, math.floor(c * self.rd_ratio + (self.fc and 0 or 0.5)))
  if self.fc then
    self.fc[1].out_features, self.fc[3].out_features = self.rd_channels or width, c
  else
    self.conv_reduce.out_channels, self.conv_expand.out_channels = self.rd_channels or width, c
  end
  self._built_for = c
end

function SqueezeExcite:forward(x)
  local shape = x.shape
  if not self._built_for then squeeze_build(self, shape[2]) end
  local s
  if self.fc then
    s = self.fc(x:avg_pool2d()):reshape { shape[1], shape[2], 1, 1 }
  else
    s = self.conv_reduce(x:mean({ 3, 4 }, { keepdim = true }))
    s = self.conv_expand(s[self.act](s))
  end
  return x * s[self.gate](s)
end

--- nn.MultiScalePool: mean and maximum of one map side by side.
---   nn.Chain { nn.MultiScalePool {}, nn.Dropout { 0.4 }, nn.Linear { "classes" } }
--- in   x  f32 [N, C, H, W]
--- out  y  f32 [N, 2C], means first
local MultiScalePool
MultiScalePool, nn.MultiScalePool = class { "MultiScalePool" }

function MultiScalePool:forward(x) -- luacheck: no self
  return (layers.cat { x:avg_pool2d(), x:max_pool2d() })
end

-- a convolution with batch norm
local function conv_bn(width, kernel)
  return (module.new_chain { layers.Conv2d { width, kernel, padding = "symmetric", bias = false }, norm.BatchNorm2d {} })
end

--- nn.MultiScaleNeck: maps of several stages made one: each projected to `width` channels, brought to one size and added.
---   backbone = frt.models.resnet50 { features = { 3, 4, 5 } }, neck = nn.MultiScaleNeck { 256 }
---   ... self.neck(self.backbone(x))
---
---     y = relu( fuse( relu( sum over maps of resize( lateral(map) ))))
---
--- in   maps  list of `levels` f32 [N, C, H, W]
--- out  y     f32 [N, width, H, W] of the smallest map (others averaged down), with to = "largest" of the largest (bilinear)
--- own  lateral: 1x1 convolutions with batch norm; fuse: 3x3 with batch norm
--- from Lin et al. 2017 (arXiv:1612.03144), without its top-down order
local MultiScaleNeck
MultiScaleNeck, nn.MultiScaleNeck = class({ "MultiScaleNeck", "width", width = { "integer", 256, min = 1 },
  levels = { "integer", 3, min = 1 }, to = { "string", "smallest", one_of = { "smallest", "largest" } } }, function(self)
  local lateral = {}
  for i = 1, self.levels do lateral[i] = conv_bn(self.width, 1) end
  self.lateral = module.new_list(lateral)
  self.fuse = conv_bn(self.width, 3)
end)

function MultiScaleNeck:forward(maps)
  if type(maps) ~= "table" or T.is(maps) or lists.length(tostring(self), "maps", maps) ~= self.levels then
    err.user("%s: expected a list of %d maps, as a backbone with features = { … } returns", tostring(self), self.levels)
  end
  local pick, height, width = self.to == "largest" and math.max or math.min, maps[1].shape[3], maps[1].shape[4]
  for _, map in ipairs(maps) do
    layers._want(self, map, 4, "maps [N, C, H, W]")
    height, width = pick(height, map.shape[3]), pick(width, map.shape[4])
  end
  local sum
  for i, map in ipairs(maps) do
    local h, shape = self.lateral[i](map), map.shape
    if shape[3] ~= height or shape[4] ~= width then
      if self.to == "largest" then
        h = h:interpolate { size = { height, width }, mode = "bilinear" }
      else
        h = h:adaptive_avg_pool2d { height, width }
      end
    end
    sum = sum and sum + h or h
  end
  return (self.fuse(sum:relu()):relu())
end

return nn
