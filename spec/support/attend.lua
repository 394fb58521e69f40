-- attend: attention as nn.MultiheadAttention records it, of one map [N, L, 3F] or of three maps [N, L, F], for specs.
local R = require "foodrt.tensor.record"
local attend = {}

--- a times b transposed, without moving b
function attend.times_transposed(a, b)
  R.input[0], R.input[1] = a.ref, b.ref
  R.attr[0], R.attr[1] = 0, 1
  return (R.one(R.index "matmul", 2, 2))
end

--- [N, L, F] -> [N, heads, L, F / heads]
function attend.split(x, heads)
  local n, l, f = unpack(x.shape)
  return x:reshape({ n, l, heads, f / heads }):transpose(2, 3)
end

--- queries, keys and values [N, heads, L, d] of [N, L, 3F]
function attend.parts(x, heads)
  local n, l, f = unpack(x.shape)
  local parts = x:reshape({ n, l, 3, heads, f / 3 / heads }):permute(3, 1, 4, 2, 5)
  return parts:select(1, 1), parts:select(1, 2), parts:select(1, 3)
end

--- softmax(scale q k') v as [N, L, F]. o.scale: a number or tensor, false: none (1 / sqrt d); o.scores, o.weights: what
--- becomes of them in between.
function attend.all(q, k, v, o)
  o = o or {}
  local n, heads, l, d = unpack(q.shape)
  local scale = o.scale == nil and 1 / math.sqrt(d) or o.scale
  local scores = attend.times_transposed(scale and q * scale or q, k)
  local weights = (o.scores and o.scores(scores) or scores):softmax(-1)
  weights = o.weights and o.weights(weights) or weights
  return weights:matmul(v):transpose(2, 3):reshape { n, l, heads * d }
end

return attend
