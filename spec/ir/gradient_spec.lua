-- gradients of graphs: shared nodes, broadcasting, several outputs, detach, frozen parameters, accumulation,
-- and reads after an assignment.
local frt = require "foodrt"
local T = require "foodrt.tensor"
local device = require "spec.support.device"
local C = require("foodrt.core.ffi").C
local V = require "spec.support.values"
local plans = require "spec.support.plans"
local same = V.same

local function param(data) return frt.tensor(data):requires_grad_() end

describe("gradients of graphs", function()
  after_each(function()
    T.forget()
    T.collect()
  end)

  it("add up where a node is read several times", function()
    local a = param { 2, 3 }
    local b = a * a  -- 2a
    local loss = (b * b + b):sum()  -- a^4 + a^2 -> 4a^3 + 2a
    same({ 36, 114 }, frt.grad(loss, { a })[1])
  end)

  it("through a value that is wanted itself, and by a recorded value", function()
    local a = param { 2 }
    local b = a * 3
    local c = b * b
    local g = frt.grad(c:sum(), { a, b, c })
    same({ 36 }, g[1])
    same({ 12 }, g[2])
    same({ 1 }, g[3])
  end)

  it("broadcasting sums over what it repeated, whichever dimension", function()
    local row, column, one = param { 1, 2, 3 }, param { { 1 }, { 2 } }, param { { 5 } }
    local g = frt.grad((row * column * one):sum(), { row, column, one })
    same({ 15, 15, 15 }, g[1])
    same({ { 30 }, { 30 } }, g[2])
    same({ { 18 } }, g[3])
  end)

  it("of ops with several outputs: one used, two used, none", function()
    local x = param { { 3, 1, 2 } }
    local sorted = T.op("sort", { x }, { 1, 0, 0 })
    same({ { 2, 0, 1 } }, frt.grad((sorted * frt.tensor { { 0, 1, 2 } }):sum(), { x })[1])
    local w, b = param { 1, 1, 1, 1 }, param { 0, 0, 0, 0 }
    local z = param { { 1, 2, 3, 6 } }
    local y, mean = T.op("layer_norm", { z, w, b }, { 1, 1e-5 })
    local g = frt.grad((y * frt.tensor { { 1, 0, 0, 0 } }):sum(), { z, b })
    same({ 1, 0, 0, 0 }, g[2])
    assert.are.equal(4, #g[1]:totable()[1])
    assert.are.equal(1, #mean:totable())
  end)

  it("the same input twice", function()
    local a = param { 3 }
    same({ 6 }, frt.grad((a * a):sum(), { a })[1])
    same({ 2 }, frt.grad((a + a):sum(), { a })[1])
    same({ 2 }, frt.grad(T.op("cat", { a, a }, { 0 }):sum(), { a })[1])
  end)

  it("a loss that is a variable itself", function()
    local a, b = param { 3 }, param { 4 }
    same({ 1 }, frt.grad(a, { a })[1])
    same({ 0 }, frt.grad(a, { b })[1])
    a:backward()
    same({ 1 }, a.grad)
  end)

  it("detach: a constant", function()
    local a = param { 3 }
    same({ 9 }, frt.grad((a * (a * a):detach()):sum(), { a })[1])
    same({ 0 }, frt.grad((a:detach() * 2):sum(), { a })[1])
  end)

  it("comparisons and class numbers stop it", function()
    local a = param { 3, -1 }
    same({ 1, 0 }, frt.grad((a:gt(0) * a):sum(), { a })[1])
    same({ 0, 0 }, frt.grad(a:gt(0):sum(), { a })[1])
  end)

  it("second and third derivatives", function()
    local a = param { 2 }
    local g = frt.grad((a ^ 4):sum(), { a })[1]
    local h = frt.grad(g:sum(), { a })[1]
    same({ 32 }, g, 1e-6)
    same({ 48 }, h, 1e-6)
    same({ 48 }, frt.grad(h:sum(), { a })[1], 1e-6)
  end)

  it("k micro-steps add up to one step of the whole batch", function()
    local w = param { { 1, -2 }, { 3, 1 } }
    local x = frt.randn { 8, 2 }
    frt.realize(x)
    local function loss(from, n) return x:narrow(1, from, n):matmul(w):tanh():sum() end
    loss(1, 8):backward()
    local whole = w.grad:totable()
    w.grad = nil
    for micro = 0, 3 do
      loss(1 + 2 * micro, 2):backward()
      frt.realize()
    end
    same(whole, w.grad, 1e-6)
    w.grad = nil
    for micro = 0, 3 do loss(1 + 2 * micro, 2):backward() end  -- all four in one plan
    same(whole, w.grad, 1e-6)
  end)

  it("what is read after an assignment is a leaf: steps without a realize between them", function()
    local function descend(realize)
      local w, x, y = param { 0 }, frt.tensor { 1, 2, 3 }, frt.tensor { 2, 4, 6 }
      for _ = 1, 3 do
        w.grad = nil
        local loss = ((x * w - y) ^ 2):mean()
        loss:backward()
        w:assign(w - w.grad * 0.1)
        if realize then frt.realize() end
      end
      return w:totable()
    end
    same(descend(true), descend(false), 1e-6)
  end)

  it("of a loss read before the assignment: the variable's old value", function()
    local w = param { 3 }
    local loss = (w * w):sum()
    w:assign(w * 10)
    same({ 6 }, frt.grad(loss, { w })[1])
  end)

  it("a batch-norm statistic's new value is no leaf that wants a gradient", function()
    local x, w, b = param { { 1, 2 }, { 3, 6 } }, param { 1, 1 }, param { 0, 0 }
    local mean, var = frt.tensor { 0, 0 }, frt.tensor { 1, 1 }
    x:reshape({ 2, 2, 1, 1 }):batch_norm(w, b, mean, var, { training = true }):sum():backward()
    same({ 2, 2 }, b.grad)
    assert.is_nil(mean.grad)
  end)

  it("backward works for more parameters than 256", function()
    local sum, list = nil, {}
    for i = 1, 700 do
      list[i] = param { i }
      sum = sum and sum + list[i] * i or list[i]
    end
    sum:backward()
    same({ 700 }, list[700].grad)
  end)

  it("says at the recipe's line what has no gradient", function()
    local a = param { 1 }
    local out = T.op("sgd_step", { frt.tensor({ 1 }, { dtype = "f64" }):sum(), frt.tensor({ 1 }, { dtype = "f64" }):sum(),
      frt.tensor({ 1 }, { dtype = "f64" }):sum(), frt.tensor({ 1 }, { dtype = "f64" }):sum(),
      frt.tensor({ 1 }, { dtype = "f64" }):sum(), frt.tensor({ 1 }, { dtype = "f64" }):sum(), a, a, a }, { 0 }, 2)
    local line = debug.getinfo(1, "l").currentline - 3
    assert.are.equal(("gradient_spec.lua:%d: backward: sgd_step has no gradient"):format(line),
      V.message(function() out[1]:sum():backward() end))
  end)
end)

describe("frozen parameters", function()
  after_each(function()
    T.forget()
    device.home()
  end)

  -- Three layers; those below the lowest that trains get no backward steps at all.
  local function steps(trained)
    C.frt_device_use "reference"  -- no fusing: a step per node
    local x = frt.ones { 2, 4 }
    local ws = {}
    for i = 1, 3 do
      ws[i] = frt.ones { 4, 4 }
      frt.realize(ws[i]:requires_grad_(trained[i]))
    end
    local y = x
    for i = 1, 3 do y = y:matmul(ws[i]):tanh() end
    local loss, wanted = y:sum(), {}
    for i = 1, 3 do
      if trained[i] then wanted[#wanted + 1] = ws[i] end
    end
    local forward = #plans.steps(loss)
    local grads = frt.grad(loss, wanted)
    local n = plans.count("matmul", loss, unpack(grads))
    return n - 3, #plans.steps(loss, unpack(grads)) - forward
  end

  it("add no backward steps: matrix products of the backward pass by what is frozen", function()
    assert.are.equal(5, (steps { true, true, true }))
    assert.are.equal(3, (steps { false, true, true }))
    assert.are.equal(1, (steps { false, false, true }))
    assert.are.equal(3, (steps { true, false, false }))
    local _, all = steps { true, true, true }
    local _, head = steps { false, false, true }
    assert.is_true(head <= 8 and head * 2 < all, head .. " of " .. all)
  end)
end)
