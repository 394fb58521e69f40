-- the cache of plans, and what explain and profile say of one.
local frt = require "foodrt"
local T = require "foodrt.tensor"
local device = require "spec.support.device"
local C = require("foodrt.core.ffi").C
local V = require "spec.support.values"
local plans = require "spec.support.plans"
local cpu_it = device.cpu_only(it, pending)

describe("the plan cache", function()
  before_each(function()
    C.frt_plans_clear()
    T.collect()
  end)
  after_each(function()
    C.frt_plans_limit(512 * 2 ^ 20)
    T.forget()
  end)

  local function f(n) return (frt.ones { n } * 2):cumsum(1):sum() end

  it("counts what it holds; clear empties it", function()
    for n = 1, 5 do f(n):item() end
    assert.are.equal(5, plans.info().cached)
    assert.is_true(plans.info().cache > 1000)
    C.frt_plans_clear()
    assert.are.equal(0, plans.info().cached)
    assert.are.equal(0, tonumber(plans.info().cache))
    assert.are.equal(0, plans.info().n_steps)  -- nothing is addressed any more
  end)

  it("is bounded by bytes; the least recently used goes, and comes back right", function()
    f(1):item()
    local each = tonumber(plans.info().cache)
    C.frt_plans_limit(each * 4)
    for n = 1, 20 do assert.are.equal(n * (n + 1), f(n):item()) end
    local held = plans.info().cached
    assert.is_true(held >= 2 and held <= 5, tostring(held))
    assert.is_true(plans.info().cache <= each * 4.5)
    assert.are.equal(0, plans.compiled(function() f(20):item() end))
    assert.are.equal(1, plans.compiled(function() assert.are.equal(2, f(1):item()) end))
    f(20):item()
    for n = 1, 10 do  -- used again and again, 20 stays
      f(n):item()
      assert.are.equal(0, plans.compiled(function() f(20):item() end))
    end
  end)

  it("a limit below one plan keeps the one in use", function()
    C.frt_plans_limit(1)
    for _ = 1, 3 do
      for n = 1, 3 do assert.are.equal(n * (n + 1), f(n):item()) end
    end
    assert.are.equal(1, plans.info().cached)
  end)

  cpu_it("derived weights go with their plan", function()
    local w, g = frt.randn({ 64, 64, 3, 3 }), frt.ones { 64 }
    frt.realize(w, g)
    w, g = w:requires_grad_(false), g:requires_grad_(false)
    local x = frt.ones { 1, 64, 8, 8 }
    local before
    for _ = 1, 3 do
      frt.realize(x:conv2d(w, { padding = 1 }):batch_norm(g, g, g, g))
      T.collect()
      local with = frt.memory().live
      C.frt_plans_clear()
      assert.is_true(with - frt.memory().live >= 64 * 64 * 9 * 4)
      before = before or frt.memory().live
      assert.are.equal(before, frt.memory().live)
    end
  end)
end)

describe("explain and profile", function()
  after_each(T.forget)

  cpu_it("say what every step is", function()
    local x = frt.tensor { { 1, 2, 3 }, { 4, 5, 6 } }
    local w = frt.ones { 3, 4 }
    frt.realize(w)
    local line = debug.getinfo(1, "l").currentline + 1
    local y = x:matmul(w)
    local z = y:exp():neg()
    local p = T.plan(z)
    local total, bytes = 0, 0
    for _, s in ipairs(p) do
      total, bytes = total + s.flops, bytes + s.bytes
      assert.is_true(#s.op > 0 and #s.kernel > 0 and s.flops >= 0 and s.bytes > 0)
      assert.is_truthy(s.shapes:find "^%[.*%] %-> %[.*%]$")
      assert.are.equal(0, s.seconds)
    end
    assert.are.equal(total, p.flops)
    assert.are.equal(bytes, p.bytes)
    local m = p[1]
    assert.are.equal("matmul", m.op)
    assert.are.equal("[2, 3] [3, 4] -> [2, 4]", m.shapes)
    assert.are.equal(48, m.flops)
    assert.are.equal(4 * (6 + 12 + 8), m.bytes)
    assert.is_truthy(m.line:find(":" .. line .. "$"))
    assert.is_false(m.reference)
    assert.are.equal("exp neg", p[2].note)
    assert.is_true(p.arena > 0 and p.arena <= p.unshared + p.scratch + 128)
    assert.are.equal(32, p.outputs)
    assert.are.equal(24, p.variables)  -- w is a computed value that has been realized
  end)

  it("name the lines of the recording at hand, not of the one that was compiled", function()
    local x = frt.tensor { 1, 2, 3 }
    local function a() local y = x:exp():sum() return y end
    local function b()
      local y = x:exp():sum()
      return y
    end
    local first = T.plan(a())[1].line
    local line = debug.getinfo(b, "S").linedefined + 1
    assert.are_not.equal(first, T.plan(b())[1].line)
    assert.is_truthy(T.plan(b())[1].line:find(":" .. line .. "$"))
  end)

  it("profile counts the runs and times each step", function()
    local x = frt.ones { 64, 64 }
    C.frt_profile(1)
    for _ = 1, 3 do frt.realize(x:matmul(x):sum()) end
    C.frt_profile(0)
    C.frt_plan_last()
    local step = require("foodrt.core.ffi").ffi.new "frt_step_info"
    local info = plans.info()
    assert.is_true(info.runs >= 3)
    for i = 0, info.n_steps - 1 do
      assert.are.equal(0, tonumber(C.frt_plan_step(i, step)))
      assert.is_true(step.seconds > 0 and step.seconds < 1)
    end
    assert.are.equal(-2, tonumber(C.frt_plan_step(info.n_steps, step)))
    assert.are.equal(-2, tonumber(C.frt_plan_step(-1, step)))
  end)

  it("a long list of operands and deep shapes fit the text", function()
    local list = {}
    for i = 1, 30 do list[i] = frt.ones { 1, 1, 1, 1, 1, 100000 } end
    local p = T.plan(T.op("cat", list, { 0 }))
    for _, s in ipairs(p) do assert.is_true(#s.shapes < 256) end
    assert.is_truthy(p[#p].shapes:find "30 in all")
  end)

  it("work for the reference and count its steps", function()
    C.frt_device_use "reference"
    local p = T.plan(frt.ones({ 4 }):exp():sum())
    device.home()
    assert.are.equal(#p, p.n_reference)
    assert.is_true(p[#p].reference)
  end)

  it("the finite check names op, line and module", function()
    local x = frt.tensor { -1, 1 }
    C.frt_scope "backbone.stem"
    local y = x:log()
    local line = debug.getinfo(1, "l").currentline - 1
    C.frt_scope ""
    C.frt_check_finite(1)
    local message = V.message(frt.realize, y + 1)
    C.frt_check_finite(0)
    assert.is_truthy(message:find("^cache_spec.lua:" .. line .. ": log: output 1 %[2%] holds %-?nan in backbone.stem"), message)
  end)
end)
