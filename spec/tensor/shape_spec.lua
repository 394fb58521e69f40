--- methods that move, cut and join, and picking by positions; everything 1-based.
local frt = require "foodrt"
local V = require "spec.support.values"
local same, why = V.same, V.why

describe("shape", function()
  local a = frt.tensor { { 1, 2, 3 }, { 4, 5, 6 } }

  it("dim, numel, shape, dtype", function()
    assert.are.equal(2, a:dim())
    assert.are.equal(6, a:numel())
    assert.are.same({ 2, 3 }, a.shape)
    assert.are.equal("f32", a.dtype)
    assert.are.same({}, frt.tensor(7).shape)
  end)

  it("reshape and view fill in one -1", function()
    same({ { 1, 2 }, { 3, 4 }, { 5, 6 } }, a:reshape { 3, 2 })
    same({ { 1, 2 }, { 3, 4 }, { 5, 6 } }, a:reshape(3, -1))
    same({ 1, 2, 3, 4, 5, 6 }, a:view { -1 })
  end)

  it("flatten, squeeze, unsqueeze", function()
    local b = frt.zeros { 2, 1, 3, 1 }
    assert.are.same({ 6 }, b:flatten().shape)
    assert.are.same({ 2, 3 }, b:flatten(2).shape)
    assert.are.same({ 2, 3 }, b:squeeze().shape)
    assert.are.same({ 2, 3, 1 }, b:squeeze(2).shape)
    assert.are.same({ 2, 1, 3, 1 }, b:squeeze(1).shape)
    assert.are.same({ 1, 2, 3 }, a:unsqueeze(1).shape)
    assert.are.same({ 2, 3, 1 }, a:unsqueeze(-1).shape)
  end)

  it("permute and transpose", function()
    same({ { 1, 4 }, { 2, 5 }, { 3, 6 } }, a:transpose(1, 2))
    same({ { 1, 4 }, { 2, 5 }, { 3, 6 } }, a:permute { 2, 1 })
    assert.are.same({ 5, 3, 4, 2 }, frt.zeros({ 2, 3, 4, 5 }):permute({ 4, 2, 3, 1 }).shape)
  end)

  it("expand repeats sizes of 1", function()
    same({ { 1, 1 }, { 2, 2 } }, frt.tensor({ { 1 }, { 2 } }):expand { -1, 2 })
    same({ { 1, 2 }, { 1, 2 } }, frt.tensor({ 1, 2 }):expand(2, 2))
  end)

  it("narrow and select count from 1, or from the end", function()
    same({ { 2, 3 }, { 5, 6 } }, a:narrow(2, 2, 2))
    same({ { 2, 3 }, { 5, 6 } }, a:narrow(2, -2, 2))
    same({ 4, 5, 6 }, a:select(1, 2))
    same({ 3, 6 }, a:select(2, -1))
  end)

  it("pad takes pairs from the last dimension backwards; negative ones crop", function()
    same({ { 0, 1, 2, 3 }, { 0, 4, 5, 6 } }, a:pad { 1, 0 })
    same({ { 9, 9, 9 }, { 1, 2, 3 }, { 4, 5, 6 } }, a:pad({ 0, 0, 1, 0 }, { value = 9 }))
    same({ { 2, 3, 0 }, { 5, 6, 0 } }, a:pad { -1, 1 })
  end)

  it("flip and roll", function()
    same({ { 3, 2, 1 }, { 6, 5, 4 } }, a:flip(2))
    same({ { 6, 5, 4 }, { 3, 2, 1 } }, a:flip { 1, 2 })
    same({ { 3, 1, 2 }, { 6, 4, 5 } }, a:roll(1, 2))
    same({ { 2, 3, 1 }, { 5, 6, 4 } }, a:roll(-1, 2))
    same({ { 6, 4, 5 }, { 3, 1, 2 } }, a:roll({ 1, 1 }, { 1, 2 }))
  end)

  it("cat and stack", function()
    same({ { 1, 2, 3 }, { 4, 5, 6 }, { 1, 2, 3 }, { 4, 5, 6 } }, frt.cat { a, a })
    same({ { 1, 2, 3, 1 }, { 4, 5, 6, 4 } }, frt.cat({ a, a:narrow(2, 1, 1) }, 2))
    same({ { 1, 3 }, { 2, 4 } }, frt.stack({ frt.tensor { 1, 2 }, frt.tensor { 3, 4 } }, 2))
    same({ { 1, 2 }, { 3, 4 } }, frt.stack { frt.tensor { 1, 2 }, frt.tensor { 3, 4 } })
  end)

  it("index_select and gather take i32 positions from 1", function()
    local idx = frt.tensor({ 3, 1 }, { dtype = "i32" })
    same({ { 3, 1 }, { 6, 4 } }, a:index_select(2, idx))
    same({ { 2 }, { 6 } }, a:gather(2, frt.tensor({ { 2 }, { 3 } }, { dtype = "i32" })))
  end)

  it("one_hot makes rows of class numbers from 1", function()
    local labels = frt.tensor({ 2, 1, 3 }, { dtype = "i32" })
    same({ { 0, 1, 0 }, { 1, 0, 0 }, { 0, 0, 1 } }, labels:one_hot { classes = 3 })
    same({ { 0, 1, 0 }, { 1, 0, 0 }, { 0, 0, 1 } }, labels:one_hot(3))
  end)

  it("contiguous is the same tensor", function()
    assert.is_true(a:contiguous() == a)
  end)

  it("says what does not fit", function()
    local cases = {
      { "reshape: [4, -1] does not hold the 6 elements of [2, 3]", function() return a:reshape { 4, -1 } end },
      { "reshape: only one size may be -1, got [-1, -1]", function() return a:reshape { -1, -1 } end },
      { "permute: 'dims' must name all 2 dimensions, got [1]", function() return a:permute { 1 } end },
      { "permute: dimension 1 is given twice", function() return a:permute { 1, 1 } end },
      { "expand: [2, 3] does not broadcast to [4, 3]", function() return a:expand { 4, 3 } end },
      { "narrow: 3 positions from 2 do not lie in a dimension of size 3", function() return a:narrow(2, 2, 3) end },
      { "select: 'i' must be between 1 and 2, got 3", function() return a:select(1, 3) end },
      { "pad: 'pad' must be up to 2 pairs, got 3 numbers", function() return a:pad { 1, 2, 3 } end },
      { "cat: element 2 must be a tensor, got number (1)", function() return frt.cat { a, 1 } end },
      { "index_select: 'idx' must be an i32 tensor, got f32", function() return a:index_select(1, a) end },
      { "a tensor has no 'shap', did you mean 'shape'?", function() return a.shap end },
      { "'shape' of a tensor can't be set", function() a.shape = {} end },
    }
    for _, c in ipairs(cases) do assert.are.equal(c[1], why(c[2])) end
  end)
end)
