--- reductions, sorting and cumulating, against literal values; positions are 1-based.
local frt = require "foodrt"
local V = require "spec.support.values"
local same, why = V.same, V.why

describe("reductions", function()
  local a = frt.tensor { { 1, 5, 3 }, { 4, 2, 6 } }

  it("sum over everything, one dimension, a list, and from the end", function()
    assert.are.equal(21, a:sum():item())
    assert.are.same({}, a:sum().shape)
    same({ 5, 7, 9 }, a:sum(1))
    same({ 9, 12 }, a:sum(2))
    same({ 9, 12 }, a:sum(-1))
    assert.are.equal(21, a:sum({ 1, 2 }):item())
    same({ { 9 }, { 12 } }, a:sum(2, { keepdim = true }))
    same({ { 21 } }, a:sum { keepdim = true })
  end)

  it("mean, prod, max, min alike", function()
    same({ 2.5, 3.5, 4.5 }, a:mean(1))
    same({ 15, 48 }, a:prod(2))
    same({ 4, 5, 6 }, a:max(1))
    same({ 1, 2 }, a:min(2))
    assert.are.equal(6, a:max():item())
    assert.are.equal(1, a:min():item())
  end)

  it("norm is the root of the sum of squares", function()
    assert.are.equal(5, frt.tensor({ 3, 4 }):norm():item())
    same({ { 5 }, { 13 } }, frt.tensor({ { 3, 4 }, { 5, 12 } }):norm(2, { keepdim = true }), 1e-6)
  end)

  it("any and all give 0 and 1", function()
    local b = frt.tensor { { 0, 0 }, { 0, 2 }, { 1, 3 } }
    same({ 0, 1, 1 }, b:any(2))
    same({ 0, 0, 1 }, b:all(2))
    assert.are.equal(1, b:any():item())
    assert.are.equal(0, b:all():item())
  end)

  it("var and std are unbiased unless told otherwise", function()
    local b = frt.tensor { 1, 2, 3, 4 }
    assert.is_true(math.abs(b:var():item() - 5 / 3) < 1e-6)
    assert.is_true(math.abs(b:var(1, { unbiased = false }):item() - 1.25) < 1e-6)
    assert.is_true(math.abs(b:std { unbiased = false }:item() - math.sqrt(1.25)) < 1e-6)
    same({ { 4 }, { 4 } }, a:var(2, { keepdim = true }), 1e-6)
  end)

  it("argmax and argmin are i32 positions from 1, of the first one", function()
    same({ 2, 3 }, a:argmax(2))
    same({ 2, 1, 2 }, a:argmax(1))
    assert.are.equal(6, a:argmax():item())
    same({ 1, 2 }, a:argmin(2))
    assert.are.equal("i32", a:argmax(1).dtype)
    assert.are.equal(1, frt.tensor({ 7, 7 }):argmax(1):item())
    same({ { 2 }, { 3 } }, a:argmax(2, { keepdim = true }))
  end)

  it("a class name can be picked by argmax", function()
    local classes = { "ramen", "pho", "pizza" }
    assert.are.equal("pizza", classes[frt.tensor({ { 0.1, 0.2, 0.7 } }):argmax(2):item()])
  end)

  it("cumsum runs along a dimension", function()
    same({ { 1, 6, 9 }, { 4, 6, 12 } }, a:cumsum(2))
    same({ { 1, 5, 3 }, { 5, 7, 9 } }, a:cumsum(1))
  end)

  it("sort and topk give values and positions from 1", function()
    local values, at = a:sort(2)
    same({ { 1, 3, 5 }, { 2, 4, 6 } }, values)
    same({ { 1, 3, 2 }, { 2, 1, 3 } }, at)
    values, at = a:sort(2, { descending = true })
    same({ { 5, 3, 1 }, { 6, 4, 2 } }, values)
    same({ { 2, 3, 1 }, { 3, 1, 2 } }, at)
    values, at = a:topk(2, 2)
    same({ { 5, 3 }, { 6, 4 } }, values)
    same({ { 2, 3 }, { 3, 1 } }, at)
    values = a:topk(1, 2, { largest = false })
    same({ { 1 }, { 2 } }, values)
  end)

  it("softmax and log_softmax go along the last dimension unless told", function()
    local b = frt.tensor { { 0, 0 }, { 0, math.log(3) } }
    same({ { 0.5, 0.5 }, { 0.25, 0.75 } }, b:softmax(), 1e-6)
    same({ { 0.5, 0.25 }, { 0.5, 0.75 } }, b:softmax(1), 1e-6)
    same({ { -0.6931472, -0.6931472 }, { -1.3862944, -0.2876821 } }, b:log_softmax(2), 1e-6)
  end)

  it("says what is wrong with a dimension", function()
    assert.are.equal("sum: 'dim' must be between 1 and 2 (or -2 and -1), got 3", why(a.sum, a, 3))
    assert.are.equal("sum: 'dim' must be between 1 and 2 (or -2 and -1), got 0", why(a.sum, a, 0))
    assert.are.equal("mean: 'dim' must be integer, got number (1.5)", why(a.mean, a, 1.5))
    assert.are.equal("sum: dimension -2 is given twice", why(a.sum, a, { 1, -2 }))
    assert.are.equal("max: unknown option 'keepdims', did you mean 'keepdim'?", why(a.max, a, 1, { keepdims = true }))
    assert.are.equal("topk: 'k' must be between 1 and 3, got 4", why(a.topk, a, 4, 2))
    assert.are.equal("var: needs at least 2 values when unbiased, got 1", why(function() return frt.tensor({ 1 }):var() end))
  end)
end)
