-- fusing: what becomes one step, what may not, and the limits of a chain.
local frt = require "foodrt"
local T = require "foodrt.tensor"
local C = require("foodrt.core.ffi").C
local V = require "spec.support.values"
local plans = require "spec.support.plans"

-- fn() gives a list of tensors: the same on both backends, and the CPU's plan verified.
local function check(fn)
  C.frt_poison(1)
  C.frt_device_use "reference"
  local want, values = fn(), {}
  frt.realize(unpack(want))
  for i, t in ipairs(want) do values[i] = t:totable() end
  C.frt_device_use "cpu"
  local got = fn()
  plans.verify(unpack(got))
  frt.realize(unpack(got))
  C.frt_poison(0)
  for i, t in ipairs(got) do V.same(values[i], t, 1e-5) end
end

describe("elementwise chains", function()
  after_each(function()
    C.frt_poison(0)
    C.frt_device_use "cpu"
    T.forget()
  end)

  it("are one step of up to 24 operations", function()
    local x = V.variable({ 7, 9 }, 1)
    local function f(n)
      local y = x
      for i = 1, n do y = i % 2 == 0 and y:sin() or y:tanh() end
      return y
    end
    assert.are.equal(1, #plans.steps(f(2)))
    assert.are.equal(1, #plans.steps(f(24)))
    assert.are.equal(2, #plans.steps(f(25)))
    assert.are.equal(5, #plans.steps(f(100)))
    check(function() return { f(100) } end)
  end)

  it("of 60 distinct operands, and with every value an output", function()
    local list = {}
    for i = 1, 60 do list[i] = V.variable({ 5, 6 }, i) end
    check(function()
      local y = list[1]
      for i = 2, 60 do y = y + list[i] end
      return { y }
    end)
    check(function()
      local y, out = list[1], {}
      for i = 2, 60 do
        y = (y * list[i]):tanh()
        out[#out + 1] = y
      end
      return out
    end)
  end)

  it("diamonds, and readers between the links", function()
    local x, w = V.variable({ 4, 6 }, 2), V.variable({ 6, 6 }, 3)
    check(function()
      local a = x:exp()
      local b, c = a:sin(), a:cos()
      local d = a:matmul(w)       -- reads a before the chain of a, b, c goes on
      local e = b * c + d:sigmoid()
      return { e, (a + e):sum { 1 } }
    end)
    check(function()
      local a, b = x:tanh(), x:sigmoid()
      local s = a:sum({ 2 }, { keepdim = true })
      local t = b * s             -- chain of b waits for s, which waits for a
      return { a + t, b - t }
    end)
  end)

  it("two chains that meet behind a step which one of them feeds", function()
    local x, y = V.variable({ 6, 6 }, 4), V.variable({ 6, 6 }, 5)
    check(function()
      local a, b = x:exp(), y:sin()
      local m = a:matmul(b)
      local c, d = a * 2, b * 3
      return { c + d + m, (c * m):tanh() + d }
    end)
  end)

  it("results over operands: the operand is read again later in the chain, in another shape, twice", function()
    local x = V.variable({ 40, 60 }, 6)
    check(function()
      local a = x:cumsum(1)            -- dies in the chain
      local b = a * 2
      return { (b:exp() + a) * a, a:sum() }
    end)
    check(function()
      local a = x:cumsum(2)
      local row = a:mean { 1 }
      local b = a - row
      return { b * b + a:reshape { 40, 60 } }
    end)
    check(function()
      local a = x:cumsum(1)
      local flat = a:reshape { 2400 }
      return { (flat * 2):sum(), a:softmax(2):log(), (a + 1):softmax(1) }
    end)
  end)

  it("operands in both layouts, broadcast over any dimension", function()
    local x, w = V.variable({ 2, 3, 5, 4 }, 7), V.variable({ 6, 3, 3, 3 }, 8)
    local plain = V.variable({ 2, 6, 5, 4 }, 9)
    for i, shape in ipairs { { 6, 1, 1 }, { 2, 1, 5, 4 }, { 4 }, { 5, 1 }, { 1, 6, 5, 1 }, { 2, 6, 1, 1 }, { 1 }, { 2, 1, 1, 1 } } do
      local v = V.variable(shape, 10 + i)
      check(function()
        local y = x:conv2d(w, { padding = 1 })
        local z = (y * v + plain):tanh()
        return { z, y + v, (plain * v):sum(), z:permute { 1, 3, 4, 2 } }
      end)
    end
  end)

  it("numbers as operands, and a chain of numbers alone", function()
    local x = V.variable({ 3, 3 }, 20)
    check(function()
      local a = frt.full({ 3, 3 }, 2):exp()
      return { x * 2 + 1 - x / 4, a, a * x }
    end)
  end)
end)

describe("convolution, batch norm and activation", function()
  local x, w = V.variable({ 2, 3, 6, 6 }, 30), V.variable({ 5, 3, 3, 3 }, 31)
  local g, b = V.variable({ 5 }, 32), V.variable({ 5 }, 33)
  local function net(act, also)
    local mean, var = V.variable({ 5 }, 34), frt.ones { 5 }
    frt.realize(var)
    var = T.var { shape = { 5 }, data = { 1, 1, 1, 1, 1 } }
    for _, p in ipairs { w, g, b } do p:requires_grad_() end
    local conv = x:conv2d(w, { padding = 1 })
    local bn = conv:batch_norm(g, b, mean, var, { training = true })
    local y = act(bn)
    local loss = (y * y):mean()
    local out = frt.grad(loss, { w, g, b })
    out[#out + 1] = loss
    out[#out + 1] = mean
    out[#out + 1] = also and also(conv, bn, y)
    return out
  end
  after_each(function()
    C.frt_device_use "cpu"
    T.forget()
  end)
  local function silu(t) return t:silu() end

  it("batch norm and silu are one step each way", function()
    local out = net(silu)
    assert.are.equal(1, plans.count("fused_bn_apply", unpack(out)))
    assert.are.equal(1, plans.count("fused_bn_stats", unpack(out)))
    assert.are.equal(1, plans.count("fused_bn_act_grad", unpack(out)))
    assert.are.equal(0, plans.count("batch_norm_train", unpack(out)))
    T.forget()
    check(function() return net(silu) end)
  end)

  it("but not where batch norm's output is wanted, or read by another", function()
    for _, also in ipairs {
      function(_, bn) return bn end, function(_, bn) return bn:sum() end, function(_, bn, y) return y + bn end,
      function(conv) return conv end, function(_, _, y) return y end,
      function(_, bn) return (bn:sigmoid() * bn):sum() end,
    } do
      check(function() return net(silu, also) end)
    end
  end)

  it("other activations", function()
    for _, act in ipairs { "relu", "relu6", "sigmoid", "tanh" } do
      check(function() return net(function(t) return T.op(act, { t }) end) end)
    end
    check(function() return net(function(t) return t:silu() + t:relu() end) end)
    check(function() return net(function(t) return t:silu():silu() end) end)
    check(function() return net(function(t) return t * 1 end) end)
  end)

  it("a convolution takes bias and activation into its pass", function()
    check(function()
      local y = x:conv2d(w, b)
      return { y:silu(), x:conv2d(w, g):relu():sum(), y }
    end)
    assert.are.same({ "fused_layout", "conv2d" }, { unpack(plans.steps(x:conv2d(w, b):relu()), 1, 2) })
  end)

  it("the product that only a sum over the map reads is not stored", function()
    local y, z = V.variable({ 2, 6, 5, 4 }, 40), V.variable({ 2, 6, 5, 4 }, 41)
    assert.are.equal(1, plans.count("fused_mul_sum", (y * z):sum { 3, 4 }))
    check(function()
      local p = y * z
      return { p:sum { 3, 4 }, (y:tanh() * z):sum({ 1, 3, 4 }, { keepdim = true }), (z * z):sum { 3, 4 }, (y * z):sum { 2 } }
    end)
  end)

  it("pieces of a map that are padded and summed in the backward pass are put side by side", function()
    local y = V.variable({ 2, 6, 5, 4 }, 40):requires_grad_()
    local function pieces(from, ...)
      local sum = 0
      for i, n in ipairs { ... } do
        sum = sum + (y:narrow(2, from, n) * (i + 1)):tanh():sum()
        from = from + n
      end
      return frt.grad(sum, { y })[1]
    end
    assert.are.equal(1, plans.count("cat", pieces(1, 3, 1, 2)))
    assert.are.equal(0, plans.count("pad", pieces(1, 3, 1, 2)))
    check(function() return { pieces(1, 3, 1, 2) } end)
    for _, other in ipairs { { 1, 3, 2 }, { 2, 3, 2 }, { 1, 1, 1 } } do  -- the last two leave a gap
      check(function() return { pieces(unpack(other)) } end)
    end
    assert.are.equal(0, plans.count("cat", pieces(2, 3, 2)))
    check(function()  -- overlapping
      return { frt.grad((y:narrow(2, 1, 4):tanh():sum() + y:narrow(2, 3, 4):tanh():sum()), { y })[1] }
    end)
  end)
end)
