--- posembed: position embeddings for another grid of patches, resized as PyTorch's bicubic with antialiasing does
--- (a = -0.5; the kernel grows with the factor when the grid shrinks).
local array = require("foodrt.core.buffer").new
local posembed = {}

local A = -0.5  -- Keys' kernel

local function cubic(x)
  x = math.abs(x)
  if x < 1 then return ((A + 2) * x - (A + 3)) * x * x + 1 end
  if x < 2 then return ((A * x - 5 * A) * x + 8 * A) * x - 4 * A end
  return 0
end

-- for each of `to` outputs: the first input and its weights, which sum to 1
local function taps(from, to)
  local scale = from / to
  local grow = math.max(scale, 1)
  local list = {}
  for i = 0, to - 1 do
    local center, support = scale * (i + 0.5), 2 * grow
    local first = math.max(math.floor(center - support + 0.5), 0)
    local last = math.min(math.floor(center + support + 0.5), from) - 1
    local weights, sum = {}, 0
    for j = first, last do
      local w = cubic((j - center + 0.5) / grow)
      weights[#weights + 1], sum = w, sum + w
    end
    for j = 1, #weights do weights[j] = weights[j] / sum end
    list[i] = { first, weights }
  end
  return list
end

-- rows [outer, from, inner] -> [outer, to, inner]
local function along(src, outer, from, to, inner)
  local dst, list = array("float", outer * to * inner), taps(from, to)
  for o = 0, outer - 1 do
    for i = 0, to - 1 do
      local first, weights = list[i][1], list[i][2]
      for c = 0, inner - 1 do
        local s = 0
        for j = 1, #weights do s = s + weights[j] * src[(o * from + first + j - 1) * inner + c] end
        dst[(o * to + i) * inner + c] = s
      end
    end
  end
  return dst
end

--- a grid [from, from, width] of floats resized to [to, to, width].
function posembed.resize(src, from, to, width)
  local wide = along(src, from, from, to, width)
  local both = along(wide, 1, from, to, to * width)
  return both
end

return posembed
