--- convnext: ConvNeXt atto to xlarge. Keys, eps and initial values are timm's.
--- from Liu et al. 2022 (arXiv:2201.03545), section 3; atto to nano: Wightman 2022 (timm)
local nn, opt = require "foodrt.nn", require "foodrt.core.opt"
local backbone = require "foodrt.models.backbone"

local NETS = {  -- blocks per stage, channels of the first, whether the two linear layers are 1x1 convolutions
  atto = { { 2, 2, 6, 2 }, 40, true }, femto = { { 2, 2, 6, 2 }, 48, true }, pico = { { 2, 2, 6, 2 }, 64, true },
  nano = { { 2, 2, 8, 2 }, 80, true }, tiny = { { 3, 3, 9, 3 }, 96 }, small = { { 3, 3, 27, 3 }, 96 },
  base = { { 3, 3, 27, 3 }, 128 }, large = { { 3, 3, 27, 3 }, 192 }, xlarge = { { 3, 3, 27, 3 }, 256 },
}

local function norm2d()
  return (nn.LayerNorm2d { eps = 1e-6 })
end

-- scaled by gamma, dropped as a path and added to the block's input
local function residual(self, h, x)
  h = h * self.gamma:reshape { 1, -1, 1, 1 }
  if self.attention then h = self.attention(h) end
  return (self.drop_path and self.drop_path(h) or h) + x
end

local function linear_forward(self, x)
  local h = self.norm(self.conv_dw(x):permute(1, 3, 4, 2))
  return (residual(self, self.mlp(h):permute(1, 4, 2, 3), x))
end

local function conv_forward(self, x)
  return (residual(self, self.mlp(self.norm(self.conv_dw(x))), x))
end

local function block(o, c, by_conv, drop_path)
  local m = nn.Module {
    gamma = nn.Parameter { c, init = o.ls_init_value },
    conv_dw = nn.Conv2d { c, 7, padding = 3, groups = "depthwise", init = "trunc" },
    norm = by_conv and norm2d() or nn.LayerNorm { eps = 1e-6 },
    mlp = backbone.mlp(by_conv and nn.Conv2d or nn.Linear, c),
    attention = backbone.attention(o, c), forward = by_conv and conv_forward or linear_forward,
  }
  m.drop_path = drop_path
  return m
end

local function stage_forward(self, x)
  if self.downsample then x = self.downsample(x) end
  return (self.blocks(x))
end

local function stage(self, i, x)
  if i == 1 then x = self.stem(x) end
  return (self.stages[i](x))
end

local function cut(m, i)
  backbone.cut(m, m.stages, i, "stages." .. i - 1)
end

-- the mean of the map, normalised
local function pool(self, map)
  return (self.head.norm(map:mean({ 3, 4 }, { keepdim = true })):flatten(2))
end

local function head_forward(self, map)
  return (self.fc(pool({ head = self }, map)))
end

local function constructor(name, net)
  local spec = backbone.options(name, { ls_init_value = { "number", 1e-6, "initial value of gamma, each block's scale" } })
  local total = 0
  for _, n in ipairs(net[1]) do total = total + n end
  return function(given)
    local o = opt.check(spec, given)
    local stages, index = {}, 0
    local stem = nn.Chain { nn.Conv2d { net[2], 4, stride = 4, init = "trunc" }, norm2d() }
    stem[1].in_channels = o.in_chans
    for s, n in ipairs(net[1]) do
      local c, blocks = net[2] * 2 ^ (s - 1), {}
      local downsample = s > 1 and nn.Chain { norm2d(), nn.Conv2d { c, 2, stride = 2, init = "trunc" } } or nil
      for i = 1, n do
        blocks[i] = block(o, c, net[3], backbone.drop_path(o.drop_path_rate, index, total - 1))
        index = index + 1
      end
      stages[s] = nn.Module { downsample = downsample, blocks = nn.Chain(blocks), forward = stage_forward }
    end
    local m = nn.Module { stem = stem, stages = nn.Chain(stages), forward = backbone.forward,
      head = nn.Module { norm = norm2d(), fc = nn.Linear { o.classes, init = "trunc" }, forward = head_forward } }
    m.n_stages, m.stage, m.pool = #stages, stage, pool
    return (backbone.finish(m, name, o, { first_conv = "stem.0", classifier = "head.fc", cut = cut }))
  end
end

local models = {}
for variant, net in pairs(NETS) do models["convnext_" .. variant] = constructor("convnext_" .. variant, net) end
return models
