--- elementwise methods and operators of a tensor, against literal values.
local frt = require "foodrt"
local V = require "spec.support.values"
local same, why = V.same, V.why

describe("elementwise", function()
  local x = frt.tensor { -2, -0.5, 0, 1, 3 }

  it("operators work with tensors and with numbers on either side", function()
    local a, b = frt.tensor { { 1, 2 }, { 3, 4 } }, frt.tensor { { 5, 6 }, { 7, 8 } }
    same({ { 6, 8 }, { 10, 12 } }, a + b)
    same({ { -4, -4 }, { -4, -4 } }, a - b)
    same({ { 5, 12 }, { 21, 32 } }, a * b)
    same({ { 5, 3 }, { 7 / 3, 2 } }, b / a, 1e-6)
    same({ { 1, 4 }, { 9, 16 } }, a ^ 2, 1e-6)
    same({ { 2, 4 }, { 8, 16 } }, 2 ^ a, 1e-6)
    same({ { -1, -2 }, { -3, -4 } }, -a)
    same({ { 11, 12 }, { 13, 14 } }, 10 + a)
    same({ { 9, 8 }, { 7, 6 } }, 10 - a)
    same({ { 1, 0.5 }, { 1 / 3, 0.25 } }, 1 / a, 1e-6)
  end)

  it("broadcasts sizes of 1 and missing leading dimensions", function()
    local a = frt.tensor { { 1, 2, 3 }, { 4, 5, 6 } }
    same({ { 11, 22, 33 }, { 14, 25, 36 } }, a + frt.tensor { 10, 20, 30 })
    same({ { 11, 12, 13 }, { 24, 25, 26 } }, a + frt.tensor { { 10 }, { 20 } })
    assert.are.same({ 2, 3 }, (frt.tensor { { 10 }, { 20 } } + frt.tensor { 1, 2, 3 }).shape)
  end)

  it("== is identity and eq is elementwise", function()
    local a, b = frt.tensor { 1, 2 }, frt.tensor { 1, 2 }
    assert.is_true(a == a)
    assert.is_false(a == b)
    same({ 1, 1 }, a:eq(b))
  end)

  it("compares as f32 of 0 and 1", function()
    local a, b = frt.tensor { 1, 2, 3 }, frt.tensor { 3, 2, 1 }
    same({ 0, 1, 0 }, a:eq(b))
    same({ 1, 0, 1 }, a:ne(b))
    same({ 0, 0, 1 }, a:gt(b))
    same({ 0, 1, 1 }, a:ge(b))
    same({ 1, 0, 0 }, a:lt(b))
    same({ 1, 1, 0 }, a:le(b))
    same({ 0, 0, 1 }, a:gt(2))
    same({ 0, 1, 1 }, a:ge(2))
    assert.are.equal("f32", a:gt(b).dtype)
  end)

  it("compares i32 tensors", function()
    local a = frt.tensor({ 1, 2, 3 }, { dtype = "i32" })
    same({ 0, 1, 0 }, a:eq(2))
    same({ 1, 0, 0 }, a:lt(frt.tensor({ 2, 2, 2 }, { dtype = "i32" })))
  end)

  local math_cases = {
    exp = { 0.1353353, 0.6065307, 1, 2.7182818, 20.085537 },
    abs = { 2, 0.5, 0, 1, 3 },
    sign = { -1, -1, 0, 1, 1 },
    sin = { -0.9092974, -0.4794255, 0, 0.8414710, 0.1411200 },
    cos = { -0.4161468, 0.8775826, 1, 0.5403023, -0.9899925 },
    erf = { -0.9953223, -0.5204999, 0, 0.8427008, 0.9999779 },
    tanh = { -0.9640276, -0.4621172, 0, 0.7615942, 0.9950548 },
    sigmoid = { 0.1192029, 0.3775407, 0.5, 0.7310586, 0.9525741 },
    relu = { 0, 0, 0, 1, 3 },
    silu = { -0.2384058, -0.1887703, 0, 0.7310586, 2.8577224 },
    softplus = { 0.1269280, 0.4740770, 0.6931472, 1.3132617, 3.0485874 },
    floor = { -2, -1, 0, 1, 3 },
    neg = { 2, 0.5, 0, -1, -3 },
    gelu = { -0.0455003, -0.1542688, 0, 0.8413447, 2.9959502 },
    gelu_tanh = { -0.0454023, -0.1542860, 0, 0.8411920, 2.9963627 },
    hardswish = { -0.3333333, -0.2083333, 0, 0.6666667, 3 },
    hardsigmoid = { 0.1666667, 0.4166667, 0.5, 0.6666667, 1 },
    mish = { -0.2525015, -0.2207435, 0, 0.8650984, 2.9865351 },
    elu = { -0.8646647, -0.3934693, 0, 1, 3 },
    leaky_relu = { -0.02, -0.005, 0, 1, 3 },
  }
  for name, want in pairs(math_cases) do
    it(("%s of -2, -0.5, 0, 1, 3 within 2e-6"):format(name), function()
      same(want, x[name](x), 2e-6)
    end)
  end

  it("log, sqrt, rsqrt of 0.25, 1, 4 within 1e-6", function()
    local p = frt.tensor { 0.25, 1, 4 }
    same({ -1.3862944, 0, 1.3862944 }, p:log(), 1e-6)
    same({ 0.5, 1, 2 }, p:sqrt(), 1e-6)
    same({ 2, 1, 0.5 }, p:rsqrt(), 1e-6)
    same({ 0.0625, 1, 16 }, p:pow(2), 1e-6)
  end)

  it("relu6 and clamp cut at both ends", function()
    local a = frt.tensor { -1, 2, 7 }
    same({ 0, 2, 6 }, a:relu6())
    same({ 0, 2, 3 }, a:clamp { min = 0, max = 3 })
    same({ 0, 2, 3 }, a:clamp(0, 3))
    same({ -1, 2, 3 }, a:clamp { max = 3 })
    same({ 0, 2, 7 }, a:clamp { min = 0 })
  end)

  it("elu and leaky_relu take their parameter", function()
    same({ -1.7293294 }, frt.tensor({ -2 }):elu(2), 1e-6)
    same({ -0.4 }, frt.tensor({ -2 }):leaky_relu(0.2), 1e-6)
    same({ -0.4 }, frt.tensor({ -2 }):leaky_relu { negative_slope = 0.2 }, 1e-6)
  end)

  it("maximum and minimum are elementwise", function()
    local a, b = frt.tensor { 1, 5 }, frt.tensor { 3, 2 }
    same({ 3, 5 }, a:maximum(b))
    same({ 1, 2 }, a:minimum(b))
    same({ 2, 5 }, a:maximum(2))
  end)

  it("where picks by a condition, with numbers too", function()
    local a, b = frt.tensor { 1, 2, 3 }, frt.tensor { 10, 20, 30 }
    same({ 10, 2, 3 }, frt.where(a:gt(1), a, b))
    same({ 0, 2, 3 }, a:where(a:gt(1), 0))
    same({ 1, 20, 30 }, frt.where(a:gt(1), b, 1))
  end)

  it("to changes the dtype and keeps the values", function()
    local a = frt.tensor { 1.75, -2.25, 3 }
    assert.are.equal("i32", a:to("i32").dtype)
    same({ 1, -2, 3 }, a:to "i32")
    same({ 1.75, -2.25, 3 }, a:to "f64")
    assert.is_true(a:to "f32" == a)
  end)

  it("a number takes the dtype of its partner", function()
    local d = frt.tensor({ 0.1 }, { dtype = "f64" })
    assert.are.equal(0.1 + 0.2, (d + 0.2):item())
  end)

  it("a changed number does not make another plan", function()
    local C = require("foodrt.core.ffi").C
    local info = require("ffi").new "frt_plan_info"
    local a, values, cached = frt.tensor { 1, 2 }, {}, nil
    for i = 1, 3 do
      values[i] = ((a * i):sum()):item()
      C.frt_plan_last()
      C.frt_plan_get(info)
      cached = cached or info.cached
      assert.are.equal(cached, info.cached)
    end
    assert.are.same({ 3, 6, 9 }, values)
  end)

  it("names the operation and both shapes when they do not broadcast", function()
    assert.are.equal("add: input 2 must broadcast with [2, 3], got [4]", why(function()
      return frt.zeros { 2, 3 } + frt.zeros { 4 }
    end))
  end)

  it("refuses operands that are no numbers", function()
    assert.are.equal("add: an operand must be a tensor or a number, got string ('a')", why(function() return x + "a" end))
    assert.are.equal("mul: an operand must be a tensor or a number, got table", why(function() return {} * x end))
    assert.are.equal("clamp: needs min, max or both", why(function() return x:clamp {} end))
    assert.are.equal("clamp: unknown option 'mn', did you mean 'min'?", why(function() return x:clamp { mn = 1 } end))
    assert.are.equal("to: 'dtype' must be one of f32, f64, i32, bf16, f16, u8, i64, got string ('f33'), did you mean 'f32'?",
      why(function() return x:to "f33" end))
  end)
end)
