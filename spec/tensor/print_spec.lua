--- tensors as text.
local frt = require "foodrt"

describe("tostring of a tensor", function()
  local function shows(want, t)
    assert.are.equal(want, tostring(t))
  end

  it("has values, shape and dtype", function()
    shows("tensor([1., 2., 3.], [3] f32)", frt.tensor { 1, 2, 3 })
    shows("tensor(3., [] f32)", frt.tensor(3))
    shows("tensor([ 1, -2], [2] i32)", frt.tensor({ 1, -2 }, { dtype = "i32" }))
    shows("tensor([[1.0000, 2.5000],\n        [3.0000, 4.0000]], [2, 2] f32)", frt.tensor { { 1, 2.5 }, { 3, 4 } })
  end)

  it("aligns columns and puts a blank line between matrices", function()
    shows("tensor([[[ 1., 10.],\n         [-3.,  4.]],\n\n        [[ 5.,  6.],\n         [ 7.,  8.]]], [2, 2, 2] f32)",
      frt.tensor { { { 1, 10 }, { -3, 4 } }, { { 5, 6 }, { 7, 8 } } })
  end)

  it("shows nan and inf, and tiny or huge numbers in scientific form", function()
    shows("tensor([   inf,   -inf,    nan, 1.5000], [4] f32)", frt.tensor { math.huge, -math.huge, 0 / 0, 1.5 })
    shows("tensor([1.0000e-06, 1.0000e+00], [2] f32)", frt.tensor { 1e-6, 1 })
    shows("tensor([1.2346e+08, 1.0000e+00], [2] f32)", frt.tensor { 123456789, 1 })
  end)

  it("cuts above 1000 elements to three at each end", function()
    shows("tensor([   0.,    1.,    2., ..., 1998., 1999., 2000.], [2001] f32)", frt.arange(2001))
    local text = tostring(frt.zeros { 100, 100 })
    assert.are.equal(7, select(2, text:gsub("\n", "")) + 1)
    assert.is_truthy(text:find("        ...,\n", 1, true))
    assert.is_truthy(text:find("[100, 100] f32)", 1, true))
  end)
end)
