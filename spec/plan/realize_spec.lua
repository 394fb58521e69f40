-- realize: named outputs, what recompiles, pending assignments, reads before and after, stale values.
local frt = require "foodrt"
local T = require "foodrt.tensor"
local device = require "spec.support.device"
local C = require("foodrt.core.ffi").C
local V = require "spec.support.values"
local plans = require "spec.support.plans"
local same = V.same

local function named(name, data) return T.var { shape = { #data }, name = name, data = data } end
local function here() return debug.getinfo(2, "l").currentline end

describe("outputs", function()
  after_each(function()
    T.forget()
    T.collect()
  end)

  it("are what realize names; living handles change nothing", function()
    local x = frt.tensor { 1, 2, 3 }
    local function build() return x:exp() end
    local held = build()
    local y = held:sum()
    local n = #plans.steps(y)
    local _ = plans.compiled(frt.realize, y)
    held = nil  -- luacheck: ignore
    T.collect()
    local z = build():sum()
    assert.are.equal(n, #plans.steps(z))
    assert.are.equal(0, plans.compiled(frt.realize, z))
    assert.are.equal(1, C.frt_has_value(z.ref))
  end)

  it("keep() names one more, whoever asks", function()
    local x = frt.tensor { 1, 2, 3 }
    local y = (x * 2):keep();
    (x + 1):sum():item()
    assert.are.equal(1, C.frt_has_value(y.ref))
    x:fill_(7)
    same({ 2, 4, 6 }, y)
  end)

  it("another value of the same graph is computed again while what it read is unchanged", function()
    local x = frt.tensor { 1, 2, 3 }
    local y = x * 2
    local z = y:sum()
    assert.are.equal(12, z:item())
    assert.are.equal(0, C.frt_has_value(y.ref))
    same({ 2, 4, 6 }, y)
  end)

  it("the same output twice, a variable, a view of a variable and a number by itself", function()
    local x = frt.tensor { { 1, 2 }, { 3, 4 } }
    local y = x + 1
    frt.realize(y, y, x, x:reshape { 4 })
    same({ { 2, 3 }, { 4, 5 } }, y)
    local a, b = x:reshape { 4 }, x:detach()
    frt.realize(a, b)
    x:fill_(0)
    same({ 1, 2, 3, 4 }, a)  -- outputs own their bytes
    same({ { 1, 2 }, { 3, 4 } }, b)
  end)

  it("two outputs that are the same value have bytes of their own", function()
    local x = frt.tensor { 1, 2 }
    local a, b = x:exp(), x:exp()
    frt.realize(a, b)
    assert.are.equal(1, C.frt_has_value(b.ref))
    same(a:totable(), b)
  end)

  it("an output that other steps read, and one in the other layout", function()
    local x = frt.tensor { { { { 1, -2 }, { 3, 4 } }, { { 5, 6 }, { 7, 8 } } } }
    local w = frt.tensor { { { { 1 } }, { { 1 } } }, { { { 2 } }, { { 0 } } } }
    local y = x:conv2d(w)
    local z = y:relu()
    frt.realize(y, z, z:sum())
    same({ { { { 6, 4 }, { 10, 12 } }, { { 2, -4 }, { 6, 8 } } } }, y)
    same({ { { { 6, 4 }, { 10, 12 } }, { { 2, 0 }, { 6, 8 } } } }, z)
  end)
end)

describe("recompiling", function()
  it("a number, new bytes, another variable and a new step do not; a shape and an attribute do", function()
    local function step(x, factor, dim) return (x * factor):sum { dim } end
    local x = frt.tensor { { 1, 2 }, { 3, 4 } }
    assert.are.equal(1, plans.compiled(frt.realize, step(x, 2, 1)))
    local y = step(x, 3, 1)
    assert.are.equal(0, plans.compiled(frt.realize, y))
    same({ 12, 18 }, y)
    x:write { 1, 1, 1, 1 }
    assert.are.equal(0, plans.compiled(frt.realize, step(x, 3, 1)))
    y = step(frt.tensor { { 5, 5 }, { 5, 5 } }, 1, 1)
    assert.are.equal(0, plans.compiled(frt.realize, y))
    same({ 10, 10 }, y)
    assert.are.equal(1, plans.compiled(frt.realize, step(frt.tensor { { 1, 2, 3 } }, 2, 1)))
    assert.are.equal(1, plans.compiled(frt.realize, step(x, 2, 2)))
  end)

  it("numbers are never merged by their value", function()
    local x = frt.tensor { 1, 2 }
    local function f(a, b) return frt.realize(x * a + x * b) end
    same({ 4, 8 }, f(2, 2))
    same({ 5, 10 }, f(2, 3))
  end)

  it("aliasing is structure: f(a, a) and f(a, b) are two plans", function()
    local a, b = frt.tensor { 1, 2 }, frt.tensor { 10, 20 }
    same({ 2, 4 }, a + a)
    same({ 11, 22 }, a + b)
    same({ 20, 40 }, b + b)
  end)

  it("threads, backend and the finite check are part of the key", function()
    local x = frt.tensor { 1, 2 }
    local function ask() return plans.compiled(frt.realize, x:exp():sin()) end
    ask()
    assert.are.equal(0, ask())
    C.frt_check_finite(1)
    assert.are.equal(1, ask())
    C.frt_check_finite(0)
    C.frt_device_use(device.name == "reference" and "cpu" or "reference")
    assert.are.equal(1, ask())
    device.home()
    assert.are.equal(0, ask())
  end)
end)

describe("assignments", function()
  after_each(function()
    T.forget()
  end)

  it("happen once, with the next realize, whatever it is asked for", function()
    local v, x = frt.tensor { 1 }, frt.tensor { 5 }
    v:assign(v + 1)
    assert.are.equal(1, C.frt_pending())
    assert.are.equal(6, (x + 1):item())
    assert.are.equal(0, C.frt_pending());
    (x + 1):item()
    same({ 2 }, v)
  end)

  it("reads before the assignment mean the old value, reads after it the new one", function()
    local v = frt.tensor { 1 }
    local before = v * 10
    v:assign(v + 1)
    local between = v * 10
    v:assign(v * 3)
    local after = v * 10
    frt.realize(before, between, after)
    same({ 10 }, before)
    same({ 20 }, between)
    same({ 60 }, after)
    same({ 6 }, v)
  end)

  it("two variables trade places", function()
    local a, b = frt.tensor { 1, 2 }, frt.tensor { 3, 4 }
    local old = a:detach()
    a:assign(b)
    b:assign(old)
    frt.realize()
    same({ 3, 4 }, a)
    same({ 1, 2 }, b)
    for _ = 1, 2 do  -- by computed values
      local x, y = a + 0, b + 0
      a:assign(y)
      b:assign(x)
      frt.realize()
    end
    same({ 3, 4 }, a)
    same({ 1, 2 }, b)
  end)

  it("three go round", function()
    local a, b, c = frt.tensor { 1 }, frt.tensor { 2 }, frt.tensor { 3 }
    local olda = a:reshape { 1 }
    a:assign(b)
    b:assign(c)
    c:assign(olda)
    frt.realize()
    same({ 2 }, a)
    same({ 3 }, b)
    same({ 1 }, c)
  end)

  it("of itself, of a view, of one value to two variables", function()
    local a, b = frt.tensor { { 1, 2 } }, frt.tensor { { 0, 0 } }
    a:assign(a)
    frt.realize()
    same({ { 1, 2 } }, a)
    a:assign(a:reshape { 2 }:reshape { 1, 2 })
    local y = a + 1
    b:assign(y)
    a:assign(y)
    frt.realize(y)
    same({ { 2, 3 } }, a)
    same({ { 2, 3 } }, b)
    same({ { 2, 3 } }, y)
  end)

  it("whole assignment of what a later reader of the old value needs", function()
    local a = frt.tensor { 4, 5 }
    local old = a:reshape { 2, 1 }
    a:assign(a * 2)
    local y = old + a  -- [2, 1] + [2]
    frt.realize(y)
    same({ { 12, 14 }, { 13, 15 } }, y)
  end)

  it("one that is written meanwhile is an error, and forgotten with T.forget", function()
    local a, b = named("a", { 1 }), frt.tensor { 2 }
    b:assign(a)
    a:write { 9 }
    assert.is_truthy(V.message(frt.realize):find "'a' has changed since")
    T.forget()
    same({ 2 }, b)
    b:assign(b + 1)
    assert.is_truthy(V.message(function() b:write { 5 } end):find "'.*' has a pending assignment")
  end)

  it("is not lost when another value of the same realize is stale", function()
    local a, c = frt.tensor { 1 }, named("count", { 10 })
    local b = a * 2
    a:write { 5 }
    c:assign(c + 1)
    assert.is_nil(V.message(function() b:item() end):find "dropped")
    assert.are.equal(1, C.frt_pending())
    same({ 11 }, c)
  end)

  it("that can't be computed any more is dropped and said, with those that follow from it; others are carried out", function()
    local a, b, c, d = named("a", { 1 }), named("b", { 2 }), named("c", { 10 }), named("d", { 20 })
    local stale = a * 2
    b:assign(stale + 1)
    d:assign(b * 3)
    c:assign(c + 1)
    a:write { 5 }
    local message = V.message(frt.realize)
    assert.is_truthy(message:find("'a' has changed since", 1, true), message)
    assert.is_truthy(message:find("; the assignments of 'b' and 1 more are dropped", 1, true), message)
    frt.realize()
    same({ 2 }, b)
    same({ 11 }, c)
    same({ 20 }, d)
  end)

  it("is dropped when its own computation is refused, so that later values can be had; others are carried out", function()
    local b, c = named("b", { 2 }), named("c", { 10 })
    b:assign(frt.tensor({ 4 }):gather(1, frt.tensor({ 7 }, { dtype = "i32" })) + 1)
    c:assign(c + 1)
    local message = V.message(function() (b + 1):item() end)
    assert.is_truthy(message:find("gather: idx must be in 1..1, got 7; the assignment of 'b' is dropped", 1, true), message)
    same({ 3 }, frt.tensor { 1 } + 2)
    same({ 11 }, c)
    same({ 2 }, b)
  end)

  it("stays when what fails is something else of the plan", function()
    local c = named("c", { 10 })
    c:assign(c + 1)
    local message = V.message(function()
      local y = frt.tensor({ 4 }):gather(1, frt.tensor({ 7 }, { dtype = "i32" })):item()
      return y
    end)
    assert.is_nil(message:find "dropped")
    same({ 11 }, c)
  end)

  it("of a torn variable's reader is dropped, of others not", function()
    local v, w, c = named("v", { 1 }), named("w", { 1 }), named("c", { 10 })
    C.frt_check_finite(1)
    local scalar = require("foodrt.tensor.record").scalar
    local inputs = {}
    for i, n in ipairs { 0.1, 0, 0, 0, 1, 1 } do inputs[i] = T.wrap(scalar(n, 1)) end
    inputs[7], inputs[8], inputs[9] = v, frt.tensor { math.huge }, frt.zeros { 1 }
    v:assign(T.op("sgd_step", inputs, { 0 }, 2)[1])
    c:assign(c + 1)
    assert.is_false((pcall(frt.realize)))
    C.frt_check_finite(0)
    assert.are.equal(1, C.frt_pending())  -- v is torn, c still waits
    w:assign(v + 1)
    assert.is_truthy(V.message(frt.realize):find("'v' was torn by an interrupted write: load or write it again; "
      .. "the assignment of 'w' is dropped", 1, true))
    same({ 11 }, c)
    same({ 1 }, w)
  end)

  it("making a variable of a stale value fails and leaves it as it was", function()
    local a = named("a", { 1 })
    local y = a * 2
    a:write { 5 }
    for _ = 1, 2 do
      assert.is_truthy(V.message(function() y:requires_grad_() end):find "'a' has changed since")
    end
    assert.is_false(y:is_var())
  end)

  it("explain does not carry them out", function()
    local v = frt.tensor { 1 }
    v:assign(v + 1)
    for _ = 1, 3 do T.plan() end
    same({ 2 }, v)
  end)

  it("an error while recording leaves what was pending as it was", function()
    local v = frt.tensor { 1 }
    v:assign(v + 1)
    pcall(function() return v + frt.zeros { 2, 2, 7 }:matmul(v) end)
    same({ 2 }, v)
  end)
end)

describe("a stale value", function()
  it("is an error that names the line of its recording and the variable", function()
    local v = named("moment", { 1, 2 })
    local y = v:exp()
    local line = here() - 1
    v:write { 3, 4 }
    local message = V.message(function() y:totable() end)
    assert.is_truthy(message:find("^realize_spec.lua:" .. line .. ": exp: its value is gone: variable 'moment' has changed"),
      message)
  end)

  it("after an assignment likewise, unless it was kept", function()
    local v = frt.tensor { 1, 2 }
    local y, z = v + 1, (v + 2):keep()
    v:assign(v * 2)
    frt.realize()
    assert.is_truthy(V.message(function() y:totable() end):find "its value is gone")
    same({ 3, 4 }, z)
  end)

  it("an output computed before the change stays readable, and what is recorded from it too", function()
    local v = frt.tensor { 1, 2 }
    local y = frt.realize(v + 1)
    v:fill_(0)
    same({ 2, 3 }, y)
    same({ 4, 6 }, y * 2)
  end)

  it("handles of freed nodes are refused", function()
    local y = frt.tensor { 1 } + 1
    local ref = y.ref
    y = nil  -- luacheck: ignore
    T.collect()
    assert.are.equal(0, C.frt_has_value(ref))
    local out = require("foodrt.core.ffi").ffi.new "double[1]"
    assert.are.equal(-6, tonumber(C.frt_item(ref, out)))
  end)
end)

describe("running statistics that have moved", function()
  it("don't keep the rest of a training step from being computed: they move once", function()
    local function made()
      local m = frt.nn.Chain { frt.nn.BatchNorm2d {}, frt.nn.Conv2d { 2, 1 }, frt.nn.BatchNorm2d {} }
      m:build { input = { 4, 3, 2, 2 }, seed = 1 }
      m:train()
      return m
    end
    local x = frt.randn { 4, 3, 2, 2 }
    x:requires_grad_(false)
    local function step(m, look)
      local y = m(x)
      if look then
        assert(y:mean():item())  -- carries the statistics out
        assert.are.equal(0, C.frt_pending())
      end
      local loss = (y * y):sum()
      if look then assert(loss:item()) end
      loss:backward()
      frt.realize()
    end
    local a, b = made(), made()
    step(a, false)
    step(b, true)
    for name, t in a:named_buffers() do same(t:totable(), b:state_dict()[name], 1e-6) end
    for _, name in ipairs { "0.weight", "1.weight", "2.bias" } do
      local g, h
      for n, t in a:named_parameters() do g = n == name and t.grad or g end
      for n, t in b:named_parameters() do h = n == name and t.grad or h end
      same(g:totable(), h, 1e-5)
    end
  end)
end)

describe("a torn variable", function()
  local function step(v, gradient)
    local inputs = {}
    for _, n in ipairs { 0.1, 0, 0, 0, 1, 1 } do inputs[#inputs + 1] = T.wrap(require("foodrt.tensor.record").scalar(n, 1)) end
    inputs[7], inputs[8], inputs[9] = v, gradient, frt.zeros { 1 }
    local out = T.op("sgd_step", inputs, { 0 }, 2)
    v:assign(out[1])
  end

  local function adam(v, t, gscale)
    local inputs = {}
    for i, n in ipairs { 0.1, 0.9, 0.999, 1e-8, 0, t, gscale } do
      inputs[i] = T.wrap(require("foodrt.tensor.record").scalar(n, 1))
    end
    inputs[8], inputs[9], inputs[10], inputs[11] = v, frt.tensor { 1 }, frt.zeros { 1 }, frt.zeros { 1 }
    v:assign(T.op("adam_step", inputs, { 1, 0 }, 3)[1])
  end

  local function ema(v, decay)
    v:assign(T.op("ema_step", { frt.tensor { decay }:sum(), v, frt.tensor { 9 } }, nil, 1)[1])
  end

  for _, backend in ipairs(device.both) do
    it("does not come of an update that is refused, whatever for: no other update has run by then: " .. backend, function()
      local refused = {
        ["adam_step: t must be at least 1, got 0"] = function(v) adam(v, 0, 1) end,
        ["adam_step: gradient norm is not finite"] = function(v) adam(v, 1, 0 / 0) end,
        ["ema_step: decay must be from 0 to below 1, got 2"] = function(v) ema(v, 2) end,
      }
      C.frt_device_use(backend)
      for why, update in pairs(refused) do
        local u, v, w = named("u", { 1 }), named("v", { 1 }), named("w", { 10 })
        step(u, frt.tensor { 1 })
        update(v)
        w:assign(w + 1)
        local message = V.message(frt.realize)
        assert.is_truthy(message:find(why .. "; the assignment of 'v' is dropped", 1, true), message)
        same({ 0.9 }, u, 1e-6)  -- asked for again, it is updated once
        same({ 1 }, v)
        same({ 11 }, w)
      end
      device.home()
    end)
  end

  it("is only what a failing step may have written", function()
    local u, v, w = named("u", { 1 }), named("v", { 1 }), named("w", { 10 })
    step(u, frt.tensor { math.huge })
    w:assign(w + 1)
    adam(v, 1, 1)
    C.frt_check_finite(1)
    assert.is_false((pcall(frt.realize)))
    C.frt_check_finite(0)
    assert.is_truthy(V.message(function() u:totable() end):find "'u' was torn")
    same({ 0.9 }, v, 1e-6)
    same({ 11 }, w)
  end)

  local function fails(...)
    C.frt_check_finite(1)
    local ok = pcall(frt.realize, ...)
    C.frt_check_finite(0)
    T.forget()
    assert.is_false(ok)
  end

  local function tear()  -- what is written is found not to be finite
    local v = named("weight", { 1 })
    step(v, frt.tensor { math.huge })
    fails()
    return v
  end

  it("does not come of what fails beside the update: that runs first", function()
    local v = named("weight", { 1 })
    step(v, frt.tensor { 1 })
    fails(frt.tensor({ -1 }):log() + 1)
    same({ 1 }, v)
    step(v, frt.tensor { 1 })
    frt.realize()
    same({ 0.9 }, v, 1e-6)
  end)

  it("is neither read nor saved nor used until it is written again", function()
    local v = tear()
    assert.is_truthy(V.message(function() v:totable() end):find "'weight' was torn")
    assert.is_truthy(V.message(function() (v + 1):totable() end):find "'weight' was torn")
    v:write { 2 }
    same({ 3 }, v + 1)
  end)

  it("a whole assignment mends it", function()
    local v = tear()
    v:assign(frt.tensor { 1 } + 1)
    frt.realize()
    same({ 2 }, v)
  end)
end)

describe("the reference", function()
  it("broadcasts over dimensions with one of size 1 between them", function()
    C.frt_device_use "reference"
    local x, y = frt.zeros { 2, 1, 2, 2 }, frt.tensor { { { { 1 } } }, { { { 2 } } } }
    same({ { { { 1, 1 }, { 1, 1 } } }, { { { 2, 2 }, { 2, 2 } } } }, x + y)
    device.home()
  end)
end)
