-- speed: what the engine itself costs, apart from what it runs.
local frt = require "foodrt"
local T = require "foodrt.tensor"
local R = require "foodrt.tensor.record"
local lib = require "foodrt.core.ffi"
local plans = require "spec.support.plans"
local ffi, C = lib.ffi, lib.C

local function within(limit_ms, seconds, what)
  assert.is_true(plans.is_sanitized() or seconds * 1e3 < limit_ms, ("%s: %.2f ms"):format(what, seconds * 1e3))
end

local out = ffi.new "frt_ref[1]"
local function plan(t)
  out[0] = t.ref
  lib.check(tonumber(C.frt_plan_make(1, out, 1)))
end

describe("the engine", function()
  after_each(function()
    T.forget()
    T.collect()
  end)

  it("records 1,000 nodes again and finds their plan in 2 ms", function()
    local w, x, o = frt.tensor(frt.randn({ 8, 8, 3, 3 }):totable()), frt.zeros { 1, 8, 16, 16 }, { padding = 1 }
    local function net()
      local y = x
      for _ = 1, 333 do y = (y:conv2d(w, o) + x):relu() end
      plan(y)
    end
    net()
    assert.are.equal(0, plans.compiled(net))
    within(2, plans.best(15, net), "record and find")
  end)

  it("plans EfficientNet-B4's training step in 60 ms", function()
    local m = frt.models.efficientnet_b4 { classes = 101 }
    m:build { input = { 1, 3, 64, 64 }, values = false, seed = 1 }
    m:train()
    local params = {}
    for _, p in m:named_parameters() do params[#params + 1] = p end
    local opt = frt.optim.adamw { lr = 1e-3 }:attach(m)
    local loss = (m(T.var { shape = { 2, 3, 128, 128 }, kind = "input" }) ^ 2):mean()
    local grads = frt.grad(loss, params)
    opt:update(params, grads, { gscale = (frt.optim.clip(grads, 1)) })
    within(60, plans.best(5, function()
      C.frt_plans_clear()
      plan(loss)
    end), "plan")
    assert.is_true(plans.info().n_steps > 1000)
    assert.are.equal(0, tonumber(C.frt_plan_verify()))
    within(2, plans.best(5, function() plan(loss) end), "find")
  end)

  it("among 100,000 living nodes a new small graph costs what it costs alone; sweeping them takes 20 ms", function()
    local _, nodes = R.limits(nil, 1e9)
    local x, keep, y = frt.tensor { 1, 2, 3 }, {}, nil
    for i = 1, 50000 do
      y = i % 100 == 1 and x + 1 or y + 1  -- a number and a sum
      if i % 100 == 0 then keep[#keep + 1] = y end
    end
    assert.is_true(C.frt_nodes() >= 100000)
    within(0.5, plans.best(15, function() plan((x * 3) + 1) end), "plan")
    local roots = ffi.new("frt_ref[?]", #keep + 1)
    for i, t in ipairs(keep) do roots[i - 1] = t.ref end
    within(20, plans.best(20, function() lib.check(tonumber(C.frt_sweep(#keep, roots))) end), "sweep")
    assert.is_true(C.frt_nodes() >= 100000)
    within(40, plans.best(3, function() plan(keep[1] + keep[#keep]) end), "walk over all")
    R.limits(nil, nodes)
  end)
end)
