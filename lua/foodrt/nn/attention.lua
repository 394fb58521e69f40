--- attention: layers that let positions or channels look at each other: MultiheadAttention.
local R = require "foodrt.tensor.record"
local err = require "foodrt.err"
local class = require "foodrt.nn.module".class
local layers = require "foodrt.nn.layers"
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
  qkv_bias = { "boolean", true }, init = { "table|string|number", nil } }, function(self)
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

return nn
