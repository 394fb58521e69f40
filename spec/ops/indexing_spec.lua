-- gather, scatter_add, index_select, index_add, one_hot, argmax, sort: literal numbers, base 0 and 1, bad indices.
local device = require "spec.support.device"
local O = require "spec.support.op_case"
local ops, f32, i32 = O.ops(), O.f32, O.i32
local NAN = 0 / 0

for _, backend in ipairs(device.both) do
  local function run(name, inputs, attr) return unpack(O.run(ops[name], inputs, attr, backend)) end

  describe("indexing (" .. backend .. ")", function()
    it("gather picks one number per row, from base 1", function()
      local y = run("gather", { f32({ 2, 3 }, { 1, 2, 3, 4, 5, 6 }), i32({ 2, 1 }, { 3, 1 }) }, { 1, 1 })
      assert.same({ 2, 1 }, y.dims)
      assert.same({ 3, 4 }, y.data)
    end)

    it("gather picks along the first dimension, from base 0", function()
      local y = run("gather", { f32({ 2, 3 }, { 1, 2, 3, 4, 5, 6 }), i32({ 1, 3 }, { 1, 0, 1 }) }, { 0, 0 })
      assert.same({ 4, 2, 6 }, y.data)
    end)

    it("scatter_add adds what falls on one place", function()
      local y = run("scatter_add", { i32({ 1, 4 }, { 1, 3, 1, 1 }), f32({ 1, 4 }, { 1, 2, 4, 8 }) }, { 1, 1, 3 })
      assert.same({ 13, 0, 2 }, y.data)
    end)

    it("index_select takes rows in any order, index_add puts them back", function()
      local idx, x = i32({ 3 }, { 2, 0, 2 }), f32({ 3, 2 }, { 1, 2, 3, 4, 5, 6 })
      assert.same({ 5, 6, 1, 2, 5, 6 }, run("index_select", { x, idx }, { 0, 0 }).data)
      assert.same({ 3, 4, 0, 0, 6, 8, 0, 0 }, run("index_add", { idx, x }, { 0, 0, 4 }).data)
    end)

    it("one_hot sets one number per class", function()
      local y = run("one_hot", { i32({ 2 }, { 3, 1 }) }, { 3, 1 })
      assert.same({ 2, 3 }, y.dims)
      assert.same({ 0, 0, 1, 1, 0, 0 }, y.data)
    end)

    it("argmax takes the first of equals, and NaN before all", function()
      assert.same({ 2, 3 }, run("argmax", { f32({ 2, 4 }, { 1, 7, 7, 0, 1, 9, NAN, NAN }) }, { 1, 0, 1 }).data)
    end)

    it("sort keeps the order of equals, both ways", function()
      local x = f32({ 6 }, { 2, 1, 2, 3, 1, 2 })
      local y, idx = run("sort", { x }, { 0, 0, 1 })
      assert.same({ 1, 1, 2, 2, 2, 3 }, y.data)
      assert.same({ 2, 5, 1, 3, 6, 4 }, idx.data)
      y, idx = run("sort", { x }, { 0, 1, 1 })
      assert.same({ 3, 2, 2, 2, 1, 1 }, y.data)
      assert.same({ 4, 1, 3, 6, 2, 5 }, idx.data)
    end)

    it("sort counts NaN as the largest", function()
      local _, idx = run("sort", { f32({ 4 }, { 1, NAN, math.huge, -1 }) }, { 0, 0, 0 })
      assert.same({ 3, 0, 2, 1 }, idx.data)
      _, idx = run("sort", { f32({ 4 }, { 1, NAN, math.huge, -1 }) }, { 0, 1, 0 })
      assert.same({ 1, 2, 0, 3 }, idx.data)
    end)

    it("refuses an index outside, naming the range in the caller's base", function()
      assert.has_error(function() run("gather", { f32({ 1, 3 }, { 1, 2, 3 }), i32({ 1, 1 }, { 4 }) }, { 1, 1 }) end,
        "gather: idx must be in 1..3, got 4")
      assert.has_error(function() run("index_select", { f32({ 3 }, { 1, 2, 3 }), i32({ 1 }, { -1 }) }, { 0, 0 }) end,
        "index_select: idx must be in 0..2, got -1")
      assert.has_error(function() run("one_hot", { i32({ 1 }, { 0 }) }, { 3, 1 }) end, "one_hot: idx must be in 1..3, got 0")
    end)
  end)
end

describe("indexing", function()
  it("says what idx must be", function()
    assert.equal("gather: idx must be i32, got f32", O.refusal(ops.gather, { { dims = { 2 } }, { dims = { 2 } } }, { 0, 0 }))
    assert.equal("gather: idx must be like x [2, 3] in all dimensions but 2, got [3, 1]",
      O.refusal(ops.gather, { { dims = { 2, 3 } }, { dims = { 3, 1 }, dtype = O.I32 } }, { 1, 0 }))
    assert.equal("index_select: idx must be [n], got [2, 1]",
      O.refusal(ops.index_select, { { dims = { 2, 3 } }, { dims = { 2, 1 }, dtype = O.I32 } }, { 0, 0 }))
  end)

  it("says which dimensions there are", function()
    assert.equal("sort: dim must be in 1..2 (x is [2, 3]), got 3", O.refusal(ops.sort, { { dims = { 2, 3 } } }, { 2, 0, 0 }))
  end)
end)
