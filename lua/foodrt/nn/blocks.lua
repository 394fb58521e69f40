--- blocks: small modules made of layers.
local err = require "foodrt.err"
local class = require "foodrt.nn.module".class
local layers = require "foodrt.nn.layers"
local nn = {}

local GATES = { sigmoid = true, hardsigmoid = true }
local ACTS = { relu = true, silu = true, relu6 = true, gelu = true, hardswish = true }

--- nn.SqueezeExcite: weighs channels by what the whole map shows.
---   nn.SqueezeExcite { rd_channels = 12, act = "silu" }
---
---     y = x * gate( expand( act( reduce( mean over h,w of x ))))
---
--- in   x  f32 [N, C, H, W]
--- out  y  f32 [N, C, H, W]
--- own  conv_reduce, conv_expand: 1x1 with bias; width rd_channels, or max(1, C * rd_ratio) rounded
--- from Hu et al. 2018 (arXiv:1709.01507), in timm's form
local SqueezeExcite
SqueezeExcite, nn.SqueezeExcite = class({ "SqueezeExcite", "rd_ratio", rd_ratio = { "number", 1 / 16, min = 0, max = 1 },
  rd_channels = { "integer", nil, min = 1 }, act = { "string", "relu" }, gate = { "string", "sigmoid" },
  init = { "table|string|number", nil } }, function(self)
  if not ACTS[self.act] then err.user("SqueezeExcite: no activation '%s'%s", self.act, err.hint(self.act, ACTS)) end
  if not GATES[self.gate] then err.user("SqueezeExcite: no gate '%s'%s", self.gate, err.hint(self.gate, GATES)) end
  -- their widths are set when the input is known
  self.conv_reduce = layers.Conv2d { self.rd_channels or 1, init = self.init }
  self.conv_expand = layers.Conv2d { 1, init = self.init }
  self.init = nil
end)

function SqueezeExcite:forward(x)
  if not self._built_for then
    local c = x.shape[2]
    self.conv_reduce.out_channels = self.rd_channels or math.max(1, math.floor(c * self.rd_ratio + 0.5))
    self.conv_expand.out_channels = c
    self._built_for = c
  end
  local s = self.conv_reduce(x:mean({ 3, 4 }, { keepdim = true }))
  s = self.conv_expand(s[self.act](s))
  return x * s[self.gate](s)
end

return nn
