-- terms: (sum, weight) of a loss, so that no number depends on how photos are put into batches; labels that are missing.
local frt = require "foodrt"
local losses = require "foodrt.train.loss"
local meter = require "foodrt.train.metric.meter"

local ROWS = { { 2, 0.5, -1 }, { 0.1, 0.2, 0.3 }, { -1, 1, 3 }, { 0, 2, 0 }, { 1, 1, 0 }, { 3, 0, 1 } }
local LABELS = { 1, 3, 0, 2, 2, 1 }
local WEIGHT = { 0.5, 4, 0 }

local function part_of(from, to)
  local x, y = {}, {}
  for i = from, to do x[#x + 1], y[#y + 1] = ROWS[i], LABELS[i] end
  return frt.tensor(x), frt.tensor(y, { dtype = "i32" }), #x
end

-- the loss of all photos, added up batch by batch
local function in_batches(loss, sizes)
  local m, from = meter.new { metrics = { "top1", "f1" } }, 1
  for _, n in ipairs(sizes) do
    local x, y = part_of(from, from + n - 1)
    m:record { logits = x, labels = y, part = losses.part(loss, x, y, { n = n }) }
    frt.realize()
    from = from + n
  end
  return m:values()
end

local function nll(i, y)
  local sum = 0
  for _, v in ipairs(ROWS[i]) do sum = sum + math.exp(v) end
  return math.log(sum) - ROWS[i][y]
end

describe("the terms of a loss", function()
  local KINDS = {
    cross_entropy = frt.loss.cross_entropy {}, weighted = frt.loss.cross_entropy { weight = WEIGHT },
    smoothed = frt.loss.cross_entropy { weight = WEIGHT, smoothing = 0.2 }, focal = frt.loss.focal { alpha = { 1, 2, 3 } },
    focal_smoothed = frt.loss.focal { smoothing = 0.1 }, bce = frt.loss.bce { smoothing = 0.1 },
  }
  for name, loss in pairs(KINDS) do
    it(name .. " is the same in batches of 6, of 4 and 2, of 1, and as its mean", function()
      local whole = in_batches(loss, { 6 })
      local x, y = part_of(1, 6)
      assert.near(loss(x, y):item(), whole.loss, 1e-6)
      for _, sizes in ipairs { { 4, 2 }, { 2, 2, 2 }, { 1, 1, 1, 1, 1, 1 } } do
        local v = in_batches(loss, sizes)
        assert.near(whole.loss, v.loss, 1e-6)
        assert.same({ whole.n, whole.top1, whole.f1 }, { v.n, v.top1, v.f1 })
      end
      assert.equal(5, whole.n)
    end)
  end

  it("a photo without a label counts for nothing: cross entropy of the five others by hand", function()
    local want = (nll(1, 1) + nll(2, 3) + nll(4, 2) + nll(5, 2) + nll(6, 1)) / 5
    assert.near(want, in_batches(KINDS.cross_entropy, { 6 }).loss, 1e-6)
    local x, y = part_of(1, 6)
    x:requires_grad_()
    KINDS.cross_entropy(x, y):backward()
    frt.realize()
    assert.same({ 0, 0, 0 }, x.grad:totable()[3])
  end)

  it("class weights divide by the weights of the labels that are there", function()
    local sum = 0.5 * nll(1, 1) + 4 * nll(4, 2) + 4 * nll(5, 2) + 0.5 * nll(6, 1)
    assert.near(sum / 9, in_batches(KINDS.weighted, { 6 }).loss, 1e-6)
  end)

  it("where no photo has a weight the loss is 0 and so is the gradient; such batches are counted", function()
    local x, y = frt.tensor { ROWS[2], ROWS[3] }, frt.tensor({ 3, 0 }, { dtype = "i32" })
    x:requires_grad_()
    local l = KINDS.weighted(x, y)
    l:backward()
    assert.equal(0, l:item())
    assert.same({ { 0, 0, 0 }, { 0, 0, 0 } }, x.grad:totable())
    assert.equal(1, in_batches(KINDS.weighted, { 1, 2, 3 }).empty)
  end)

  it("soft targets with class weights divide by the weights of the targets: one-hot ones give what labels do", function()
    local x = frt.tensor { ROWS[1], ROWS[4] }
    local soft = frt.tensor { { 1, 0, 0 }, { 0, 1, 0 } }
    local hard = frt.tensor({ 1, 2 }, { dtype = "i32" })
    for _, loss in ipairs { KINDS.weighted, KINDS.cross_entropy, KINDS.focal } do
      assert.near(loss(x, hard):item(), loss(x, soft):item(), 1e-6)
    end
  end)

  it("bce leaves out what is not known: below 0 and NaN", function()
    local x = frt.tensor { { 1, -2, 3 } }
    local y = frt.tensor { { 1, -1, 0 / 0 } }
    assert.near(math.log(1 + math.exp(-1)), frt.loss.bce {}(x, y):item(), 1e-6)
    local sum, weight = frt.loss.bce {}:terms(x, y)
    assert.near(math.log(1 + math.exp(-1)) / 3, sum:item(), 1e-6)
    assert.near(1 / 3, weight:item(), 1e-6)
  end)

  it("a plain function is a mean of weight n, a sum too", function()
    local x, y = part_of(1, 2)
    local part = losses.part(function(logits) return logits:sum() end, x, y, { n = 2 })
    assert.equal(2, part.weight)
    assert.near(2 * 2.1, losses.sum(part):item(), 1e-5)
    part = losses.part(frt.loss.cross_entropy { reduction = "sum" }, x, y, { n = 2 })
    assert.equal(2, part.weight)
  end)

  it("losses of one's own are modules: parameters are made at the first call, terms say the weight", function()
    local loss = frt.nn.Module { scale = frt.nn.Parameter { 1, init = 2 },
      terms = function(self, logits, y) return (logits * self.scale):sum(), y:numel() end,
      forward = function(self, logits) return (logits * self.scale):mean() end }
    losses.build(loss, { "a", "b", "c" }, 1)
    assert.equal(1, loss:count())
    assert.equal(2, loss.scale:totable()[1])
    local custom = frt.loss.define({ "hinge", reduction = frt.loss.REDUCTION }, {
      rows = function(_, logits) return (1 - logits):relu():sum(2), nil, logits.shape[1] end,
      describe = function() return "hinge" end })
    local l = custom {}
    assert.equal("hinge", tostring(l))
    assert.near((0 + 0.5 + 2 + 0.9 + 0.8 + 0.7) / 2, l(part_of(1, 2)):item(), 1e-6)
  end)
end)

describe("metrics of one's own", function()
  frt.metrics.define { "balanced", needs = { "tp", "support" }, value = function(c)
    local sum, n = 0, 0
    for k, support in ipairs(c.support) do
      if support > 0 then sum, n = sum + c.tp[k] / support, n + 1 end
    end
    return sum / n
  end }
  frt.metrics.define { "far", direction = "min", digits = 1,
    count = { distance = function(b) return (b.pred:to "f32" - b.safe:to "f32"):abs():sum() end },
    value = function(c) return c.distance / c.n end }

  it("count what they need on the device: recall by class by hand", function()
    local m = frt.metrics.new { "balanced", "far" }
    m:add(frt.tensor { { 1, 0, 0 }, { 1, 0, 0 }, { 0, 1, 0 }, { 1, 0, 0 } }, { 1, 1, 2, 3 })
    assert.near((1 + 1 + 0) / 3, m:values().balanced, 1e-9)
    assert.near(2 / 4, m:values().far, 1e-9)
  end)

  it("must say what they are: names, counts", function()
    local ok, why = pcall(frt.metrics.define, { "x", needs = { "tpp" }, value = function() return 0 end })
    assert.is_false(ok)
    assert.match("metric 'x': no count 'tpp', did you mean 'tp'%?$", why)
  end)

  it("21,841 classes take memory by the class, not by its square", function()
    local K = 21841
    local m = meter.new { metrics = { "top1", "top5", "f1" }, per_class = true }
    local before = frt.memory().live
    local y = frt.tensor({ 1, K, 7 }, { dtype = "i32" })
    local x = y:one_hot { classes = K }
    m:record { logits = x, labels = y }
    frt.realize()
    assert.is_true(frt.memory().live - before < 4 * K * 16)
    local v = m:values()
    assert.same({ 1, 1, 1, 3 }, { v.top1, v.top5, v.f1, v.n })
    assert.equal(1, m:per_class()[K].support)
    assert.is_true(m:bytes(K) < 4 * K * 4)
  end)

  it("sums of many photos stay exact: 3,000 losses of 0.1 are 300 to seven digits", function()
    local m = meter.new {}
    for _ = 1, 3000 do
      m:record { part = { sum = frt.full({ 1 }, 0.1):sum(), weight = 1 } }
      frt.realize()
    end
    assert.near(0.1, m:values().loss, 1e-8)
  end)
end)
