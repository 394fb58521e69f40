--- rng: random numbers by counter, never from a stream. What a draw yields depends only on
---
---   seed      frt.manual_seed(n), kept with the run
---   step      of training, set by rng.begin
---   path      of the module that draws (nn sets it), hashed into the op's key
---   call      how often that path has drawn in this step
---   sample    number of the batch's first row: row i draws as sample + i
---
--- so any step can be reproduced alone. Seed and call share one number: call * 2^32 + seed.
local bit = require "bit"

local rng = { seed = 0, step = 0, sample = 0, path = "" }

local CALLS = 2 ^ 20  -- per path and step; a script that never begins a step runs on into the next
local calls = {}

--- a new step: every path draws from the start again.
function rng.begin(step, sample)
  rng.step, rng.sample = step, sample or 0
  for path in pairs(calls) do calls[path] = nil end
end

--- frt.manual_seed(n): n from 0 to 2^32 - 1.
function rng.manual_seed(n)
  if type(n) ~= "number" or n % 1 ~= 0 or n < 0 or n >= 2 ^ 32 then
    require("foodrt.core.err").user("manual_seed: 'n' must be an integer from 0 to 4294967295, got %s",
      require("foodrt.core.opt").show(n))
  end
  rng.seed = n
  rng.begin(0)
end

local keys = {}  -- path -> { high, low }

local function fnv(text, basis)
  local h = basis
  for i = 1, #text do
    h = bit.bxor(h, text:byte(i))
    -- h * 16777619 = h * 403 + h * 2^24, modulo 2^32
    h = bit.tobit(bit.band(h, 0xffff) * 403 + bit.lshift(bit.tobit(bit.rshift(h, 16) * 403), 16) % 2 ^ 32
      + bit.lshift(h, 24) % 2 ^ 32)
  end
  h = bit.bxor(h, bit.rshift(h, 15))
  return h % 2 ^ 32
end

--- key of a module path: two 32-bit numbers. They are attributes of the op: structure, the same every step.
function rng.key(path)
  local key = keys[path]
  if not key then
    key = { fnv(path, 0x811c9dc5), fnv(path, 0x1b873593) }
    keys[path] = key
  end
  return key[1], key[2]
end

--- U[0, 1) of a shape, by the current path.
function rng.uniform(shape, dtype)
  local R = require "foodrt.tensor.record"
  local path = rng.path
  local call = calls[path] or 0
  calls[path] = call + 1
  local code = R.DTYPE[dtype or "f32"]
  local input, attr = R.input, R.attr
  local f64 = R.DTYPE.f64
  -- Handles first: recording a scalar leaves R.input alone, but reads well apart.
  local seed = R.scalar(rng.seed + call % CALLS * 2 ^ 32, f64)
  local step = R.scalar(rng.step + math.floor(call / CALLS), f64)
  local sample = R.scalar(rng.sample, f64)
  input[0], input[1], input[2] = seed, step, sample
  attr[0] = #shape
  for i = 1, 6 do attr[i] = shape[i] or 0 end
  attr[7], attr[8] = rng.key(path)
  attr[9] = code
  return R.one(R.index "uniform", 3, 10)
end

--- the standard normal, by Box and Muller (1958).
function rng.normal(shape, dtype)
  local radius = ((1 - rng.uniform(shape, dtype)):log() * -2):sqrt()
  return radius * (rng.uniform(shape, dtype) * (2 * math.pi)):cos()
end

return rng
