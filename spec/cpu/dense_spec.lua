-- The CPU's other kernels at sizes past one block, one tile and one thread's share: matrix products, reductions,
-- copies, lanes, pooling, beside the plain-C reference in double.
local O = require "spec.support.op_case"
local agree = require "spec.support.agree"
local C = require("foodrt.core.ffi").C
local ops = O.ops()

local function n(...)
  return { dims = { ... }, fill = "n" }
end
local function i(...)
  return { dims = { ... }, fill = "i" }
end
local function p(...)
  return { dims = { ... }, fill = "p" }
end

-- op, what is special, inputs, attributes
local CASES = {
  { "matmul", "a linear layer", { n(65, 300), n(101, 300) }, { 0, 1 } },
  { "matmul", "its gradient by the weights", { n(65, 101), n(65, 300) }, { 1, 0 } },
  { "matmul", "attention scores", { n(2, 3, 50, 64), n(2, 3, 50, 64) }, { 0, 1 } },
  { "matmul", "attention values", { n(2, 3, 50, 50), n(2, 3, 50, 64) }, { 0, 0 } },
  { "matmul", "transposed batches", { n(3, 33, 20), n(3, 17, 33) }, { 1, 1 } },
  { "matmul", "batches that broadcast both ways", { n(4, 1, 7, 9), n(6, 5, 9) }, { 0, 1 } },
  { "matmul", "one matrix for transposed batches", { n(3, 17, 9), n(17, 5) }, { 1, 0 } },
  { "sum", "one long run in parts", { n(100000) }, { 63, 0 } },
  { "sum", "rows", { n(70, 1500) }, { 2, 0 } },
  { "sum", "columns past a block", { n(70, 1500) }, { 1, 0 } },
  { "sum", "the middle", { n(12, 40, 300) }, { 2, 1 } },
  { "sum", "both ends", { n(12, 40, 300) }, { 5, 0 } },
  { "mean", "height and width", { n(8, 70, 14, 14) }, { 12, 0 } },
  { "mean", "all but channels", { n(8, 70, 14, 14) }, { 13, 1 } },
  { "amax", "columns past a block", { n(70, 1500) }, { 1, 0 } },
  { "amax", "both ends", { n(12, 40, 300) }, { 5, 0 } },
  { "amin", "rows", { n(70, 1500) }, { 2, 0 } },
  { "amin", "one long run in parts", { n(100000) }, { 63, 0 } },
  { "prod", "columns", { p(20, 1500) }, { 1, 0 } },
  { "argmax", "scores, from 1", { n(400, 101) }, { 1, 0, 1 } },
  { "argmax", "channels", { n(4, 21, 30, 30) }, { 1, 1, 0 } },
  { "cumsum", "rows", { n(400, 101) }, { 1 } },
  { "sort", "scores, largest first", { n(400, 101) }, { 1, 1, 1 } },
  { "sort", "one long lane", { n(30000) }, { 0, 0, 0 } },
  { "softmax", "attention", { n(2, 12, 50, 50) }, { 3 } },
  { "softmax", "channels of a map", { n(2, 21, 30, 30) }, { 1 } },
  { "log_softmax", "scores", { n(400, 101) }, { 1 } },
  { "layer_norm", "tokens", { n(2, 50, 300), n(300), n(300) }, { 1, 1e-6 } },
  { "layer_norm_grad", "tokens", { n(2, 50, 300), n(2, 50, 300), n(300), n(2, 50, 1), p(2, 50, 1) }, { 1 } },
  { "permute", "tiles with ragged edges", { n(3, 37, 65, 33) }, { 0, 2, 3, 1, 0, 0 } },
  { "permute", "few channels to the end", { n(3, 3, 65, 33) }, { 0, 2, 3, 1, 0, 0 } },
  { "permute", "few channels to the front", { n(3, 65, 33, 3) }, { 0, 3, 1, 2, 0, 0 } },
  { "permute", "everything reversed", { n(5, 7, 11, 13) }, { 3, 2, 1, 0, 0, 0 } },
  { "permute", "indices", { i(130, 130), classes = 100 }, { 1, 0, 0, 0, 0, 0 } },
  { "flip", "height and width", { n(4, 7, 33, 35) }, { 12 } },
  { "pad", "a map", { n(2, 17, 20, 30) }, { 0, 0, 2, 3, 0, 0, 1, 0, 1, 2, 0, 0, 1.5 } },
  { "cat", "channels", { n(4, 20, 13, 11), n(4, 7, 13, 11), n(4, 1, 13, 11) }, { 1 } },
  { "expand", "a row over a matrix", { n(1, 300) }, { 2, 200, 300, 0, 0, 0, 0 } },
  { "gather", "a score a row", { n(400, 101), i(400, 1), classes = 101 }, { 1, 0 } },
  { "scatter_add", "a score a row", { i(400, 1), n(400, 1), classes = 101 }, { 1, 0, 101 } },
  { "index_select", "rows", { n(10, 4000), i(33), classes = 10 }, { 0, 0 } },
  { "index_add", "rows", { i(33), n(33, 4000), classes = 7 }, { 0, 0, 7 } },
  { "max_pool2d", "ResNet's", { n(2, 70, 20, 21) }, { 3, 3, 2, 2, 1, 1, 1, 1 } },
  { "max_pool2d_grad", "ResNet's", { n(2, 70, 20, 21), n(2, 70, 10, 11) }, { 3, 3, 2, 2, 1, 1, 1, 1 } },
  { "avg_pool2d", "padding counted", { n(2, 70, 20, 21) }, { 3, 3, 2, 2, 1, 1, 1, 1, 1 } },
  { "avg_pool2d_grad", "padding not counted", { n(2, 70, 10, 11) }, { 3, 3, 2, 2, 1, 1, 1, 1, 0, 20, 21 } },
  { "adaptive_avg_pool2d", "uneven windows", { n(2, 70, 20, 21) }, { 7, 5 } },
  { "adaptive_avg_pool2d_grad", "one window", { n(2, 70, 1, 1) }, { 20, 21 } },
  { "interpolate", "bicubic", { n(2, 70, 20, 21) }, { 2, 30, 17 } },
  { "interpolate_grad", "bilinear", { n(2, 70, 30, 17) }, { 1, 20, 21 } },
}

describe("on the CPU", function()
  after_each(function() C.frt_set_threads(0) end)

  for _, c in ipairs(CASES) do
    local op, why, inputs, attr = unpack(c)
    it(op .. " is the reference's: " .. why, function()
      C.frt_set_threads(1)
      local one = agree(op, inputs, attr)
      C.frt_set_threads(3)
      local three = agree(op, inputs, attr)
      -- The order of additions follows from the shape; only oneDNN's products divide a sum among threads.
      if op ~= "matmul" then assert.same(one, three) end
    end)
  end

  it("the first largest number wins, NaN before all", function()
    local x = { dims = { 2, 4 }, dtype = O.F32, data = { 1, 3, 3, 2, 5, 0 / 0, 9, 0 / 0 } }
    assert.same({ 1, 1 }, O.run(ops.argmax, { x }, { 1, 0, 0 }, "cpu")[1].data)
    local order = O.run(ops.sort, { x }, { 1, 1, 0 }, "cpu")[2].data
    assert.same({ 1, 2, 3, 0, 1, 3, 2, 0 }, order)
  end)

  it("NaN reaches the maximum", function()
    local x = { dims = { 2, 3 }, dtype = O.F32, data = { 1, 0 / 0, 2, 4, 5, 6 } }
    for _, mask in ipairs { 1, 2, 3 } do
      local y = O.run(ops.amax, { x }, { mask, 0 }, "cpu")[1].data
      local nan = 0
      for _, v in ipairs(y) do nan = nan + (v ~= v and 1 or 0) end
      assert.equal(1, nan)
    end
  end)

  it("an index out of range names itself", function()
    local x, idx = O.fill({ inputs = { n(5, 3) } }, O.F32)[1], { dims = { 2 }, dtype = O.I32, data = { 1, 9 } }
    assert.has_error(function() O.run(ops.index_select, { x, idx }, { 0, 1 }, "cpu") end,
      "index_select: idx must be in 1..5, got 9")
  end)
end)
