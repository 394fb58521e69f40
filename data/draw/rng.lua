-- Counter-based random numbers for the drawings: every photo has its own stream, named by the
-- seed, the split, the class and its number, so photos do not depend on one another.
local bit = require "bit"
local band, bxor, rol, tobit = bit.band, bit.bxor, bit.rol, bit.tobit

local Rng = {}
Rng.__index = Rng

-- Bob Jenkins' lookup3 finish: 96 bits in, 32 well-mixed bits out (adds, xors and rotates only,
-- so it is exact in LuaJIT's 32-bit integers).
local function mix(a, b, c)
  c = tobit(bxor(c, b) - rol(b, 14))
  a = tobit(bxor(a, c) - rol(c, 11))
  b = tobit(bxor(b, a) - rol(a, 25))
  c = tobit(bxor(c, b) - rol(b, 16))
  a = tobit(bxor(a, c) - rol(c, 4))
  b = tobit(bxor(b, a) - rol(a, 14))
  return tobit(bxor(c, b) - rol(b, 24))
end

--- A stream of numbers in [0, 1) that depends on nothing but the seed and the names given.
---
---     local r = rng.new(1, "train", "ramen", 7)
---     local u = r:range(-1, 1)
local function new(seed, ...)
  local key = mix(tobit(seed % 2 ^ 32), tobit(math.floor(seed / 2 ^ 32)), 0x5eed)
  for i = 1, select("#", ...) do
    local word = tostring((select(i, ...)))
    for j = 1, #word do
      key = mix(key, word:byte(j), j)
    end
    key = mix(key, #word, -i)
  end
  return setmetatable({ key = key, n = 0 }, Rng)
end

--- The next number, uniform in [0, 1).
function Rng:u()
  self.n = self.n + 1
  return band(mix(self.key, self.n, 0x9e3779b9 - 0x80000000), 0x7fffffff) / 2147483648
end

function Rng:range(lo, hi)
  return lo + (hi - lo) * self:u()
end

--- A whole number from lo to hi, both included.
function Rng:int(lo, hi)
  return lo + math.floor(self:u() * (hi - lo + 1))
end

function Rng:chance(p)
  return self:u() < p
end

function Rng:pick(list)
  return list[self:int(1, #list)]
end

--- Roughly normal, mean 0 and deviation 1, never beyond 3.5.
function Rng:bell()
  return (self:u() + self:u() + self:u() + self:u() - 2) * 1.73
end

--- A point spread evenly over a disc of radius `radius`.
function Rng:spot(radius)
  local a, d = self:u() * 2 * math.pi, radius * math.sqrt(self:u())
  return d * math.cos(a), d * math.sin(a)
end

--- A colour near `c`: brightness moves by up to `by`, each channel by up to a third of it.
function Rng:tint(c, by)
  local l, k = 1 + self:range(-by, by), by / 3
  return { c[1] * l * (1 + self:range(-k, k)), c[2] * l * (1 + self:range(-k, k)),
    c[3] * l * (1 + self:range(-k, k)) }
end

--- Any colour: hue free, saturation and value within the given bounds.
function Rng:colour(s_lo, s_hi, v_lo, v_hi)
  local h, s, v = self:u() * 6, self:range(s_lo, s_hi), self:range(v_lo, v_hi)
  local function channel(n)
    local k = (n + h) % 6
    return v - v * s * math.max(0, math.min(k, 4 - k, 1))
  end
  return { channel(5), channel(3), channel(1) }
end

return { new = new }
