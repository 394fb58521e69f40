-- Where formulas meet infinity, NaN, ties and zeros: literal values and gradients of elementwise and reducing ops.
local device = require "spec.support.device"
local O = require "spec.support.op_case"
local ops, f32, f64 = O.ops(), O.f32, O.f64
local INF, NAN = math.huge, 0 / 0
local ALL = { 63, 0 }

local function gradients(name, inputs, attr) return O.gradients(ops[name], inputs, attr) end

for _, backend in ipairs(device.both) do
  local function run(name, x, attr, ...)
    return O.run(ops[name], { f32({ #x }, x), ... }, attr, backend)[1].data
  end

  describe("edges (" .. backend .. ")", function()
    it("sigmoid, tanh, silu and softplus stay finite at +-100", function()
      assert.is_true(O.near({ 0, 0.5, 1 }, run("sigmoid", { -100, 0, 100 }), 1e-7))
      assert.is_true(O.near({ -1, 0, 1 }, run("tanh", { -100, 0, 100 }), 1e-7))
      assert.is_true(O.near({ 0, 0, 100 }, run("silu", { -100, 0, 100 }), 1e-6))
      assert.is_true(O.near({ 0, math.log(2), 100 }, run("softplus", { -100, 0, 100 }), 1e-6))
    end)

    it("softmax and log_softmax do not overflow at 1000", function()
      assert.is_true(O.near({ 0.5, 0.5, 0 }, run("softmax", { 1000, 1000, 0 }, { 0 }), 1e-7))
      local l = run("log_softmax", { 1000, 1000, 0 }, { 0 })
      assert.is_true(O.near({ -math.log(2), -math.log(2), -1000 - math.log(2) }, l, 1e-4))
    end)

    it("sign keeps zero, floor goes down, comparisons give 0 and 1", function()
      assert.same({ -1, 0, 1 }, run("sign", { -3, 0, 0.5 }))
      assert.same({ -2, -1, 0, 2 }, run("floor", { -1.5, -1, 0.5, 2 }))
      local b = f32({ 4 }, { 1, 2, 3, NAN })
      assert.same({ 0, 1, 0, 0 }, run("eq", { 2, 2, 2, NAN }, nil, b))
      assert.same({ 0, 0, 1, 0 }, run("lt", { 2, 2, 2, NAN }, nil, b))
      assert.same({ 0, 1, 1, 0 }, run("le", { 2, 2, 2, NAN }, nil, b))
    end)

    it("pow has C's values at 0 and below", function()
      assert.is_true(O.near({ 1, 0, -8, NAN, INF }, run("pow", { 0, 0, -2, -2, 0 }, nil,
        f32({ 5 }, { 0, 2, 3, 0.5, -1 }))))
    end)

    it("amax, amin and max_pool2d pass NaN on", function()
      assert.is_true(O.near({ NAN }, run("amax", { 1, NAN, 3 }, ALL)))
      assert.is_true(O.near({ NAN }, run("amin", { 1, NAN, 3 }, ALL)))
      local x = f32({ 1, 1, 2, 2 }, { 1, NAN, 3, 4 })
      assert.is_true(O.near({ NAN }, O.run(ops.max_pool2d, { x }, { 2, 2, 2, 2, 0, 0, 0, 0 }, backend)[1].data))
    end)

    it("max_pool2d_grad gives all to the first of equals", function()
      local x, dy = f32({ 1, 1, 2, 2 }, { 3, 7, 7, 7 }), f32({ 1, 1, 1, 1 }, { 5 })
      assert.same({ 0, 5, 0, 0 }, O.run(ops.max_pool2d_grad, { x, dy }, { 2, 2, 2, 2, 0, 0, 0, 0 }, backend)[1].data)
    end)

    it("avg_pool2d counts the padding or does not", function()
      local x = f32({ 1, 1, 2, 2 }, { 4, 8, 12, 16 })
      local function corner(count)
        return O.run(ops.avg_pool2d, { x }, { 2, 2, 2, 2, 1, 1, 1, 1, count }, backend)[1].data
      end
      assert.same({ 1, 2, 3, 4 }, corner(1))
      assert.same({ 4, 8, 12, 16 }, corner(0))
    end)

    it("cast to i32 goes toward zero", function()
      assert.same({ -1, 1, 0 }, run("cast", { -1.9, 1.9, 0.5 }, { O.I32 }))
    end)
  end)
end

describe("gradients at edges", function()
  it("of pow are 0 where 0 would meet infinity", function()
    local g = gradients("pow", { f64({ 4 }, { 0, 0, 0, 4 }), f64({ 4 }, { 0.5, 1, 2, 0.5 }) })
    assert.is_true(O.near({ 0, 1, 0, 0.25 }, g[1]))
    assert.is_true(O.near({ 0, 0, 0, 2 * math.log(4) }, g[2], 1e-15))
  end)

  it("of maximum and minimum are shared at a tie", function()
    for _, name in ipairs { "maximum", "minimum" } do
      local g = gradients(name, { f64({ 3 }, { 1, 2, 2 }), f64({ 3 }, { 2, 1, 2 }) })
      local a, b = { 0, 1, 0.5 }, { 1, 0, 0.5 }
      assert.same(name == "maximum" and { a, b } or { b, a }, { g[1], g[2] })
    end
  end)

  it("of amax and amin are shared among equals", function()
    assert.same({ 0, 0.5, 0.5 }, gradients("amax", { f64({ 3 }, { 1, 2, 2 }) }, ALL)[1])
    assert.same({ 0.5, 0.5, 0 }, gradients("amin", { f64({ 3 }, { 1, 1, 2 }) }, ALL)[1])
  end)

  it("of prod are right with no, one and two zeros", function()
    assert.same({ 6, 3, 2 }, gradients("prod", { f64({ 3 }, { 1, 2, 3 }) }, ALL)[1])
    assert.same({ 0, 3, 0 }, gradients("prod", { f64({ 3 }, { 1, 0, 3 }) }, ALL)[1])
    assert.same({ 0, 0, 0 }, gradients("prod", { f64({ 3 }, { 0, 0, 3 }) }, ALL)[1])
  end)

  it("of relu, relu6 and abs are 0 at their corners", function()
    assert.same({ 0, 0, 1 }, gradients("relu", { f64({ 3 }, { -1, 0, 2 }) })[1])
    assert.same({ 0, 1, 0, 0 }, gradients("relu6", { f64({ 4 }, { 0, 2, 6, 7 }) })[1])
    assert.same({ -1, 0, 1 }, gradients("abs", { f64({ 3 }, { -1, 0, 2 }) })[1])
  end)
end)

describe("shapes", function()
  local function why(name, dims, attr)
    local inputs = {}
    for k, d in ipairs(dims) do inputs[k] = { dims = d } end
    return O.refusal(ops[name], inputs, attr)
  end

  it("that do not fit are refused with both", function()
    assert.equal("add: input 2 must broadcast with [2, 3], got [4]", why("add", { { 2, 3 }, { 4 } }))
    assert.equal("matmul: b must be [.., 3, *] (a is [2, 3]), got [4, 5]", why("matmul", { { 2, 3 }, { 4, 5 } }, { 0, 0 }))
    assert.equal("matmul: b must be [.., *, 3] stored transposed (a is [2, 3]), got [5, 4]",
      why("matmul", { { 2, 3 }, { 5, 4 } }, { 0, 1 }))
    assert.equal("reshape: shape must be of 6 numbers (x is [2, 3]), got [4]", why("reshape", { { 2, 3 } }, { 1, 4, 0, 0, 0, 0, 0 }))
    assert.equal("expand: x must broadcast to [2, 4], got [3]", why("expand", { { 3 } }, { 2, 2, 4, 0, 0, 0, 0 }))
    assert.equal("cat: input 2 must be like the first, [2, 3], in all dimensions but 1, got [2, 4]",
      why("cat", { { 2, 3 }, { 2, 4 } }, { 0 }))
    assert.equal("narrow: start..start + length - 1 must be in 1..3 (dimension 2 of x [2, 3]), got 3..4",
      why("narrow", { { 2, 3 } }, { 1, 2, 2 }))
    assert.equal("layer_norm: w must be f32 [3] (x is [2, 3]), got f32 [2]", why("layer_norm", { { 2, 3 }, { 2 } }, { 1, 1e-5 }))
    assert.equal("max_pool2d: kernel must be at most 4 (x and its padding), got 5",
      why("max_pool2d", { { 1, 1, 4, 4 } }, { 5, 5, 1, 1, 0, 0, 0, 0 }))
  end)

  it("of other dtypes are refused", function()
    assert.equal("add: input 2 must be f32 like the first, got f64",
      O.refusal(ops.add, { { dims = { 2 } }, { dims = { 2 }, dtype = O.F64 } }))
    assert.equal("exp: input 1 must be f32 or f64, got i32", O.refusal(ops.exp, { { dims = { 2 }, dtype = O.I32 } }))
  end)
end)
