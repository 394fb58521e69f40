--- mbconv: networks of inverted bottlenecks (EfficientNet, MobileNetV2) from a table of their stages. Keys, padding, eps and
--- initial values are timm's.
--- from Sandler et al. 2018 (arXiv:1801.04381), section 3.3
local nn, opt = require "foodrt.nn", require "foodrt.core.opt"
local backbone = require "foodrt.models.backbone"
local mbconv = {}

-- to a multiple of 8, never losing more than 10 %
local function round8(c)
  local r = math.max(8, math.floor((c + 4) / 8) * 8)
  return r < 0.9 * c and r + 8 or r
end
mbconv.round8 = round8

local function conv(k, out, kernel, stride)
  return (nn.Conv2d { out, kernel, stride = stride, padding = k.padding, bias = false, init = "goog" })
end

local function depthwise(k, kernel, stride)
  return (nn.Conv2d { kernel_size = kernel, stride = stride, padding = k.padding, groups = "depthwise", bias = false,
    init = "goog" })
end

local function norm(k, init)
  return (nn.BatchNorm2d { eps = k.eps, init = init })
end

-- the squeezed width is relative to the block's input, not to the expanded width
local function squeeze(k, o, cin, mid)
  if o.attention then return (backbone.attention(o, mid)) end
  if not k.se then return nil end
  return (nn.SqueezeExcite { rd_channels = math.floor(cin * k.se + 0.5), act = "silu", init = "goog" })
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

local function block(k, o, cin, cout, s, stride, drop_path)
  local m
  local skip = stride == 1 and cin == cout
  local init = skip and o.zero_init_last and 0 or 1
  if s.expansion == 1 then
    m = nn.Module { conv_dw = depthwise(k, s.kernel, stride), bn1 = norm(k), se = squeeze(k, o, cin, cin),
      conv_pw = conv(k, cout), bn2 = norm(k, init), forward = separable_forward }
  else
    local mid = cin * s.expansion
    m = nn.Module { conv_pw = conv(k, mid), bn1 = norm(k), conv_dw = depthwise(k, s.kernel, stride),
      bn2 = norm(k), se = squeeze(k, o, cin, mid), conv_pwl = conv(k, cout), bn3 = norm(k, init),
      forward = inverted_forward }
  end
  m.act, m.skip = k.act, skip
  m.drop_path = m.skip and drop_path or nil
  return m
end

-- the blocks of all stages, and how many each has
local function stages(k, o, cin)
  local counts, total, index, list = {}, 0, 0, {}
  for s, stage in ipairs(k.stages) do
    local fixed = k.fixed and (s == 1 or s == #k.stages)
    counts[s] = fixed and stage[1] or math.ceil(stage[1] * k.depth - 1e-9)
    total = total + counts[s]
  end
  for s, stage in ipairs(k.stages) do
    local cout, blocks = round8(stage[5] * k.width), {}
    for i = 1, counts[s] do
      blocks[i] = block(k, o, cin, cout, { kernel = stage[2], expansion = stage[4] }, i == 1 and stage[3] or 1,
        backbone.drop_path(o.drop_path_rate, index, total))
      cin, index = cout, index + 1
    end
    list[s] = nn.Chain(blocks)
  end
  return nn.Chain(list), counts
end

-- a stage of the model ends where the next one halves the map: the first with the stem, 1/2 to 1/32
local function stage(self, i, x)
  if i == 1 then
    x = self.bn1(self.conv_stem(x))
    x = x[self.act](x)
  end
  for b = self.first[i], self.first[i + 1] - 1 do x = self.blocks[b](x) end
  return x
end

local function last(self, x)
  local h = self.bn2(self.conv_head(x))
  return (h[self.act](h))
end

local function cut(m, i)
  for b = m.first[i], m.first[i + 1] - 1 do backbone.cut(m, m.blocks, b, "blocks." .. b - 1) end
end

--- the constructor of `name`.
--- in   k  stages: rows { blocks, kernel, stride, expansion, channels }; width, depth: their factors; fixed: not for the first
---         and last stage's blocks; stem, head: channels; act, padding, eps; se: share of the block's input, nil for none
function mbconv.constructor(name, k)
  local spec = backbone.options(name, { zero_init_last = { "boolean", false,
    "blocks with a shortcut start as identities: random weights learn several times faster so; timm's don't" } })
  local first = { 1 }
  for s, row in ipairs(k.stages) do
    if s > 1 and row[3] == 2 then first[#first + 1] = s end
  end
  first[#first + 1] = #k.stages + 1
  return function(given)
    local o = opt.check(spec, given)
    local conv_stem, bn1 = conv(k, k.stem, 3, 2), norm(k)  -- the order of construction is that of the keys
    local blocks, depths = stages(k, o, k.stem)
    local m = nn.Module {
      conv_stem = conv_stem, bn1 = bn1, blocks = blocks,
      conv_head = conv(k, k.head), bn2 = norm(k), classifier = nn.Linear { o.classes, init = "goog" },
      forward = backbone.forward,
    }
    m.depths = depths
    m.act, m.first, m.n_stages, m.stage = k.act, first, #first - 1, stage
    m.last = not o.features and last or nil
    m.conv_stem.in_channels = o.in_chans
    return (backbone.finish(m, name, o, { first_conv = "conv_stem", classifier = "classifier", cut = cut,
      after = { "conv_head", "bn2" } }))
  end
end

return mbconv
