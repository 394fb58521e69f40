-- growth: memory stays where it is over thousands of steps, whatever scripts hold on to.
local frt = require "foodrt"
local T = require "foodrt.tensor"
local R = require "foodrt.tensor.record"
local C = require("foodrt.core.ffi").C
local plans = require "spec.support.plans"
local nn = frt.nn

local function rss()
  local file = assert(io.open "/proc/self/statm")
  local pages = tonumber(file:read("*a"):match "^%d+ (%d+)")
  file:close()
  return pages * 4096
end

local function settled()
  for _ = 1, 3 do T.collect() end
  return rss()
end

describe("memory", function()
  after_each(function()
    T.forget()
    T.collect()
  end)

  it("of 2,000 training steps and 200 evaluations is flat to 1 %", function()
    local m = nn.Module {
      conv = nn.Conv2d { 4, 3, padding = 1 }, bn = nn.BatchNorm2d {}, drop = nn.Dropout { 0.2 }, fc = nn.Linear { 3 },
      forward = function(self, x)
        local y = self.drop(self.bn(self.conv(x)):silu():mean { 3, 4 })
        return self.fc(y)
      end,
    }
    m:build { input = { 4, 3, 8, 8 }, seed = 5 }
    local opt = frt.optim.adamw { lr = 1e-3 }:attach(m)
    local x = T.var { shape = { 4, 3, 8, 8 }, kind = "input" }
    local total = 0
    R.limits(nil, 10000)  -- sweep more often, so that 1,000 steps show all there is
    local function train(n)
      m:train()
      for i = 1, n do
        x:fill_(i % 7)
        opt:zero_grad()
        local loss = (m(x) ^ 2):mean()
        loss:backward()
        opt:step { lr_scale = 1 / i }
        total = total + loss:item()
      end
    end
    local function evaluate(n)
      m:eval()
      for _ = 1, n do total = total + m(x):sum():item() end
    end
    train(1000)
    evaluate(100)
    local start, live = settled(), frt.memory().live
    local compiled = tonumber(plans.info().compiled)
    for _ = 1, 10 do
      train(200)
      evaluate(20)
    end
    local grown = settled() / start - 1
    assert.is_true(grown < 0.01 or plans.is_sanitized(), ("%.2f %% more resident"):format(grown * 100))
    assert.is_true(frt.memory().live <= live, "live bytes grow")
    assert.are.equal(compiled, tonumber(plans.info().compiled))
    assert.is_true(total == total)
    R.limits(nil, 100000)
  end)

  it("a running sum of losses does not hold every step's graph", function()
    local w = frt.tensor({ 1, 2, 3 }):requires_grad_()
    local sum = frt.tensor({ 0 }):sum()
    local nodes
    for i = 1, 300 do
      local loss = (w * w):sum()
      local g = frt.grad(loss, { w })[1]
      sum = sum + loss:detach()
      w:assign(w - g * 0.001)
      frt.realize(sum, loss)
      if i % 100 == 0 then
        T.collect()
        nodes = nodes or C.frt_nodes()
        assert.is_true(C.frt_nodes() <= nodes, ("%d nodes after %d steps, %d after 100"):format(C.frt_nodes(), i, nodes))
      end
    end
  end)

  it("a list of losses holds the losses, not what they came from", function()
    local w = frt.tensor({ 1, 2, 3 }):requires_grad_()
    local losses = {}
    T.collect()
    local before = C.frt_nodes()
    for i = 1, 100 do
      local loss = ((w * w):sum() * 2):exp():tanh()
      local g = frt.grad(loss, { w })[1]
      w:assign(w - g * 0.001)
      frt.realize(loss)
      losses[i] = loss
    end
    T.collect()
    assert.is_true(C.frt_nodes() - before <= 2 * #losses, tostring(C.frt_nodes() - before))
    assert.is_true(losses[1]:item() > 0 and losses[100]:item() > 0)
  end)

  it("a realized value whose variables are unchanged can still be differentiated after a collection", function()
    local w = frt.tensor({ 2, 3 }):requires_grad_()
    local y = (w * w):sum()
    y:item()
    T.collect()
    require("spec.support.values").same({ 4, 6 }, frt.grad(y, { w })[1])
    local a = w * 3
    local b = (a * a):sum()
    frt.realize(a, b)
    w:fill_(0)
    T.collect()
    require("spec.support.values").same({ 12, 18 }, frt.grad(b, { a })[1])
  end)

  it("plans that grow share one arena: mapped bytes follow the largest, not the sum", function()
    C.frt_plans_clear()
    for _ = 1, 2 do T.collect() end
    local before = frt.memory().arena
    local bytes, nodes = R.limits(2 ^ 20)
    for n = 1, 16 do
      local x = frt.ones({ n * 2 ^ 18 }):cumsum(1)  -- 1 MB, 2 MB, ... of intermediates
      assert.are.equal(n * 2 ^ 18, x:max():item())
    end
    R.limits(bytes, nodes)
    local mapped = frt.memory().arena - before
    assert.is_true(mapped < 80 * 2 ^ 20, ("%.0f MB mapped"):format(mapped / 2 ^ 20))
  end)
end)
