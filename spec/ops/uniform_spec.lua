-- uniform: the words of Philox4x32-10 at known counters, and what a number depends on.
local device = require "spec.support.device"
local O = require "spec.support.op_case"
local uniform = O.ops().uniform

-- in seed, step, sample, shape, [key_hi, key_lo, dtype]; out numbers
local function draw(seed, step, sample, dims, key_hi, key_lo, dtype, backend)
  local attr = { #dims }
  for d = 1, 6 do attr[1 + d] = dims[d] or 0 end
  attr[8], attr[9], attr[10] = key_hi or 0, key_lo or 0, dtype or O.F32
  local inputs = { O.f64({}, { seed }), O.f64({}, { step }), O.f64({}, { sample }) }
  return O.run(uniform, inputs, attr, backend)[1].data
end

-- Salmon et al., Random123's known answers for philox4x32 with 10 rounds: counter 0, key 0.
local ZERO = { 0x6627e8 / 2 ^ 24, 0xe169c5 / 2 ^ 24, 0xbc57ac / 2 ^ 24, 0x9b00db / 2 ^ 24 }

for _, backend in ipairs(device.both) do
  describe("uniform (" .. backend .. ")", function()
    it("draws the known words of Philox4x32-10 where all is 0", function()
      assert.same(ZERO, draw(0, 0, 0, { 1, 4 }, 0, 0, O.F32, backend))
    end)

    it("cancels a seed of 5 * 2^32 + 7 with the key (5, 7)", function()
      assert.same(ZERO, draw(5 * 2 ^ 32 + 7, 0, 0, { 1, 4 }, 5, 7, O.F32, backend))
    end)

    it("draws row i of sample s as row 0 of sample s + i", function()
      local batch = draw(3, 9, 100, { 4, 7 }, 1, 2, O.F32, backend)
      for i = 0, 3 do
        local row = draw(3, 9, 100 + i, { 1, 7 }, 1, 2, O.F32, backend)
        assert.same(row, { unpack(batch, 7 * i + 1, 7 * i + 7) })
      end
    end)
  end)
end

describe("uniform", function()
  it("gives the same numbers in double as in float, whatever the row's length", function()
    for n = 1, 9 do
      assert.same(draw(3, 9, 1, { 3, n }, 1, 2, O.F32), draw(3, 9, 1, { 3, n }, 1, 2, O.F64, "reference"))
    end
  end)

  it("gives other numbers for another seed, step, sample or key", function()
    local seen = {}
    for _, a in ipairs { { 0, 0, 0, 0, 0 }, { 1, 0, 0, 0, 0 }, { 0, 1, 0, 0, 0 }, { 0, 2 ^ 32, 0, 0, 0 },
      { 0, 0, 1, 0, 0 }, { 0, 0, 0, 1, 0 }, { 2 ^ 40, 0, 0, 0, 0 } } do
      local text = table.concat(draw(a[1], a[2], a[3], { 1, 4 }, a[4], a[5]), " ")
      assert.is_nil(seen[text])
      seen[text] = true
    end
  end)

  it("has mean 1/2 and variance 1/12 over 40,000 draws to 4 standard errors", function()
    local x, sum, square = draw(17, 0, 0, { 100, 400 }), 0, 0
    for _, v in ipairs(x) do
      assert.is_true(v >= 0 and v < 1)
      sum, square = sum + v, square + (v - 0.5) ^ 2
    end
    assert.near(0.5, sum / 40000, 4 * math.sqrt(1 / 12 / 40000))
    assert.near(1 / 12, square / 40000, 4 * math.sqrt(1 / 180 / 40000))
  end)

  it("refuses a step that is no whole number", function()
    assert.has_error(function() draw(0, 0.5, 0, { 1, 4 }) end, "uniform: step must be a whole number of 0 to 2^53, got 0.5")
  end)
end)
