-- Elementwise chains on the CPU: the accuracy of every function over its whole range, and random graphs of
-- operations over operands broadcast and laid out in every way, beside the plain-C reference.
local O = require "spec.support.op_case"
local isas = require "spec.support.isas"
local frt = require "foodrt"
local lib = require "foodrt.core.ffi"
local C = lib.C
local ops = O.ops()

local inf, nan = math.huge, 0 / 0

-- Numbers of every size and both signs; a length that leaves lanes over in any vector.
local function range(low, high, edges)
  local data = {}
  for _, v in ipairs(edges) do data[#data + 1] = v end
  for k = 0, 2000 do data[#data + 1] = low + (high - low) * k / 2000 end
  for e = -40, 1 do
    data[#data + 1] = 10 ^ e
    data[#data + 1] = low < 0 and -10 ^ e or 10 ^ e * 3
  end
  local round = lib.ffi.new "float[1]"
  for k, v in ipairs(data) do
    round[0] = v
    data[k] = round[0]
  end
  return data
end

local EDGES = { 0, -0, 1, -1, inf, -inf, nan, 3e38, -3e38, 1e-30 }
local UNARY = {
  neg = { -10, 10 }, exp = { -110, 100 }, log = { 0, 100 }, sqrt = { 0, 100 }, rsqrt = { 0.001, 100 },
  abs = { -10, 10 }, sign = { -10, 10 }, sin = { -20, 20 }, cos = { -20, 20 }, erf = { -5, 5 }, tanh = { -12, 12 },
  sigmoid = { -100, 100 }, relu = { -10, 10 }, relu6 = { -10, 10 }, silu = { -80, 80 }, softplus = { -100, 100 },
  floor = { -10, 10 },
}

-- 2e-6 of the value, or 2e-38: below that float has no full precision.
local function near(name, x, got, want)
  local fine = got == want or (got ~= got and want ~= want) or math.abs(got - want) <= 2e-6 * math.abs(want) + 2e-38
  assert.is_true(fine, ("%s(%.9g) is %.9g, should be %.9g"):format(name, x, got, want))
end

for _, isa in ipairs(isas) do describe("on " .. isa, function()
  before_each(function() C.frt_set_isa(isa) end)
  after_each(function() C.frt_set_isa "auto" end)

  for name, span in pairs(UNARY) do
    it(name .. " is right to 2e-6 from the smallest to the largest number, infinities and NaN", function()
      local data = range(span[1], span[2], EDGES)
      local x = { { dims = { #data }, dtype = O.F32, data = data } }
      local got = O.run(ops[name], x, nil, "cpu")[1].data
      local want = O.run(ops[name], x, nil, "reference")[1].data
      for k, v in ipairs(data) do near(name, v, got[k], want[k]) end
    end)
  end

  for _, name in ipairs { "maximum", "minimum", "eq", "lt", "le", "pow", "div", "silu_grad" } do
    it(name .. " agrees with the reference at edges, ties and NaN", function()
      local a, b = {}, {}
      for _, p in ipairs(EDGES) do
        for _, q in ipairs(EDGES) do a[#a + 1], b[#b + 1] = p, q end
      end
      for k = 1, 100 do a[#a + 1], b[#b + 1] = k / 17, (k - 50) / 7 end
      local x = { { dims = { #a }, dtype = O.F32, data = a }, { dims = { #b }, dtype = O.F32, data = b } }
      local got = O.run(ops[name], x, nil, "cpu")[1].data
      local want = O.run(ops[name], x, nil, "reference")[1].data
      for k, v in ipairs(a) do near(name, v, got[k], want[k]) end
    end)
  end

  -- Random graphs. Functions that keep numbers near 1, so that errors do not grow.
  local ONE = { "tanh", "sigmoid", "relu", "silu", "erf", "neg", "abs", "sin" }
  local TWO = { "add", "sub", "mul", "maximum", "minimum", "lt" }

  local held  -- the variables behind the leaves
  local function numbers(u, dims)
    local data = {}
    for k = 1, O.numel(dims) do data[k] = 2 * u() - 1 end
    held[#held + 1] = frt.tensor(data)
    return held[#held]:reshape(dims)
  end

  -- Builds the same graph each time it is called: operands of every shape that broadcasts to [N, C, H, W], the
  -- first one channels-last because a batch norm made it.
  local function graph(seed, leaves)
    local u = O.random(seed)
    local values = {}
    for k, leaf in ipairs(leaves) do values[k] = leaf end
    values[1] = leaves[1]:batch_norm(leaves.scale, leaves.shift, leaves.shift, leaves.scale)
    local full, outs = { values[1], values[2] }, {}
    for _ = 1, 3 + math.floor(u() * 12) do
      local v
      if u() < 0.35 then
        v = full[1 + math.floor(u() * #full)]
        v = v[ONE[1 + math.floor(u() * #ONE)]](v)
      else
        local a, b = full[1 + math.floor(u() * #full)], values[1 + math.floor(u() * #values)]
        if u() < 0.3 then a, b = b, a end
        local name = TWO[1 + math.floor(u() * #TWO)]
        v = name == "add" and a + b or name == "sub" and a - b or name == "mul" and a * b or a[name](a, b)
      end
      full[#full + 1], values[#values + 1] = v, v
      if u() < 0.15 then outs[#outs + 1] = v end
    end
    outs[#outs + 1] = full[#full]
    return outs
  end

  it("random graphs agree with the reference to 1e-5, whatever is broadcast and however it lies", function()
    for seed = 1, 60 do
      held = {}
      local u = O.random(seed * 7)
      local n, c = 1 + math.floor(u() * 3), ({ 1, 3, 16, 24, 130 })[1 + math.floor(u() * 5)]
      local h, w = 1 + math.floor(u() * 9), ({ 1, 5, 8, 33 })[1 + math.floor(u() * 4)]
      local leaves = {
        numbers(u, { n, c, h, w }), numbers(u, { n, c, h, w }), numbers(u, { 1, c, 1, 1 }), numbers(u, { n, c, 1, 1 }),
        numbers(u, { 1 }), numbers(u, { w }), numbers(u, { h, 1 }), numbers(u, { n, 1, 1, 1 }), numbers(u, { 1, 1, h, w }),
        numbers(u, { c, 1, w }), scale = numbers(u, { c }):abs() + 0.5, shift = numbers(u, { c }),
      }
      local got = graph(seed, leaves)
      frt.realize(unpack(got))
      C.frt_device_use "reference"
      local want = graph(seed, leaves)
      frt.realize(unpack(want))
      for k, t in ipairs(want) do
        local off = (t - got[k]):abs():max():item()
        assert.is_true(off <= 1e-5, ("graph %d, output %d: %g off"):format(seed, k, off))
      end
      C.frt_device_use "cpu"
    end
  end)

  it("gives the same bits again with the same number of threads, and with another", function()
    local x = frt.randn { 4, 24, 40, 40 }
    local function run()
      local y = (x * 1.5 + 0.25):silu() * x:sigmoid()
      return y:sum { 1, 3, 4 }:totable()
    end
    local first, threads = run(), C.frt_threads()
    assert.same(first, run())
    C.frt_set_threads(3)
    local other = ((x * 1.5 + 0.25):silu() - x):totable()
    C.frt_set_threads(1)
    assert.same(other, ((x * 1.5 + 0.25):silu() - x):totable())
    C.frt_set_threads(threads)
  end)
end) end
