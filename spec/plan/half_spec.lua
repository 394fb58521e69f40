-- precision = "bf16": which maps a plan stores in 16 bits, and that the numbers stay near those of fp32.
local frt = require "foodrt"
local T = require "foodrt.tensor"
local lib = require "foodrt.core.ffi"
local C, V, plans = lib.C, require "spec.support.values", require "spec.support.plans"
local precision = require "foodrt.train.precision"

local here = precision.set "bf16" == "bf16"
precision.set "fp32"
local when = here and it or function(name) pending(name .. " (this CPU has no avx512_bf16)") end

local seed = 0
local function variable(shape, mean, scale)
  seed = seed + 1
  return V.variable(shape, seed, mean, scale)
end

local function flat(t, out)
  if type(t) ~= "table" then
    out[#out + 1] = t
    return out
  end
  for i = 1, #t do flat(t[i], out) end
  return out
end

-- |a - b| / |a|
local function distance(a, b)
  local d, n = 0, 0
  for i = 1, #a do d, n = d + (a[i] - b[i]) ^ 2, n + a[i] ^ 2 end
  return math.sqrt(d / math.max(n, 1e-30))
end

local function norm(y, gamma, beta)
  local c = y.shape[2]
  return y:batch_norm(gamma + 1, beta, variable({ c }, 0), variable({ c }, 2), { training = true })
end

local CONV = { padding = 1 }
-- Each: inputs, what is made of them, the steps that must touch bf16, and how far off it may be.
local CASES = {
  ["batch norm, silu, depthwise, gate, residual"] = {
    { { 3, 17, 21, 19 }, { 40, 17, 1, 1 }, { 40 }, { 40 }, { 40, 1, 5, 5 }, { 40 }, { 40 }, { 17, 40, 1, 1 } },
    function(x, expand, g1, b1, deep, g2, b2, project)
      local y = norm(x:conv2d(expand), g1, b1):silu()
      y = norm(y:conv2d(deep, { padding = 2, groups = 40 }), g2, b2):silu()
      y = y * y:mean({ 3, 4 }, { keepdim = true }):sigmoid()
      return y:conv2d(project) + x
    end, { "fused_conv2d", "fused_bn_act_grad", "conv2d_grad_input", "fused_conv2d_grad_weight", "fused_load_sum" }, 0.02 },
  ["a depthwise convolution of stride 2 with bias and relu6"] = {
    { { 4, 33, 31, 29 }, { 33, 1, 3, 3 }, { 33 } },
    function(x, w, b) return (x * 2):conv2d(w, b, { padding = 1, stride = 2, groups = 33 }):relu6() * 3 end,
    { "conv2d", "conv2d_grad_weight", "conv2d_grad_input" }, 0.02 },
  ["dense convolutions of stride 2"] = {
    { { 4, 19, 32, 30 }, { 40, 19, 3, 3 }, { 40 }, { 72, 40, 1, 1 } },
    function(x, w, b, v) return x:conv2d(w, b, { padding = 1, stride = 2 }):relu():conv2d(v, { stride = 2 }) end,
    { "conv2d", "conv2d_grad_weight", "conv2d_grad_input" }, 0.02 },
  ["grouped convolutions in fp32, what is around them not"] = {
    { { 2, 32, 20, 20 }, { 32, 32, 1, 1 }, { 32, 8, 3, 3 } },
    function(x, w, g) return x:conv2d(w):conv2d(g, { padding = 1, groups = 4 }):relu() end, { "fused_store" }, 0.02 },
  ["tokens: layer norm, a linear layer, gelu"] = {
    { { 4, 65, 72 }, { 72 }, { 72 }, { 90, 72 }, { 90 } },
    function(x, g, b, w, v) return (x:layer_norm(g + 1, b):linear(w, v)):gelu() end, { "matmul", "fused_chain" }, 0.02 },
  ["convolution into tokens: cat, permute, narrow, pad, softmax"] = {
    { { 3, 24, 16, 16 }, { 48, 24, 1, 1 } },
    function(x, w)
      local y = x:conv2d(w):reshape(3, 48, 256):permute(1, 3, 2)
      return y:softmax(3):narrow(3, 3, 44) * 20 + y:narrow(3, 5, 44)
    end, { "permute", "softmax", "softmax_grad", "narrow" }, 0.02 },
  ["sums of many kinds"] = {
    { { 2, 40, 18, 17 }, { 48, 40, 1, 1 }, { 48 } },
    function(x, w, b)
      local y = x:conv2d(w, b)
      return y:mean { 3, 4 } * y:sum({ 1, 3, 4 }):reshape(1, 48) * 0.01 + y:max { 3, 4 } + y:permute(1, 3, 4, 2):sum { 4 }:mean()
    end, { "mean", "sum" }, 0.1 },
  ["pooling and resizing"] = {
    { { 2, 24, 22, 22 }, { 32, 24, 3, 3 } },
    function(x, w) return x:conv2d(w, CONV):relu():max_pool2d(3, { stride = 2, padding = 1 }):avg_pool2d(2) end,
    { "conv2d" }, 0.1 },  -- rounding makes another one of two nearly equal numbers the greatest
}

local function values(case, wish)
  precision.set(wish)
  local inputs = {}
  seed = 0
  for i, shape in ipairs(case[1]) do inputs[i] = variable(shape, 0, #shape > 1 and i > 1 and 0.3 or 1):requires_grad_() end
  local y = case[2](unpack(inputs))
  local out = frt.grad((y * y):mean(), inputs)
  out[#out + 1] = y
  local plan = T.plan(unpack(out))
  plans.verify(unpack(out))
  C.frt_poison(1)
  frt.realize(unpack(out))
  C.frt_poison(0)
  local list = {}
  for i, t in ipairs(out) do list[i] = flat(t:totable(), {}) end
  T.forget()
  return list, plan
end

describe("precision = bf16", function()
  after_each(function()
    precision.set "fp32"
    C.frt_poison(0)
    C.frt_set_threads(0)
    C.frt_set_isa "auto"
    T.forget()
  end)

  for name, case in pairs(CASES) do
    when(name, function()
      local want = values(case, "fp32")
      for threads = 1, 3 do
        C.frt_set_threads(threads)
        local got, plan = values(case, "bf16")
        local touched = {}
        for _, s in ipairs(plan) do
          if s.shapes:find "bf16" then touched[s.op] = true end
        end
        for _, op in ipairs(case[3]) do assert(touched[op], op .. " does not touch bf16:\n" .. tostring(plan)) end
        for i = 1, #want do
          local d = distance(want[i], got[i])
          assert(d < case[4], ("result %d is %.4f off"):format(i, d))
        end
        local again = values(case, "bf16")  -- the same bits
        for i = 1, #got do assert.are.same(got[i], again[i]) end
      end
    end)
  end

  when("leaves variables, gradients of weights and small results in fp32", function()
    precision.set "bf16"
    local x, w = variable { 4, 32, 16, 16 }, variable({ 64, 32, 3, 3 }):requires_grad_()
    local y = x:conv2d(w, CONV)
    local g = frt.grad(y:mean(), { w })
    for _, s in ipairs(T.plan(g[1] * 1.7)) do
      if s.op:find "grad_weight" then assert.is_nil(s.shapes:match("%-> .*bf16"), s.shapes) end
      if s.op == "fused_chain" then assert.is_nil(s.shapes:match("64, 32, 3, 3%]bf16"), s.shapes) end
    end
  end)

  when("checks what is finite in maps of either width", function()
    precision.set "bf16"
    C.frt_check_finite(1)
    local x, w = variable { 4, 32, 16, 16 }, variable { 40, 32, 3, 3 }
    local function last() return x:conv2d(w, CONV):relu():conv2d(variable { 40, 40, 1, 1 }):mean() end
    local ok, why = pcall(frt.realize, last())  -- numbers of 16 bits, read as 32, would be anything
    local huge = T.var { shape = { 40, 32, 3, 3 }, data = (function()
      local t = {}
      for i = 1, 40 * 32 * 9 do t[i] = 3e38 end
      return t
    end)() }
    local failed, what = pcall(frt.realize, x:conv2d(huge, CONV):relu():conv2d(variable { 40, 40, 1, 1 }):mean())
    C.frt_check_finite(0)
    assert(ok, why)
    assert.is_false(failed)
    assert.is_truthy(tostring(what):find "conv2d: output 1 %[4, 40, 16, 16%] holds %-?[in]", what)
  end)

  when("takes about half the memory", function()
    local function arena(wish)
      precision.set(wish)
      local x, w = variable { 4, 32, 32, 32 }, variable({ 32, 32, 3, 3 }):requires_grad_()
      local y = x:conv2d(w, CONV):silu():conv2d(w, CONV):silu()
      local plan = T.plan(unpack(frt.grad(y:mean(), { w })))
      T.forget()
      return plan.arena
    end
    assert.is_true(arena "bf16" < 0.7 * arena "fp32")
  end)

  it("is refused where the CPU can't, by name and with the reason", function()
    C.frt_set_isa "base"
    local got, why = precision.set "bf16"
    assert.are.equal("fp32", got)
    assert.are.equal('precision = "bf16": this CPU has no instructions for bf16 (avx512_bf16): this computes in fp32', why)
    assert.are.equal("fp32", lib.ffi.string(C.frt_precision()))
  end)

  it("knows two precisions", function()
    assert.are_not.equal(0, tonumber(C.frt_set_precision "fp16"))
    assert.are.equal("precision: must be 'fp32' or 'bf16', got 'fp16'", lib.ffi.string(C.frt_error_last()))
  end)
end)
