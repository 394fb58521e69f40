-- loss: values and gradients against PyTorch in float64 (spec/fixtures/losses.lua), and what inputs are refused.
local frt = require "foodrt"
local golden = dofile "spec/fixtures/losses.lua"

local N, K = 4, 5

-- the fixture's flat list as a tensor [N, K]
local function matrix(flat)
  local t = frt.tensor(flat):reshape { N, K }
  return t
end

local function logits()
  local rows = {}
  for i = 1, N do
    rows[i] = {}
    for j = 1, K do rows[i][j] = golden.input.logits[(i - 1) * K + j] end
  end
  return frt.tensor(rows):requires_grad_()
end

local function labels()
  local y = {}
  for i, v in ipairs(golden.input.targets) do y[i] = v + 1 end
  return frt.tensor(y, { dtype = "i32" })
end

-- fp32 against float64: 1e-6 on a loss near 1 is eight units in the last place
local function check(loss, target, want)
  local x = logits()
  local l = loss(x, target)
  l:backward()
  assert.near(want.loss, l:item(), 1e-6 * math.max(1, want.loss))
  local got = x.grad:totable()
  for i = 1, N * K do
    assert.near(want.grad[i], got[math.floor((i - 1) / K) + 1][(i - 1) % K + 1], 1e-6)
  end
end

describe("loss", function()
  local weight = golden.input.class_weight

  it("cross_entropy is 2.7985 on the fixture, with its gradient", function()
    check(frt.loss.cross_entropy {}, labels(), golden.ce)
  end)
  it("cross_entropy with class weights divides by the weights of the labels", function()
    check(frt.loss.cross_entropy { weight = weight }, labels(), golden.ce_weighted)
  end)
  it("cross_entropy smooths over all classes, the right one too", function()
    check(frt.loss.cross_entropy { smoothing = 0.1 }, labels(), golden["ce_smooth0.1"])
  end)
  it("cross_entropy smooths with class weights as PyTorch", function()
    check(frt.loss.cross_entropy { smoothing = 0.1, weight = weight }, labels(), golden["ce_smooth0.1_weighted"])
  end)
  it("cross_entropy takes soft targets", function()
    check(frt.loss.cross_entropy {}, matrix(golden.soft_target), golden.soft_ce)
  end)
  it("focal with gamma 2 and alpha 1 is 2.3993 on the fixture", function()
    check(frt.loss.focal { gamma = 2, alpha = 1 }, labels(), golden.focal_g2_a1)
  end)
  it("focal with gamma 1.5 and alpha 0.25", function()
    check(frt.loss.focal { gamma = 1.5, alpha = 0.25 }, labels(), golden["focal_g1.5_a0.25"])
  end)
  it("focal with gamma 0 is cross entropy", function()
    check(frt.loss.focal { gamma = 0 }, labels(), golden.ce)
    check(frt.loss.focal { gamma = 0, smoothing = 0.1 }, labels(), golden["ce_smooth0.1"])
  end)
  it("focal multiplies by the label's alpha and divides by the photos", function()
    local each = frt.loss.focal { reduction = "none" }(logits(), labels()):totable()
    local want = 0
    for i, v in ipairs(each) do want = want + v * weight[golden.input.targets[i] + 1] / N end
    assert.near(want, frt.loss.focal { alpha = weight }(logits(), labels()):item(), 1e-6)
  end)
  it("focal of one-hot targets is focal of the labels", function()
    local soft = labels():one_hot { classes = K }
    check(frt.loss.focal {}, soft, golden.focal_g2_a1)
  end)
  it("bce is the mean over photos and classes", function()
    check(frt.loss.bce {}, matrix(golden.bce_targets), golden.bce_logits_mean)
  end)
  it("kl is the batch mean times the squared temperature", function()
    local teacher = matrix(golden.kd_teacher)
    check(frt.loss.kl { temperature = 1 }, teacher, golden.kd_kl_batchmean_T1_timesT2)
    check(frt.loss.kl { temperature = 4 }, teacher, golden.kd_kl_batchmean_T4_timesT2)
  end)
  it("mse of { 1, 2 } and { 3, 5 } is 6.5", function()
    assert.near(6.5, frt.loss.mse {}(frt.tensor { 1, 2 }, frt.tensor { 3, 5 }):item(), 1e-6)
  end)
  it("stays finite for logits of 1000", function()
    local x = frt.tensor({ { 1000, -1000 }, { -1000, 1000 } }):requires_grad_()
    for _, name in ipairs { "cross_entropy", "focal", "bce" } do
      x.grad = nil
      local l = frt.loss[name] {}(x, frt.tensor({ 1, 1 }, { dtype = "i32" }))
      l:backward()
      assert.near(name == "bce" and 500 or 1000, l:item(), 1e-3)
      for _, row in ipairs(x.grad:totable()) do
        for _, v in ipairs(row) do assert.is_true(math.abs(v) < 10, name) end
      end
    end
  end)
  it("says what it is", function()
    assert.equal("focal (gamma 2, alpha per class)", tostring(frt.loss.focal { alpha = { 1, 2 } }))
    assert.equal("cross_entropy (smoothing 0.1)", frt.loss.cross_entropy { smoothing = 0.1 }.describe)
  end)
  it("refuses what does not fit, at the caller's line", function()
    local function message(fn)
      local _, why = pcall(fn)
      return (why:gsub("^.*loss_spec.lua:%d+: ", "HERE "))
    end
    assert.equal("HERE no loss 'focl', did you mean 'focal'?", message(function() return frt.loss.focl {} end))
    assert.equal("HERE focal: unknown option 'gama', did you mean 'gamma'?", message(function()
      local l = frt.loss.focal { gama = 2 }
      return l
    end))
    assert.equal("HERE cross_entropy: 'weight' has 2 numbers, there are 5 classes", message(function()
      local l = frt.loss.cross_entropy { weight = { 1, 2 } }(logits(), labels())
      return l
    end))
    assert.equal("HERE cross_entropy: labels must be [4], got [3]", message(function()
      local l = frt.loss.cross_entropy {}(logits(), frt.tensor({ 1, 2, 3 }, { dtype = "i32" }))
      return l
    end))
  end)
end)
