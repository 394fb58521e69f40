-- out of memory: every allocation of a training step, an evaluation and a save is made to fail in turn.
-- The step is done completely or not at all, nothing leaks, and the next one gives the numbers it would have.
local frt = require "foodrt"
local T = require "foodrt.tensor"
local R = require "foodrt.tensor.record"
local C = require("foodrt.core.ffi").C
local O = require "spec.support.op_case"
local nn = frt.nn

-- Every 7th allocation; FOODRT_STRIDE=1 takes them all (20 s).
local STRIDE = tonumber(os.getenv "FOODRT_STRIDE" or "7")
local SAVED = os.tmpname()

local function build()
  local m = nn.Module {
    conv = nn.Conv2d { 4, 3, padding = 1, bias = false }, bn = nn.BatchNorm2d {}, fc = nn.Linear { 3 },
    forward = function(self, x)
      local y = self.bn(self.conv(x)):silu():mean { 3, 4 }
      return self.fc(y)
    end,
  }
  m:build { input = { 2, 3, 6, 6 }, seed = 5 }
  return m, frt.optim.adamw { lr = 1e-2 }:attach(m)
end

local function batch()
  local u, data = O.random(9), {}
  for i = 1, 2 * 3 * 36 do data[i] = 2 * u() - 1 end
  return T.var { shape = { 2, 3, 6, 6 }, data = data, kind = "input" }
end

local function flat(t, out)
  if type(t) == "table" then
    for _, v in ipairs(t) do flat(v, out) end
  else
    out[#out + 1] = t
  end
  return out
end

local function state(m)
  local out = {}
  for name, t in m:named_parameters() do
    out[#out + 1] = name
    flat(t:totable(), out)
  end
  for name, t in m:named_buffers() do
    out[#out + 1] = name
    flat(t:totable(), out)
  end
  return table.concat(out, " ")
end

local function train(m, opt, x)
  m:train()
  opt:zero_grad()
  local loss = (m(x):tanh() ^ 2):mean()
  loss:backward()
  opt:step()
  return loss:item()
end

local function evaluate(m, x)
  m:eval()
  local y = m(x):sum():item()
  local tensors = m:state_dict()
  frt.save(SAVED, tensors)
  return y
end

-- Steps that an undisturbed run takes: { state, loss, evaluation } for 0 .. 3 steps.
local function golden(x)
  local m, opt = build()
  local list = { [0] = { state = state(m) } }
  for i = 1, 3 do
    local loss = train(m, opt, x)
    list[i] = { state = state(m), loss = loss, eval = evaluate(m, x) }
  end
  return list
end

describe("out of memory", function()
  local x, want, retry
  setup(function()
    x = batch()
    want = golden(x)
    retry = R.retry
  end)
  teardown(function()
    os.remove(SAVED)
  end)
  after_each(function()
    R.retry = retry
    C.frt_alloc_fail(-1)
    C.frt_memory_limit(0)
    T.forget()
  end)

  -- One run whose n-th allocation fails; whether it did.
  local function run(n)
    local m, opt = build()
    local _ = x:totable()
    C.frt_plans_clear()
    C.frt_alloc_fail(n)
    local ok, loss = pcall(train, m, opt, x)
    local left = tonumber(C.frt_alloc_left())
    C.frt_alloc_fail(-1)
    local steps
    if ok then
      assert.are.equal(want[1].loss, loss)
      assert.are.equal(want[1].state, state(m))
      steps = 1
    else
      assert.is_truthy(tostring(loss):find "out of memory", loss)
      T.forget()
      local now = state(m)
      steps = now == want[1].state and 1 or 0
      assert.are.equal(want[steps].state, now, "a torn step: " .. loss)
    end
    C.frt_alloc_fail(left)
    local fine, y = pcall(evaluate, m, x)
    left = tonumber(C.frt_alloc_left())
    C.frt_alloc_fail(-1)
    if fine and steps == 1 then
      assert.are.equal(want[1].eval, y)
    elseif not fine then
      assert.is_truthy(tostring(y):find "out of memory", y)
    end
    T.forget()
    assert.are.equal(want[steps].state, state(m))
    assert.are.equal(want[steps + 1].loss, train(m, opt, x))
    assert.are.equal(want[steps + 1].state, state(m))
    assert.are.equal(want[steps + 1].eval, evaluate(m, x))
    return left < 0, not (ok and fine)
  end

  local function live()
    C.frt_plans_clear()
    for _ = 1, 4 do T.collect() end  -- finalizers of finalizers
    return frt.memory().live
  end

  local function sweep(stride, first)
    run(1e9)
    run(1e9)
    local start, n, failed = live(), first or 0, 0
    while true do
      local reached, lost = run(n)
      if not reached then break end
      failed = failed + (lost and 1 or 0)
      n = n + stride
    end
    local rest = live()
    assert.is_true(rest <= start, ("%d bytes leak"):format(rest - start))
    return n, failed
  end

  it("once: a collection and a second try get over it or it is an error, wherever it strikes", function()
    local n = sweep(STRIDE)
    assert.is_true(n > 300, n .. " allocations")
  end)

  it("without a second try: a clean error that leaves a whole step or none", function()
    R.retry = function(fn, ...) return fn(...) end
    local n, failed = sweep(STRIDE, STRIDE > 1 and 3 or 0)
    assert.is_true(failed * STRIDE > n / 2, ("%d errors, %d allocations"):format(failed, n))
  end)

  it("for good, at a limit: the same", function()
    local m, opt = build()
    local _ = x:totable()
    C.frt_plans_clear()
    T.collect()
    C.frt_memory_limit(frt.memory().live + 2000)
    local ok, why = pcall(train, m, opt, x)
    C.frt_memory_limit(0)
    assert.is_false(ok)
    assert.is_truthy(tostring(why):find "^[^:]*memory_spec.lua:%d+: out of memory: .* in use, limit")
    T.forget()
    assert.are.equal(want[0].state, state(m))
    assert.are.equal(want[1].loss, train(m, opt, x))
    assert.are.equal(want[1].state, state(m))
  end)
end)
