-- conv2d and its gradients by numbers that can be checked with a pencil, and what they refuse.
local device = require "spec.support.device"
local O = require "spec.support.op_case"
local ops, f32 = O.ops(), O.f32

-- stride, pad (top, left, bottom, right), dilation, groups, act
local function attr(o)
  local s, p, d = o.stride or { 1, 1 }, o.pad or { 0, 0, 0, 0 }, o.dilation or { 1, 1 }
  return { s[1], s[2], p[1], p[2], p[3], p[4], d[1], d[2], o.groups or 1, 0, unpack(o.size or {}) }
end

local nine = f32({ 1, 1, 3, 3 }, { 1, 2, 3, 4, 5, 6, 7, 8, 9 })

for _, backend in ipairs(device.both) do
  local function run(name, inputs, a) return O.run(ops[name], inputs, a, backend)[1] end

  describe("conv2d (" .. backend .. ")", function()
    it("correlates: the kernel is not flipped", function()
      local y = run("conv2d", { nine, f32({ 1, 1, 2, 2 }, { 1, 0, 0, -2 }), f32({ 1 }, { 10 }) }, attr {})
      assert.same({ 1, 1, 2, 2 }, y.dims)
      assert.same({ 1, 0, -2, -3 }, y.data)
    end)

    it("pads top, left, bottom and right each by its own", function()
      local y = run("conv2d", { nine, f32({ 1, 1, 1, 1 }, { 1 }) }, attr { pad = { 1, 0, 0, 2 } })
      assert.same({ 1, 1, 4, 5 }, y.dims)
      assert.same({ 0, 0, 0, 0, 0, 1, 2, 3, 0, 0, 4, 5, 6, 0, 0, 7, 8, 9, 0, 0 }, y.data)
    end)

    it("steps over rows and columns and spreads its taps", function()
      local x, data = {}, {}
      for k = 1, 25 do x[k] = k end
      data.y = run("conv2d", { f32({ 1, 1, 5, 5 }, x), f32({ 1, 1, 2, 2 }, { 1, 10, 100, 1000 }) },
        attr { stride = { 2, 1 }, dilation = { 2, 3 } })
      assert.same({ 1, 1, 2, 2 }, data.y.dims)  -- rows 0, 2; columns 0, 1
      assert.same({ 1 + 40 + 1100 + 14000, 2 + 50 + 1200 + 15000, 11 + 140 + 2100 + 24000, 12 + 150 + 2200 + 25000 },
        data.y.data)
    end)

    it("keeps groups apart", function()
      local x = f32({ 1, 4, 1, 1 }, { 1, 2, 3, 4 })
      local w = f32({ 2, 2, 1, 1 }, { 1, 10, 100, 1000 })
      assert.same({ 21, 4300 }, run("conv2d", { x, w }, attr { groups = 2 }).data)
    end)

    it("has the gradients of its sum", function()
      local w, dy = f32({ 1, 1, 2, 2 }, { 1, 2, 3, 4 }), f32({ 1, 1, 2, 2 }, { 1, 1, 1, 1 })
      assert.same({ 1, 3, 2, 4, 10, 6, 3, 7, 4 }, run("conv2d_grad_input", { dy, w }, attr { size = { 3, 3 } }).data)
      assert.same({ 12, 16, 24, 28 }, run("conv2d_grad_weight", { nine, dy }, attr { size = { 2, 2 } }).data)
    end)
  end)
end

describe("conv2d", function()
  local function why(inputs, a) return O.refusal(ops.conv2d, inputs, attr(a or {})) end

  it("says what shape x must have", function()
    assert.equal("conv2d: x must be [N, C, H, W], got [2, 3]", why { { dims = { 2, 3 } }, { dims = { 8, 4, 3, 3 } } })
  end)

  it("says how many channels x has and w takes", function()
    assert.equal("conv2d: x has 3 channels, but w takes 4 (w [8, 4, 3, 3], groups 1)",
      why { { dims = { 1, 3, 8, 8 } }, { dims = { 8, 4, 3, 3 } } })
  end)

  it("says when the outputs do not divide into groups", function()
    assert.equal("conv2d: the number of outputs must be a multiple of groups 2, got 3 (w [3, 2, 1, 1])",
      why({ { dims = { 1, 4, 8, 8 } }, { dims = { 3, 2, 1, 1 } } }, { groups = 2 }))
  end)

  it("says when the window is larger than the padded map", function()
    assert.equal("conv2d: the window must fit into x with its padding, got height 5 into 4",
      why({ { dims = { 1, 1, 2, 9 } }, { dims = { 1, 1, 5, 5 } } }, { pad = { 1, 0, 1, 0 } }))
  end)

  it("says what the bias must be", function()
    assert.equal("conv2d: b must be f32 [8], got f32 [3]",
      why { { dims = { 1, 3, 8, 8 } }, { dims = { 8, 3, 3, 3 } }, { dims = { 3 } } })
  end)

  it("says when dy is not the shape of the result", function()
    assert.equal("conv2d_grad_input: dy must be f32 [1, 8, 6, 6], got f32 [1, 8, 7, 6]",
      O.refusal(ops.conv2d_grad_input, { { dims = { 1, 8, 7, 6 } }, { dims = { 8, 3, 3, 3 } } }, attr { size = { 8, 8 } }))
  end)
end)
