--- norm: BatchNorm2d, LayerNorm, LayerNorm2d, GroupNorm. Batch statistics move once per training forward pass.
local T, R = require "foodrt.tensor", require "foodrt.tensor.record"
local err = require "foodrt.core.err"
local module, effects = require "foodrt.nn.module", require "foodrt.nn.effects"
local want = require "foodrt.nn.layers"._want
local class = module.class
local nn = {}

--- nn.BatchNorm2d: normalises each channel over batch, height and width.
---   nn.BatchNorm2d {}    nn.BatchNorm2d { eps = 1e-3, momentum = 0.01, init = 0 }
---
---     training    y = (x - mean(x)) / sqrt(var(x) + eps) * weight + bias, and the running statistics move:
---                 r = (1 - momentum) r + momentum * (mean, unbiased variance)
---     evaluation  the same with the running statistics; also in training while it is frozen
---
--- in   x  f32 [N, C, H, W]
--- out  y  f32 [N, C, H, W]
--- own  weight, bias [C]; buffers running_mean, running_var [C]; fields eps, momentum
--- from Ioffe and Szegedy 2015 (arXiv:1502.03167)
local BatchNorm2d
BatchNorm2d, nn.BatchNorm2d = class({ "BatchNorm2d", eps = { "number", 1e-5, min = 0 },
  momentum = { "number", 0.1, min = 0, max = 1 }, init = { "number", 1, "initial value of the weight" } }, function(self)
  self._params = { "weight", "bias" }
  self._init, self.init = self.init, nil
  self._buffers = { "running_mean", "running_var" }
end)

local batch_norm, batch_norm_train = R.index "batch_norm", R.index "batch_norm_train"

function BatchNorm2d:forward(x)
  if not T.is(x) then want(self, x, 4, "[N, C, H, W]") end
  local s = R.info(x)
  if s.ndim ~= 4 then want(self, x, 4, "[N, C, H, W]") end
  local c = tonumber(s.dim[1])
  if not rawget(self, "weight") then
    self:param("weight", { c }, self._init)
    self:param("bias", { c }, 0)
    self:buffer("running_mean", { c }, 0)
    self:buffer("running_var", { c }, 1)
  end
  local mean, var = self.running_mean, self.running_var
  local input, attr = R.input, R.attr
  input[0], input[1], input[2], input[3], input[4] = x.ref, self.weight.ref, self.bias.ref, mean.ref, var.ref
  attr[0] = self.eps
  if not self.training or self._still then
    local y = R.one(batch_norm, 5, 1)
    return y
  end
  if s.dim[0] * s.dim[2] * s.dim[3] < 2 then
    err.user("%s: training needs more than one value per channel, got [%s]", tostring(self), table.concat(x.shape, ", "))
  end
  attr[1] = self.momentum
  R.record(batch_norm_train, 5, 2, 5)
  local out = R.output
  effects.put(mean, out[3])
  effects.put(var, out[4])
  local t = R.wrap(out[0])
  return t
end

--- nn.LayerNorm: normalises over the last dimensions (default the last one).
---   nn.LayerNorm {}    nn.LayerNorm { eps = 1e-6 }
--- in   x  f32 [..., F]
--- out  y  f32 [..., F]
--- own  weight, bias of the shape of the last n_dims dimensions, unless affine = false
--- from Ba, Kiros and Hinton 2016 (arXiv:1607.06450)
local LayerNorm
LayerNorm, nn.LayerNorm = class({ "LayerNorm", eps = { "number", 1e-5, min = 0 }, n_dims = { "integer", 1, min = 1 },
  affine = { "boolean", true } }, function(self)
  self._params = self.affine and { "weight", "bias" } or {}
end)

function LayerNorm:forward(x)
  if not T.is(x) then want(self, x, 2, "[N, F]") end
  if self.affine and not rawget(self, "weight") then
    local shape, last = x.shape, {}
    for d = #shape - self.n_dims + 1, #shape do last[#last + 1] = shape[d] end
    self:param("weight", last, 1)
    self:param("bias", last, 0)
  end
  if not self.affine then return (x:layer_norm { eps = self.eps, n_dims = self.n_dims }) end
  return (x:layer_norm(self.weight, self.bias, { eps = self.eps, n_dims = self.n_dims }))
end

--- nn.LayerNorm2d: normalises over the channels at each position of a map.
---   nn.LayerNorm2d { eps = 1e-6 }
--- in   x  f32 [N, C, H, W]
--- out  y  f32 [N, C, H, W]
--- own  weight, bias [C]
--- from Liu et al. 2022 (arXiv:2201.03545)
local LayerNorm2d
LayerNorm2d, nn.LayerNorm2d = class({ "LayerNorm2d", eps = { "number", 1e-5, min = 0 } }, function(self)
  self._params = { "weight", "bias" }
end)

function LayerNorm2d:forward(x)
  want(self, x, 4, "[N, C, H, W]")
  if not rawget(self, "weight") then
    local c = x.shape[2]
    self:param("weight", { c }, 1)
    self:param("bias", { c }, 0)
  end
  return (x:permute(1, 3, 4, 2):layer_norm(self.weight, self.bias, { eps = self.eps }):permute(1, 4, 2, 3))
end

--- nn.GroupNorm: normalises over groups of channels and all positions.
---   nn.GroupNorm { 32 }
--- in   x  f32 [N, C, H, W], C a multiple of groups
--- out  y  f32 [N, C, H, W]
--- own  weight, bias [C]
--- from Wu and He 2018 (arXiv:1803.08494)
local GroupNorm
GroupNorm, nn.GroupNorm = class({ "GroupNorm", "groups", groups = { "integer", nil, min = 1 }, eps = { "number", 1e-5, min = 0 } },
  function(self)
    if not self.groups then err.user "GroupNorm: missing option 'groups'" end
    self._params = { "weight", "bias" }
  end)

function GroupNorm:forward(x)
  want(self, x, 4, "[N, C, H, W]")
  local c = x.shape[2]
  if not rawget(self, "weight") then
    self:param("weight", { c }, 1)
    self:param("bias", { c }, 0)
  end
  return (x:group_norm(self.groups, self.weight, self.bias, { eps = self.eps }))
end

return nn
