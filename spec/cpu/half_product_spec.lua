-- Products of maps stored as bf16: convolutions, their gradients, matrix products, beside the plain-C reference in
-- double on the same numbers rounded to bf16. Sums are f32: a result stored as f32 agrees to 1e-5 of the largest.
local O = require "spec.support.op_case"
local T = require "foodrt.tensor"
local half = require "spec.support.half"
require "foodrt"

local it = half.it(it, pending) -- luacheck: ignore

local function close(want, got, bound, what)
  local largest, off = 1e-30, 0
  for i, v in ipairs(want) do
    local d = math.abs(v - got[i])
    largest, off = math.max(largest, math.abs(v)), d == d and math.max(off, d) or math.huge
  end
  if #want ~= #got or off > bound * largest then
    error(("%s: off by %g, the largest is %g"):format(what, off, largest), 3)
  end
end

local function agree(name, dims, attr)
  half.each(name, dims, attr, function(want, got, what) close(want, got, 1e-5, what) end)
end

-- name, N, C, H, W, K, kernel, stride, padding (top, left, bottom, right), dilation
local SHAPES = {
  { "1x1", 2, 32, 20, 17, 48, 1, 1, { 0, 0, 0, 0 }, 1 },
  { "1x1, odd channels", 3, 33, 19, 13, 56, 1, 1, { 0, 0, 0, 0 }, 1 },
  { "1x1, few outputs", 1, 144, 13, 19, 17, 1, 1, { 0, 0, 0, 0 }, 1 },
  { "1x1, deep", 1, 400, 7, 7, 112, 1, 1, { 0, 0, 0, 0 }, 1 },
  { "1x1, stride 2", 2, 32, 18, 17, 48, 1, 2, { 0, 0, 0, 0 }, 1 },
  { "1x1, stride 2, odd channels, padding", 9, 17, 13, 12, 33, 1, 2, { 1, 0, 0, 1 }, 1 },
  { "3x3", 2, 14, 17, 20, 32, 3, 1, { 1, 1, 1, 1 }, 1 },
  { "3x3, odd channels", 3, 17, 19, 21, 5, 3, 1, { 1, 1, 1, 1 }, 1 },
  { "3x3, stride 2, padding of one side", 5, 16, 16, 14, 24, 3, 2, { 0, 0, 1, 1 }, 1 },
  { "3x3, stride 2", 9, 24, 7, 11, 40, 3, 2, { 1, 1, 1, 1 }, 1 },
  { "3x3, dilation 2", 2, 16, 23, 25, 16, 3, 1, { 2, 2, 2, 2 }, 2 },
  { "3x3, dilation 2, stride 2", 2, 16, 23, 25, 16, 3, 2, { 2, 1, 1, 2 }, 2 },
  { "3x3, dilation 3, stride 2, odd channels", 2, 15, 24, 25, 16, 3, 2, { 3, 3, 3, 3 }, 3 },
  { "5x5, no padding", 1, 18, 32, 33, 8, 5, 1, { 0, 0, 0, 0 }, 1 },
  { "7x7 on 3 channels, stride 2", 2, 3, 56, 52, 40, 7, 2, { 3, 3, 3, 3 }, 1 },
  { "2x2, stride 2", 2, 24, 18, 20, 48, 2, 2, { 0, 0, 0, 0 }, 1 },
  { "16x16, stride 16, a patch embedding", 1, 3, 80, 80, 96, 16, 16, { 0, 0, 0, 0 }, 1 },
  { "3x3, stride 3, most of the map unread", 2, 16, 29, 31, 24, 2, 3, { 0, 0, 0, 0 }, 1 },
}

describe("convolution of bf16 maps", function()
  for _, s in ipairs(SHAPES) do
    local name, n, c, h, w, k, kernel, stride, pad, dilation = unpack(s)
    local reach = dilation * (kernel - 1) + 1
    local oh = math.floor((h + pad[1] + pad[3] - reach) / stride) + 1
    local ow = math.floor((w + pad[2] + pad[4] - reach) / stride) + 1
    local function attr(...)
      return { stride, stride, pad[1], pad[2], pad[3], pad[4], dilation, dilation, 1, ... }
    end
    local x, weight, y = { n, c, h, w }, { k, c, kernel, kernel }, { n, k, oh, ow }
    it("is the reference's: " .. name, function()
      agree("conv2d", { x, weight, { k } }, attr(0))
    end)
    it("has the reference's gradient by its input: " .. name, function()
      agree("conv2d_grad_input", { y, weight }, attr(0, h, w))
    end)
    it("has the reference's gradient by its weights: " .. name, function()
      agree("conv2d_grad_weight", { x, y }, attr(0, kernel, kernel))
    end)
  end
end)

-- what is special, a, b, ta, tb; a variable of two dimensions is never stored as bf16
local PRODUCTS = {
  { "a linear layer", { 1, 301, 64 }, { 99, 64 }, 0, 1 },
  { "a linear layer of odd features", { 1, 500, 33 }, { 33, 56 }, 0, 0 },
  { "a linear layer whose weights are a map", { 1, 301, 64 }, { 1, 301, 64 }, 0, 1 },
  { "a wide linear layer", { 1, 300, 56 }, { 1640, 56 }, 0, 1 },
  { "its gradient by the weights", { 1, 301, 144 }, { 1, 301, 64 }, 1, 0 },
  { "its gradient by the weights, odd sizes", { 1, 301, 145 }, { 1, 301, 63 }, 1, 0 },
  { "a large gradient by the weights", { 1, 257, 272 }, { 1, 257, 272 }, 1, 0 },
  { "a large gradient by the weights, odd sizes", { 1, 600, 275 }, { 1, 600, 241 }, 1, 0 },
  { "both transposed", { 1, 65, 301 }, { 1, 127, 65 }, 1, 1 },
  { "tokens through a linear layer", { 9, 50, 48 }, { 21, 48 }, 0, 1 },
  { "attention scores", { 2, 5, 53, 32 }, { 2, 5, 53, 32 }, 0, 1 },
  { "attention values", { 2, 5, 53, 53 }, { 2, 5, 53, 32 }, 0, 0 },
  { "attention gradients", { 2, 5, 53, 53 }, { 2, 5, 53, 32 }, 1, 0 },
  { "transposed batches of odd sizes", { 9, 71, 27 }, { 9, 31, 71 }, 1, 1 },
  { "one large product of many rows", { 1, 400, 65 }, { 400, 65 }, 0, 1 },
  { "batches that broadcast both ways", { 4, 1, 70, 65 }, { 5, 60, 65 }, 0, 1 },
  { "one matrix for transposed batches", { 9, 60, 31 }, { 60, 15 }, 1, 0 },
  { "a small map beside a large one", { 3, 40, 17 }, { 3, 17, 400 }, 0, 0 },
}

describe("matrix product of bf16 maps", function()
  for _, p in ipairs(PRODUCTS) do
    it("is the reference's: " .. p[1], function() agree("matmul", { p[2], p[3] }, { p[4], p[5] }) end)
  end
end)

-- The result is read by a chain, which takes it as bf16: no more is lost than that last rounding.
describe("a product stored as bf16", function()
  local function variable(shape, seed)
    local x = O.fill({ inputs = { { dims = shape, fill = "n" } } }, O.F32, seed)[1].data
    for i, v in ipairs(x) do x[i] = half.rounded(v) end
    return T.var { shape = shape, data = x }
  end
  local function flat(t, out)
    if type(t) == "number" then out[#out + 1] = t return out end
    for _, v in ipairs(t) do flat(v, out) end
    return out
  end
  local function compare(fn)
    local function run()
      local y = fn() * 2
      local plan = tostring(T.plan(y))
      local list = flat(y:totable(), {})
      T.forget()
      return { list, plan }
    end
    local want = run()[1]
    local got, plan = unpack(half.run(2, run))
    assert(plan:find "bf16", plan)
    local off = 0
    local largest = 0
    for i, v in ipairs(want) do
      largest = math.max(largest, math.abs(v))
      off = math.max(off, math.abs(v - got[i]) - math.abs(v) / 256)
    end
    assert.is_true(off <= 1e-5 * largest, ("off by %g beyond the rounding, the largest is %g"):format(off, largest))
  end

  it("is a convolution's", function()
    local x, w, b = variable({ 3, 15, 21, 19 }, 1), variable({ 24, 15, 3, 3 }, 2), variable({ 24 }, 3)
    compare(function() return x:conv2d(w, b, { stride = 1, padding = 1 }):relu() end)
  end)
  it("is a linear layer's", function()
    local x, w = variable({ 310, 72 }, 4), variable({ 90, 72 }, 5)
    compare(function() return (x * 2):linear(w) end)
  end)
  it("is attention's", function()
    local q, k = variable({ 2, 4, 53, 40 }, 6), variable({ 2, 4, 53, 40 }, 7)
    compare(function() return q:matmul(k:permute(1, 2, 4, 3)) end)
  end)
end)
