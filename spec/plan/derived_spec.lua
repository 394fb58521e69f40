-- derived data: what a plan makes of variables ahead of time (batch norm folded into convolutions, packed
-- weights) is made again when one of those variables moves, and only then.
local frt = require "foodrt"
local T = require "foodrt.tensor"
local device = require "spec.support.device"
local C = require("foodrt.core.ffi").C
local V = require "spec.support.values"
local O = require "spec.support.op_case"
local plans = require "spec.support.plans"
local cpu_it = device.cpu_only(it, pending)

local function numbers(n, seed, low, high)
  local u, data = O.random(seed), {}
  for i = 1, n do data[i] = low + (high - low) * u() end
  return data
end

-- convolution, batch norm, silu, and a second convolution with a bias
local function model(seed)
  local function v(shape, k, low, high)
    return T.var { shape = shape, data = numbers(O.numel(shape), seed * 100 + k, low or -1, high or 1) }
  end
  local m = { w = v({ 8, 3, 3, 3 }, 1), gamma = v({ 8 }, 2, 0.5, 1.5), beta = v({ 8 }, 3), mean = v({ 8 }, 4),
    var = v({ 8 }, 5, 0.5, 2), w2 = v({ 4, 8, 1, 1 }, 6), b2 = v({ 4 }, 7), gamma2 = v({ 4 }, 8), beta2 = v({ 4 }, 9),
    mean2 = v({ 4 }, 10), var2 = v({ 4 }, 11, 0.5, 2) }
  function m.run(x, training)
    local y = x:conv2d(m.w, { padding = 1 }):batch_norm(m.gamma, m.beta, m.mean, m.var, { training = training }):silu()
    return y:conv2d(m.w2, m.b2):batch_norm(m.gamma2, m.beta2, m.mean2, m.var2, { training = training })
  end
  return m
end

local function by_reference(m, x)
  C.frt_device_use "reference"
  local want = m.run(x):totable()
  device.home()
  return want
end

local function check(m, x)
  V.same(by_reference(m, x), m.run(x), 1e-5)
end

describe("batch norm at evaluation", function()
  local x, m
  before_each(function()
    x = T.var { shape = { 2, 3, 6, 5 }, data = numbers(180, 7, -1, 1), kind = "input" }
    m = model(1)
  end)
  after_each(function()
    T.forget()
    C.frt_check_finite(0)
    device.home()
  end)

  it("follows variables that trade their bytes, and finds what it had derived when they are traded back", function()
    local other = model(2)
    local before, there = m.run(x):totable(), other.run(x):totable()
    local function trade()
      for key, v in pairs(m) do
        if T.is(v) then assert.are.equal(0, tonumber(C.frt_var_swap(v.ref, other[key].ref))) end
      end
    end
    trade()
    assert.same(there, m.run(x):totable())
    assert.same(before, other.run(x):totable())
    trade()
    assert.same(before, m.run(x):totable())
    check(m, x)
  end)

  cpu_it("is folded into the convolution: no batch norm is left, and nothing is derived twice", function()
    assert.are.equal(0, plans.count("batch_norm", m.run(x)))
    assert.are.equal(0, plans.count("fused_bn_apply", m.run(x)))
    T.plan(m.run(x))
    assert.is_true(plans.info().derived > 8 * 3 * 9 * 4)
    plans.verify(m.run(x))
  end)

  it("gives the new numbers right after a write of any of its variables", function()
    check(m, x)
    for _, name in ipairs { "w", "gamma", "beta", "mean", "var", "w2", "b2", "gamma2", "beta2", "mean2", "var2" } do
      local data = m[name]:totable()
      local flat = {}
      local function flatten(t)
        if type(t) == "table" then for _, e in ipairs(t) do flatten(e) end else flat[#flat + 1] = t * 1.25 + 0.125 end
      end
      flatten(data)
      m[name]:write(flat)
      assert.are.equal(0, plans.compiled(function() m.run(x):totable() end))
      check(m, x)
    end
  end)

  it("after an assignment, in the plan that carries it out and in the next", function()
    check(m, x)
    m.gamma:assign(m.gamma * 2)
    local y = m.run(x)  -- reads the new gamma
    local got = y:totable()
    V.same(by_reference(m, x), got, 1e-5)
    m.w:assign(m.w * 0.5)
    frt.realize()
    check(m, x)
  end)

  it("alternating two models of one structure: one plan, each its own numbers", function()
    local other = model(2)
    local a, b = by_reference(m, x), by_reference(other, x)
    m.run(x):totable()
    assert.are.equal(0, plans.compiled(function()
      for _ = 1, 3 do
        V.same(a, m.run(x), 1e-5)
        V.same(b, other.run(x), 1e-5)
      end
    end))
  end)

  it("two variables swapped", function()
    check(m, x)
    m.gamma, m.var = m.var, m.gamma  -- in the graph
    check(m, x)
    local old = m.gamma:detach()     -- and their values
    m.gamma:assign(m.var)
    m.var:assign(old)
    frt.realize()
    check(m, x)
  end)

  it("in the plan of a training step before it", function()
    check(m, x)
    local y = m.run(x, true):sum()
    frt.realize(y)
    check(m, x)
    y = m.run(x, true):sum()
    local z = m.run(x)  -- with the statistics that the line before moves
    frt.realize(y, z)
    local got = z:totable()
    V.same(by_reference(m, x), got, 1e-5)
  end)

  it("is not taken from a run that failed half-way", function()
    local other = model(3)
    check(m, x)
    check(other, x)
    check(m, x)
    -- Another model's run fails behind the folding: what it folded must not stay as this one's.
    other.beta2:write { 1 / 0, 0, 0, 0 }
    C.frt_check_finite(1)
    m.run(x):totable()
    assert.is_false((pcall(function() other.run(x):totable() end)))
    V.same(by_reference(m, x), m.run(x), 1e-5)
  end)

  it("whose parameters are computed after the convolution is right too", function()
    local conv = x:conv2d(m.w, { padding = 1 })
    local gamma, beta = m.gamma:exp():sqrt(), m.beta:sin()
    local function f() return conv:batch_norm(gamma, beta, m.mean, m.var) end
    C.frt_device_use "reference"
    local want = f():totable()
    device.home()
    plans.verify(f())
    V.same(want, f(), 1e-5)
  end)

  it("stays where the convolution's own output is wanted", function()
    local conv = x:conv2d(m.w, { padding = 1 })
    local y = conv:batch_norm(m.gamma, m.beta, m.mean, m.var)
    frt.realize(conv, y)
    C.frt_device_use "reference"
    local w = x:conv2d(m.w, { padding = 1 })
    local z = w:batch_norm(m.gamma, m.beta, m.mean, m.var)
    frt.realize(w, z)
    device.home()
    V.same(w:totable(), conv, 1e-5)
    V.same(z:totable(), y, 1e-5)
  end)

  cpu_it("is rebuilt only when something moved: steps that set up do not run again", function()
    m.run(x):totable()
    C.frt_profile(1)
    m.run(x):totable()
    C.frt_profile(0)
    C.frt_plan_last()
    local step, timed, setup = require("foodrt.core.ffi").ffi.new "frt_step_info", 0, 0
    for i = 0, plans.info().n_steps - 1 do
      C.frt_plan_step(i, step)
      if step.seconds > 0 then timed = timed + 1 else setup = setup + 1 end
    end
    assert.is_true(setup >= 4 and timed >= 2 and timed <= 6, ("%d ran, %d did not"):format(timed, setup))
  end)
end)

describe("batch norm in training", function()
  it("moves its statistics once per forward, however often the forward is read or recomputed", function()
    local x = frt.tensor { { 1, 3 }, { 3, 7 } }
    local map = x:reshape { 2, 2, 1, 1 }
    local w, b = frt.tensor { 1, 1 }, frt.tensor { 0, 0 }
    local mean, var = frt.tensor { 0, 0 }, frt.tensor { 1, 1 }
    local y = map:batch_norm(w, b, mean, var, { training = true, momentum = 0.5 })
    T.plan(y)
    frt.realize(y, y * 2, y:relu())
    V.same({ 1, 2.5 }, mean)           -- half of 2 and 5
    V.same({ 1.5, 4.5 }, var)          -- half of 1 and the unbiased 2 and 8
    y:totable();
    (y + 1):totable()
    V.same({ 1, 2.5 }, mean)
    local z = map:batch_norm(w, b, mean, var, { training = true, momentum = 0.5 })
    local again = map:batch_norm(w, b, mean, var, { training = true, momentum = 0.5 })
    frt.realize(z, again)
    V.same({ 1.75, 4.375 }, mean)      -- twice in one plan: 1.5, 3.75, then these
    V.same({ 1.875, 7.125 }, var)
  end)

  it("is exact at mean 100 and deviation 0.1", function()
    local u, data = O.random(3), {}
    for i = 1, 4096 do data[i] = 100 + 0.1 * (u() + u() + u() - 1.5) * 2 end
    local x = T.var { shape = { 4, 2, 16, 32 }, data = data }
    local function run(backend)
      C.frt_device_use(backend)
      local w, b = frt.tensor { 1, 1 }, frt.tensor { 0, 0 }
      local mean, var = frt.tensor { 0, 0 }, frt.tensor { 0, 0 }
      local y = x:batch_norm(w, b, mean, var, { training = true, momentum = 1 })
      frt.realize(y)
      device.home()
      return y:totable(), mean:totable(), var:totable()
    end
    local y, mean, var = run "reference"
    local y2, mean2, var2 = run(device.name)
    V.same(mean, mean2, 1e-6)
    V.same(var, var2, 1e-4)
    V.same(y, y2, 1e-3)
    assert.is_true(math.abs(var[1] - 0.01) < 0.001)
  end)
end)
