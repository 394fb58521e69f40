--- explain, profile, memory and threads from Lua.
local frt = require "foodrt"
local T = require "foodrt.tensor"
local C = require("foodrt.core.ffi").C
local V = require "spec.support.values"

describe("plans", function()
  local printed
  local real_print = print

  before_each(function()
    printed = {}
    _G.print = function(s) printed[#printed + 1] = s end  -- luacheck: ignore
  end)
  after_each(function()
    _G.print = real_print  -- luacheck: ignore
  end)

  it("explain prints a line per step and one of totals, and runs nothing", function()
    local y = frt.ones({ 64, 32 }):matmul(frt.ones { 32, 16 })
    local p = frt.explain(y)
    assert.are.equal(0, C.frt_has_value(y.ref))
    assert.are.equal(p.n_steps, #p)
    local lines = {}
    for l in (printed[1] .. "\n"):gmatch "(.-)\n" do lines[#lines + 1] = l end
    assert.are.equal(#p + 2, #lines)
    assert.is_truthy(lines[1]:find "^step +op +kernel +shapes +MFLOP +MB +where$")
    assert.is_truthy(lines[#lines]:find("^" .. #p .. " steps?, "))
    local found
    for _, s in ipairs(p) do
      if s.op == "matmul" then found = s end
    end
    assert.are.equal(2 * 64 * 32 * 16, found.flops)
    assert.is_truthy(found.line:find "plan_spec.lua:%d+$")
  end)

  it("explain shows pending assignments too", function()
    local v = frt.tensor { 1, 2 }
    v:assign(v:exp())
    local p = T.plan()
    assert.is_true(p.n_steps >= 1)
    assert.are.equal(1, C.frt_pending())
    frt.realize()
  end)

  it("profile runs a function and times the steps of its plan", function()
    local x = frt.ones { 256, 256 }
    local p = frt.profile(function() frt.realize(x:matmul(x)) end)
    assert.is_true(p.seconds > 0)
    assert.is_truthy(printed[1]:find(" ms$"))
  end)

  it("profile passes an error on and stops timing", function()
    assert.is_truthy(V.message(frt.profile, function() frt.zeros { 0 } end):find "a size must be a positive integer")
  end)

  it("memory, threads and device", function()
    local m = frt.memory()
    assert.is_true(m.live >= 0 and m.peak >= m.live and m.arena >= 0)
    local n = C.frt_threads()
    assert.are.equal(1, frt.set_threads(1))
    assert.is_truthy(frt.device():find "^cpu %([%w_]+, 1 threads?%)$")
    frt.set_threads(n)
    assert.are.equal("fp32", frt.set_precision "fp32")
    assert.is_truthy(V.why(frt.set_precision, "fp8"):find "must be 'fp32' or 'bf16', got 'fp8'")
    assert.are.equal("set_threads: 'n' must be between 0 and 1024, got -1", V.why(frt.set_threads, -1))
  end)
end)
