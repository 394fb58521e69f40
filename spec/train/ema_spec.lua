-- averages of weights: decays, what is averaged, and that they follow the plain arithmetic.
local frt = require "foodrt"
local T, ema = require "foodrt.tensor", require "foodrt.train.ema"
local nn = frt.nn
local device = require "spec.support.device"
local C = require("foodrt.core.ffi").C
local plans = require "spec.support.plans"

local function message(fn, ...)
  local ok, why = pcall(fn, ...)
  assert.is_false(ok)
  return (why:gsub("^.*ema_spec.lua:%d+: ", "HERE "))
end

local function network()
  local m = nn.Chain { nn.Conv2d { 4, 3, padding = 1 }, nn.BatchNorm2d {}, nn.ReLU {}, nn.Flatten {}, nn.Linear { 3 } }
  m:build { input = { 4, 3, 5, 5 }, seed = 2 }
  return m
end

local function floats(t)
  local p, get, n = require("foodrt.tensor.record").read(t)
  local out = {}
  for i = 1, n do out[i] = get(p, i - 1) end
  return out
end

local function values(model)
  local out = {}
  for name, t in pairs((model:state_dict())) do
    if t.dtype == "f32" then out[name] = floats(t) end
  end
  return out
end

describe("the decay", function()
  it("warms up as timm's: 0, 0.370, 0.519, 0.798 after 10, 0.990 after 1,000 updates", function()
    local s = ema.settings(0.9998)
    for t, want in pairs { [0] = 0, 0.3700394750525634, 0.5192501432308638, [10] = 0.7978199917664258, [100] = 0.9538909949722393,
      [1000] = 0.9900066611160449, [1000000] = 0.9998 } do
      assert.near(want, ema.decay(s, t), 1e-15)
    end
  end)
  it("is another curve with other gamma and power, and none without warm-up", function()
    local s = ema.settings { decay = 0.9, gamma = 10, power = 1 }
    for t, want in pairs { [0] = 0, 1 / 11, 1 / 6, [10] = 0.5, [100] = 0.9 } do assert.near(want, ema.decay(s, t), 1e-15) end
    s = ema.settings { decay = 0.9, warmup = false }
    assert.same({ 0, 0.9, 0.9 }, { ema.decay(s, 0), ema.decay(s, 1), ema.decay(s, 1000) })
  end)
  it("is 0.9998 unless said otherwise; a phase's own counts before the recipe's", function()
    assert.same({ decay = 0.9998, warmup = true, gamma = 1, power = 2 / 3 }, ema.settings(true))
    assert.is_nil(ema.settings(false))
    assert.equal(0.5, ema.of({ ema = 0.9 }, { ema = 0.5 }).decay)
    assert.equal(0.9, ema.of({ ema = 0.9 }, {}).decay)
    assert.is_nil(ema.of({ ema = 0.9 }, { ema = false }))
    assert.is_nil(ema.of({}, {}))
  end)
  it("refuses what is no decay, at the phase's line too", function()
    assert.equal("HERE ema: 'decay' must be below 1, got 1", message(ema.settings, 1))
    assert.match("HERE ema: 'decay' must be a finite number, got number %(%-?nan%)", message(ema.settings, 0 / 0))
    assert.equal("HERE ema: 'decay' must be at least 0, got -0.1", message(ema.settings, -0.1))
    assert.equal("HERE ema: unknown option 'dekay', did you mean 'decay'?", message(ema.settings, { dekay = 0.9 }))
    assert.equal("HERE ema: 'gamma' must be above 0, got 0", message(ema.settings, { gamma = 0 }))
    assert.equal("HERE ema: 'power' must be above 0, got -1", message(ema.settings, { power = -1 }))
    assert.equal("HERE ema: 'warmup' must be boolean, got number (3)", message(ema.settings, { warmup = 3 }))
    assert.equal("HERE phase: 'ema' must be number or boolean or table, got string ('on')", message(function()
      local p = frt.phase { "all", epochs = 1, optim = frt.optim.sgd {}, ema = "on" }
      return p
    end))
    assert.equal("HERE ema: 'decay' must be below 1, got 2", message(function()
      local p = frt.phase { "all", epochs = 1, optim = frt.optim.sgd {}, ema = 2 }
      return p
    end))
  end)
end)

describe("averages", function()
  after_each(function() T.forget() end)

  -- three steps of sgd; `each` after every one
  local function trained(m, a, each)
    local o, loss = frt.optim.sgd { lr = 0.1 }:attach(m), frt.loss.cross_entropy {}
    local x, y = frt.tensor(frt.arange(0, 300):totable()):reshape(4, 3, 5, 5):sin(), frt.tensor({ 1, 2, 3, 1 }, { dtype = "i32" })
    local params = {}
    for i, e in ipairs(o.entries) do params[i] = e.tensor end
    for _ = 1, 3 do
      local l = loss(m(x), y)
      o:update(params, frt.grad(l, params), {})
      a:update()
      frt.realize(l)
      each()
    end
  end

  for _, backend in ipairs(device.both) do
    it("of weights and batch statistics follow the arithmetic within 1e-6; frozen ones have none: " .. backend, function()
      C.frt_device_use(backend)
      finally(device.home)
      local m = network()
      m:freeze "0"
      local a = ema.new():begin(m, ema.settings { decay = 0.6 })
      local want, t, compiled = {}, 0, nil
      trained(m, a, function()
        local d = t == 0 and 0 or math.min(0.6, 1 - (1 + t) ^ (-2 / 3))
        for name, v in pairs(values(m)) do
          want[name] = want[name] or {}
          for i, x in ipairs(v) do want[name][i] = t == 0 and x or d * want[name][i] + (1 - d) * x end
        end
        t = t + 1
        local n = tonumber(plans.info().compiled)
        assert.is_true(t == 1 or n == compiled)  -- another decay is no other plan
        compiled = n
      end)
      local got, info = a:state_dict(m)
      assert.same({ t = 3 }, info)
      local names = {}
      for name, average in pairs(got) do
        names[#names + 1] = name
        for i, x in ipairs(floats(average)) do assert.near(want[name][i], x, 1e-6) end
      end
      table.sort(names)
      assert.same({ "1.bias", "1.running_mean", "1.running_var", "1.weight", "4.bias", "4.weight" }, names)
      assert.equal((4 * 4 + 3 + 3 * 100) * 4, a:bytes())
    end)
  end

  it("are lent to the model for one call, also one that fails; nothing is copied, frozen parts stay", function()
    local m = network()
    m:freeze "0"
    local a = ema.new():begin(m, ema.settings(0.9))
    trained(m, a, function() end)
    local raw, averages = values(m), {}
    for name, t in pairs((a:state_dict(m))) do averages[name] = floats(t) end
    local bytes = require("foodrt.tensor").bytes
    local at = bytes(m[5].weight)
    a:lend(function(word)
      local seen = values(m)
      for name, v in pairs(raw) do assert.same(averages[name] or v, seen[name]) end
      assert.not_same(raw["4.weight"], seen["4.weight"])
      assert.not_equal(at, bytes(m[5].weight))
      assert.equal("word", word)
    end, "word")
    assert.same(raw, values(m))
    assert.equal(at, bytes(m[5].weight))
    assert.has_error(function()
      a:lend(function()
        m[5].bias:assign(1)
        error("no", 0)
      end)
    end, "no")
    assert.same(raw, values(m))
  end)

  it("of what is trained only later begin as its value; what is frozen later goes on", function()
    local m = network()
    m:freeze "0"
    local a = ema.new():begin(m, ema.settings(0.9))
    trained(m, a, function() end)
    assert.is_false(a:of_frozen(m))
    m:unfreeze()
    a:begin(m, ema.settings(0.5))
    assert.same(floats(m[1].weight), floats((a:state_dict(m))["0.weight"]))
    assert.equal(3, a.t)
    m:freeze "4"
    assert.is_true(a:of_frozen(m))
    local before = floats((a:state_dict(m))["4.weight"])
    trained(m, a, function() end)
    local x = floats(m[5].weight)
    for i, e in ipairs(floats((a:state_dict(m))["4.weight"])) do assert.near(x[i] + (before[i] - x[i]) / 8, e, 1e-6) end
  end)

  it("variables that trade bytes must be alike, owned and without a pending value", function()
    local lib = require "foodrt.core.ffi"
    local function refused(x, y) return message(function() lib.check(C.frt_var_swap(x.ref, y.ref)) end) end
    local a, b = frt.tensor { 1, 2 }, frt.tensor { 3, 4 }
    assert.equal("HERE swap: 'tensor' must be given f32 [2], got f32 [3]", refused(a, frt.tensor { 1, 2, 3 }))
    assert.equal("HERE swap: the tensor's data is borrowed",
      refused(a, T.wrap_data({ 2 }, "f32", require("ffi").new "float[2]")))
    a:assign(b + 1)
    assert.equal("HERE swap: 'tensor' has a pending assignment", refused(a, b))
    frt.realize()
    assert.equal(0, tonumber(C.frt_var_swap(a.ref, b.ref)))
    assert.same({ { 3, 4 }, { 4, 5 } }, { a:totable(), b:totable() })
  end)
end)
