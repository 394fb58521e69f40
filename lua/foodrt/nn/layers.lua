--- layers: Linear, Conv2d, Embedding, Identity, Flatten and pooling. Input widths are inferred on the first
--- call; option names and initial values are PyTorch's.
local T, R = require "foodrt.tensor", require "foodrt.tensor.record"
local err = require "foodrt.core.err"
local module, fill = require "foodrt.nn.module", require "foodrt.nn.fill"
local class = module.class
local nn = {}

--- raises unless x is a tensor with `ndim` dimensions.
local function want(self, x, ndim, shape)
  if not T.is(x) then err.user("%s: expected a tensor %s, got %s", tostring(self), shape, type(x)) end
  if x:dim() ~= ndim then
    err.user("%s: expected %s, got [%s]", tostring(self), shape, table.concat(x.shape, ", "))
  end
end
nn._want = want

local function pair(self, key, v)
  if type(v) == "number" then return v, v end
  if type(v) ~= "table" or #v ~= 2 or type(v[1]) ~= "number" or type(v[2]) ~= "number" then
    err.user("nn.%s: '%s' must be a number or two of them", self.kind, key)
  end
  return v[1], v[2]
end

-- the weight must fit the input; said with the layer's name
local function check_width(self, have, got, what)
  if have ~= got then err.user("%s: expected %d %s, got %d", tostring(self), have, what, got) end
end

-- --- Linear ------------------------------------------------------------------------------------------------
--- nn.Linear: y = x W' + b.
---   nn.Linear { 101 }    nn.Linear { "classes" }    nn.Linear { 256, bias = false }
--- in   x  f32 [N, F] (or [..., F]); F is inferred
--- out  y  f32 [N, out_features]; "classes": as many as the data has
--- own  weight [out_features, F], bias [out_features]
--- from PyTorch; initial values U(-1/sqrt(F), 1/sqrt(F))
local Linear
Linear, nn.Linear = class({ "Linear", "out_features", "bias", out_features = "integer|string", bias = { "boolean", true },
  init = { "list|string|number", nil, "initial values of the weight; \"goog\": EfficientNet's, \"trunc\": ViT's" } }, function(self)
  module.check_sized(self, "out_features")
  self._params = self.bias and { "weight", "bias" } or { "weight" }
  self._biased, self.bias = self.bias, nil
  self._init, self.init = self.init, nil
end)

local function linear_build(self, x)
  local shape = x.shape
  local f, out = shape[#shape], module.sized(self, self.out_features)
  local init, bias_init = fill.layer(self._init, { out, f })
  self:param("weight", { out, f }, init)
  if self._biased then self:param("bias", { out }, bias_init) end
end

local matmul, add = R.index "matmul", R.index "add"

function Linear:forward(x)
  if not T.is(x) then want(self, x, 2, "[N, features]") end
  local s = R.info(x)
  if s.ndim < 2 then want(self, x, 2, "[N, features]") end
  local width = tonumber(s.dim[s.ndim - 1])
  if not rawget(self, "weight") then
    linear_build(self, x)
    self._width = width
  elseif width ~= self._width then
    self._width = self.weight.shape[2]
    check_width(self, self._width, width, "features")
  end
  R.input[0], R.input[1] = x.ref, self.weight.ref
  R.attr[0], R.attr[1] = 0, 1
  local y = R.one(matmul, 2, 2)
  if not self._biased then return y end
  R.input[0], R.input[1] = y.ref, self.bias.ref
  local z = R.one(add, 2, 0)
  return z
end

-- --- Conv2d ------------------------------------------------------------------------------------------------
--- nn.Conv2d: two-dimensional convolution.
---   nn.Conv2d { 64, 3, stride = 2, padding = 1 }    nn.Conv2d { kernel_size = 3, groups = "depthwise", padding = "symmetric" }
--- in   x  f32 [N, C, H, W]; C is inferred
--- out  y  f32 [N, out_channels, H', W']
--- own  weight [out_channels, C/groups, kh, kw], bias [out_channels] unless bias = false
---      padding: a number, two, "symmetric" (half the kernel, as timm's native models) or "same" (TensorFlow's:
---      H' = ceil(H / stride), the odd row or column goes to the bottom and right)
--- from PyTorch; initial values U(-1/sqrt(fan_in), 1/sqrt(fan_in)); init = "goog": N(0, sqrt(2/fan_out)), "trunc": N(0, 0.02)
local Conv2d
Conv2d, nn.Conv2d = class({ "Conv2d", "out_channels", "kernel_size", out_channels = { "integer", nil, min = 1 },
  kernel_size = { "integer|list", 1, of = "integer", min = 1 }, stride = { "integer|list", 1, of = "integer", min = 1 },
  padding = { "integer|list|string", 0, of = "integer", min = 0, one_of = { "same", "symmetric" } },
  dilation = { "integer|list", 1, of = "integer", min = 1 }, groups = { "integer|string", 1, min = 1, one_of = { "depthwise" } },
  bias = { "boolean", true }, init = { "list|string|number", nil } }, function(self)
  if not self.out_channels and self.groups ~= "depthwise" then err.user "Conv2d: missing option 'out_channels'" end
  local geometry = {}
  self._g = geometry
  geometry.kh, geometry.kw = pair(self, "kernel_size", self.kernel_size)
  geometry.sh, geometry.sw = pair(self, "stride", self.stride)
  geometry.dh, geometry.dw = pair(self, "dilation", self.dilation)
  if self.padding == "symmetric" then
    geometry.top = math.floor(((geometry.sh - 1) + geometry.dh * (geometry.kh - 1)) / 2)
    geometry.left = math.floor(((geometry.sw - 1) + geometry.dw * (geometry.kw - 1)) / 2)
  elseif self.padding ~= "same" then
    geometry.top, geometry.left = pair(self, "padding", self.padding)
  end
  geometry.bottom, geometry.right = geometry.top, geometry.left
  self._params = self.bias and { "weight", "bias" } or { "weight" }
  self._biased, self.bias = self.bias, nil
  self._init, self.init = self.init, nil
end)

-- TensorFlow's SAME: how much goes before and after an edge of length i
local function same(i, k, s, d)
  local total = math.max((math.ceil(i / s) - 1) * s + (k - 1) * d + 1 - i, 0)
  local before = math.floor(total / 2)
  return before, total - before
end

local function conv_build(self, c)
  local g = self._g
  if self.in_channels then check_width(self, self.in_channels, c, "channels") end
  local groups = self.groups == "depthwise" and c or self.groups
  local out = self.out_channels or c
  if c % groups ~= 0 or out % groups ~= 0 then
    err.user("%s: %d groups must divide both %d channels in and %d out", tostring(self), groups, c, out)
  end
  g.groups, g.channels = groups, c
  local shape = { out, c / groups, g.kh, g.kw }
  local init, bias_init = fill.layer(self._init, shape, groups)
  self:param("weight", shape, init)
  if self._biased then self:param("bias", { out }, bias_init) end
end

local conv2d = R.index "conv2d"

function Conv2d:forward(x)
  if not T.is(x) then want(self, x, 4, "[N, C, H, W]") end
  local s, g = R.info(x), self._g
  if s.ndim ~= 4 then want(self, x, 4, "[N, C, H, W]") end
  local c = tonumber(s.dim[1])
  local top, left, bottom, right = g.top, g.left, g.bottom, g.right
  if not top then
    top, bottom = same(tonumber(s.dim[2]), g.kh, g.sh, g.dh)
    left, right = same(tonumber(s.dim[3]), g.kw, g.sw, g.dw)
  end
  if not rawget(self, "weight") then conv_build(self, c) end
  if c ~= g.channels then check_width(self, g.channels, c, "channels") end
  local a, input = R.attr, R.input
  a[0], a[1], a[2], a[3], a[4], a[5] = g.sh, g.sw, top, left, bottom, right
  a[6], a[7], a[8], a[9] = g.dh, g.dw, g.groups, 0
  input[0], input[1], input[2] = x.ref, self.weight.ref, self._biased and self.bias.ref or 0
  local y = R.one(conv2d, 3, 10)
  return y
end

-- --- Embedding -----------------------------------------------------------------------------------------------
--- nn.Embedding: a row of a table per number.
---   nn.Embedding { 1000, 64 }
--- in   idx  i32 [...], numbers from 1
--- out  y    f32 [..., embedding_dim]
--- own  weight [num_embeddings, embedding_dim], initial values N(0, 1)
--- from PyTorch
local Embedding
Embedding, nn.Embedding = class({ "Embedding", "num_embeddings", "embedding_dim", num_embeddings = { "integer|string", nil, min = 1 },
  embedding_dim = "integer", init = { "list|number", nil } }, function(self)
  if not self.num_embeddings then err.user "Embedding: missing option 'num_embeddings'" end
  module.check_sized(self, "num_embeddings")
  self._params = { "weight" }
  self._init, self.init = self.init, nil
end)

function Embedding:forward(idx)
  if not T.is(idx) then want(self, idx, 1, "of class numbers") end
  if not rawget(self, "weight") then
    self:param("weight", { module.sized(self, self.num_embeddings), self.embedding_dim }, self._init or { "normal", 0, 1 })
  end
  local shape = idx.shape
  local flat = #shape == 1 and idx or idx:reshape { idx:numel() }
  local y = self.weight:index_select(1, flat)
  if #shape == 1 then return y end
  shape[#shape + 1] = self.embedding_dim
  return (y:reshape(shape))
end

-- --- shape and pooling ------------------------------------------------------------------------------------------
--- nn.Identity: gives back what it gets.
---   nn.Identity {}
--- in   x  anything
--- out  y  x
local Identity
Identity, nn.Identity = class { "Identity" }

function Identity:forward(x) -- luacheck: no self
  return x
end

--- nn.Flatten: joins all dimensions from `from` on.
---   nn.Flatten {}
--- in   x  [N, C, H, W]
--- out  y  [N, C*H*W]
local Flatten
Flatten, nn.Flatten = class { "Flatten", "from", from = { "integer", 2 } }

function Flatten:forward(x)
  return (x:flatten(self.from))
end

local function pool_options(self)
  if not self.kernel_size then return nil end
  return { kernel_size = self.kernel_size, stride = self.stride, padding = self.padding }
end

local pool_spec = { "kernel_size", kernel_size = { "integer|list", nil, of = "integer" },
  stride = { "integer|list", nil, of = "integer" }, padding = { "integer|list", 0, of = "integer" } }

local function spec_for(name)
  local spec = { name, unpack(pool_spec) }
  for k, v in pairs(pool_spec) do
    if type(k) == "string" then spec[k] = v end
  end
  return spec
end

--- nn.AvgPool2d: mean over windows; without kernel_size over the whole map.
---   nn.AvgPool2d {}    nn.AvgPool2d { 2, stride = 2 }
--- in   x  f32 [N, C, H, W]
--- out  y  f32 [N, C] over the whole map, else [N, C, H', W']
local AvgPool2d
AvgPool2d, nn.AvgPool2d = class(spec_for "AvgPool2d", function(self) self._options = pool_options(self) end)

function AvgPool2d:forward(x)
  return (x:avg_pool2d(self._options))
end

--- nn.MaxPool2d: maximum over windows; without kernel_size over the whole map.
---   nn.MaxPool2d { 3, stride = 2, padding = 1 }
--- in   x  f32 [N, C, H, W]
--- out  y  f32 [N, C] over the whole map, else [N, C, H', W']
local MaxPool2d
MaxPool2d, nn.MaxPool2d = class(spec_for "MaxPool2d", function(self) self._options = pool_options(self) end)

function MaxPool2d:forward(x)
  return (x:max_pool2d(self._options))
end

--- nn.AdaptiveAvgPool2d: mean over windows that give the size asked for.
---   nn.AdaptiveAvgPool2d { 1 }
--- in   x  f32 [N, C, H, W]
--- out  y  f32 [N, C, output_size, output_size]
local AdaptiveAvgPool2d
AdaptiveAvgPool2d, nn.AdaptiveAvgPool2d = class { "AdaptiveAvgPool2d", "output_size",
  output_size = { "integer|list", nil, of = "integer", required = true } }

function AdaptiveAvgPool2d:forward(x)
  return (x:adaptive_avg_pool2d(self.output_size))
end

--- nn.cat: tensors side by side.
---   nn.cat { map:avg_pool2d(), map:max_pool2d() }    nn.cat { a, b, dim = 1 }
--- in   list  tensors that agree in every other dimension; dim: default 2, the features
--- out  y     one tensor
local CAT = { dim = true }

function nn.cat(list)
  if type(list) ~= "table" or T.is(list) then err.user "cat: expected a list of tensors" end
  local y = T.api.cat(list, list.dim or 2, CAT)
  return y
end

return nn
