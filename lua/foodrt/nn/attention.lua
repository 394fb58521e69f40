--- attention: layers that weigh tokens, channels and positions: MultiheadAttention, ChannelAttention, SpatialAttention, CBAM.
local R = require "foodrt.tensor.record"
local err = require "foodrt.core.err"
local class = require "foodrt.nn.module".class
local layers, norm = require "foodrt.nn.layers", require "foodrt.nn.norm"
local nn = {}

local matmul = R.index "matmul"

-- a times b transposed, without moving b
local function times_transposed(a, b)
  R.input[0], R.input[1] = a.ref, b.ref
  R.attr[0], R.attr[1] = 0, 1
  local y = R.one(matmul, 2, 2)
  return y
end

--- nn.MultiheadAttention: every token becomes a mean of what all tokens hold, weighted by likeness, once per head.
---   nn.MultiheadAttention { 12 }
---
---     q, k, v = qkv(x);  y = proj( softmax( q k' / sqrt(d) ) v ),  d = F / heads
---
--- in   x  f32 [N, L, F], F a multiple of heads
--- out  y  f32 [N, L, F]
--- own  qkv: Linear [3F, F] with rows part * F + head * d + i; proj: Linear [F, F]
--- from Vaswani et al. 2017 (arXiv:1706.03762); keys and order are timm's
local MultiheadAttention
MultiheadAttention, nn.MultiheadAttention = class({ "MultiheadAttention", "heads", heads = { "integer", 8, min = 1 },
  qkv_bias = { "boolean", true }, init = { "list|string|number", nil } }, function(self)
  -- the width is set when the input is known
  self.qkv = layers.Linear { 1, bias = self.qkv_bias, init = self.init }
  self.proj = layers.Linear { 1, init = self.init }
  self.init = nil
end)

function MultiheadAttention:forward(x)
  layers._want(self, x, 3, "[N, tokens, features]")
  local n, l, f = unpack(x.shape)
  if f % self.heads ~= 0 then err.user("%s: %d heads must divide %d features", tostring(self), self.heads, f) end
  if not self._built_for then
    self.qkv.out_features, self.proj.out_features, self._built_for = 3 * f, f, f
  end
  local d = f / self.heads
  local parts = self.qkv(x):reshape({ n, l, 3, self.heads, d }):permute(3, 1, 4, 2, 5)
  local q, k, v = parts:select(1, 1), parts:select(1, 2), parts:select(1, 3)
  local weights = times_transposed(q * (1 / math.sqrt(d)), k):softmax(-1)
  return (self.proj(weights:matmul(v):transpose(2, 3):reshape { n, l, f }))
end

--- nn.ChannelAttention: weighs channels by the mean and the maximum of each map.
---   nn.ChannelAttention { reduction = 16 }
---
---     y = x * sigmoid( mlp(mean over h,w of x) + mlp(max over h,w of x) ),  mlp = fc2( relu( fc1 ))
---
--- in   x  f32 [N, C, H, W]
--- out  y  f32 [N, C, H, W]
--- own  fc1 [max(1, C / reduction), C], fc2 [C, ...] with bias
--- from Woo et al. 2018 (arXiv:1807.06521), section 3.1, as in its authors' code
local ChannelAttention
ChannelAttention, nn.ChannelAttention = class({ "ChannelAttention", "reduction", reduction = { "integer", 16, min = 1 } },
  function(self)
    self.fc1, self.fc2 = layers.Linear { 1 }, layers.Linear { 1 }
  end)

function ChannelAttention:forward(x)
  layers._want(self, x, 4, "[N, C, H, W]")
  local n, c = unpack(x.shape)
  if not self._built_for then
    self.fc1.out_features, self.fc2.out_features = math.max(1, math.floor(c / self.reduction)), c
    self._built_for = c
  end
  local mean, max = self.fc2(self.fc1(x:avg_pool2d()):relu()), self.fc2(self.fc1(x:max_pool2d()):relu())
  return x * (mean + max):sigmoid():reshape { n, c, 1, 1 }
end

--- nn.SpatialAttention: weighs positions by the maximum and the mean over channels.
---   nn.SpatialAttention { 7 }
---
---     y = x * sigmoid( bn( conv( [max over c of x, mean over c of x] )))
---
--- in   x  f32 [N, C, H, W]
--- out  y  f32 [N, C, H, W]
--- own  conv [1, 2, k, k] without bias, bn of one channel with momentum 0.01
--- from Woo et al. 2018 (arXiv:1807.06521), section 3.2, as in its authors' code
local SpatialAttention
SpatialAttention, nn.SpatialAttention = class({ "SpatialAttention", "kernel_size", kernel_size = { "integer", 7, min = 1 } },
  function(self)
    self.conv = layers.Conv2d { 1, self.kernel_size, padding = "symmetric", bias = false }
    self.bn = norm.BatchNorm2d { momentum = 0.01 }
  end)

function SpatialAttention:forward(x)
  layers._want(self, x, 4, "[N, C, H, W]")
  local seen = layers.cat { x:max({ 2 }, { keepdim = true }), x:mean({ 2 }, { keepdim = true }) }
  return x * self.bn(self.conv(seen)):sigmoid()
end

--- nn.CBAM: weighs channels, then positions.
---   nn.CBAM {}    frt.models.resnet50 { attention = nn.CBAM { reduction = 8 } }
--- in   x  f32 [N, C, H, W]
--- out  y  f32 [N, C, H, W]
--- own  channel: nn.ChannelAttention, spatial: nn.SpatialAttention
--- from Woo et al. 2018 (arXiv:1807.06521)
local CBAM
CBAM, nn.CBAM = class({ "CBAM", "reduction", reduction = { "integer", 16, min = 1 }, kernel_size = { "integer", 7, min = 1 } },
  function(self)
    self.channel = nn.ChannelAttention { self.reduction }
    self.spatial = nn.SpatialAttention { self.kernel_size }
  end)

function CBAM:forward(x)
  return (self.spatial(self.channel(x)))
end

return nn
