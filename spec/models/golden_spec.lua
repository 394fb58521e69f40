-- what the specs of models compare gradients by: a norm doesn't see where its numbers stand, signed projections do.
local golden = dofile "spec/support/golden.lua"
local ffi = require "ffi"

describe("a gradient's norm and signed projections", function()
  local N = { 16, 8, 3, 3 }  -- a convolution's
  local n = 16 * 8 * 9
  local x = ffi.new("float[?]", n)
  golden.fill.write(x, n, "some gradient", 0.5, 2)
  local l2, p = golden.project("conv.weight", x, n)
  local want = { "conv.weight", l2, unpack(p) }

  -- y[i] = x[from(i)] * factor(i)
  local function changed(from, factor)
    local y = ffi.new("float[?]", n)
    for i = 0, n - 1 do y[i] = x[from and from(i) or i] * (factor and factor(i) or 1) end
    return y
  end
  local function accepts(y, signed)
    return (pcall(golden.check_gradient, want, y, n, l2, 1e-3, signed or 1e-4))
  end

  it("are what they were stored as: the rule's signs begin + + - + for the first projection of conv.weight", function()
    local signs = {}
    golden.fill.each("conv.weight#signs", 4, function(i, bits) signs[i + 1] = bits < 8 and "+" or "-" end)
    assert.equal("+ + - +", table.concat(signs, " "))
    assert.is_true(accepts(x))
  end)

  it("accept what fp32 makes of it: each number off by up to 1e-5 of itself", function()
    assert.is_true(accepts(changed(nil, function(i) return 1 + 1e-5 * (i % 3 - 1) end)))
  end)

  it("refuse what has the same norm: a sign, a permuted kernel, another channel's numbers, another order of photos", function()
    local per, row = N[2] * N[3] * N[4], N[3] * N[4]
    local wrong = {
      ["all signs"] = changed(nil, function() return -1 end),
      ["the signs of one output channel"] = changed(nil, function(i) return i < per and -1 or 1 end),
      ["a kernel turned by 180 degrees"] = changed(function(i) return i - i % row + row - 1 - i % row end),
      ["height and width exchanged"] = changed(function(i)
        local k = i % row
        return i - k + k % 3 * 3 + math.floor(k / 3)
      end),
      ["output channels moved on by one"] = changed(function(i) return (i + per) % n end),
      ["input channels moved on by one"] = changed(function(i) return i - i % per + (i + row) % per end),
    }
    for what, y in pairs(wrong) do
      assert.near(l2, (golden.project("conv.weight", y, n)), 1e-6 * l2)
      assert.is_false(accepts(y), what)
    end
    -- the widest bound there is, ResNet-50's, still sees what touches more than a few of the numbers
    assert.is_false(accepts(wrong["all signs"], 0.2))
    assert.is_false(accepts(wrong["a kernel turned by 180 degrees"], 0.2))
    assert.is_false(accepts(wrong["output channels moved on by one"], 0.2))
  end)
end)
