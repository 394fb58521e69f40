-- sched: factors against PyTorch's lists (spec/fixtures/optim.lua), warm-up, and what a schedule needs to know.
local frt = require "foodrt"
local golden = dofile "spec/fixtures/optim.lua"

local function check(s, want, total)
  for i, v in ipairs(want.lr) do assert.near(v, s:at(i - 1, total), 1e-9) end
  for i, v in ipairs(want.momentum or {}) do assert.near(v, s:momentum(i - 1, total), 1e-9) end
end

describe("sched", function()
  local sched = frt.sched

  it("one_cycle goes 0.1, 1, 0.001 over 20 steps and momentum the other way", function()
    check(sched.one_cycle { pct_start = 0.3, div_factor = 10, final_div_factor = 100 },
      golden["sched_onecycle_max1_total20_pct.3_div10_final100"], 20)
  end)
  it("one_cycle's defaults are PyTorch's", function()
    check(sched.one_cycle { total_steps = 10 }, golden.sched_onecycle_default_max1_total10)
  end)
  it("cosine falls to eta_min over T_max steps and stays", function()
    local want = golden.sched_cosine_Tmax10.lr
    local s = sched.cosine { eta_min = 0.01, T_max = 10 }
    for i = 1, 11 do assert.near(want[i], s:at(i - 1), 1e-9) end
    assert.near(0.01, s:at(14), 1e-12)
  end)
  it("cosine_restarts jumps back after 5 steps, then after 10", function()
    check(sched.cosine_restarts { T_0 = 5, T_mult = 2, eta_min = 0.01 }, golden.sched_warmrestarts_T5_mult2)
  end)
  it("step, multistep and exponential multiply by gamma", function()
    check(sched.step { step_size = 5, gamma = 0.1 }, golden["sched_step_5_.1"])
    check(sched.multistep { { 3, 7 }, gamma = 0.5 }, golden["sched_multistep_3_7_.5"])
    check(sched.exponential { 0.9 }, golden["sched_exp_.9"])
  end)
  it("step counts epochs when asked to", function()
    local s = sched.step { step_size = 2, gamma = 0.5, unit = "epoch" }
    assert.equal(1, s:at(19, 100, 10))
    assert.equal(0.5, s:at(20, 100, 10))
  end)
  it("poly with power 1 is a straight line", function()
    assert.near(0.75, sched.poly {}:at(25, 100), 1e-12)
  end)
  it("warms up from 0.01 to 1 in 10 steps, as steps, share or epochs", function()
    for _, w in ipairs { 10, 0.1, "2 epochs" } do
      local s = sched.cosine { warmup = w }
      assert.near(0.01, s:at(0, 100, 5), 1e-12)
      assert.near(0.505, s:at(5, 100, 5), 1e-12)
      assert.near(1, s:at(10, 100, 5), 1e-12)
      assert.near(0.5, s:at(55, 100, 5), 1e-12)
    end
  end)
  it("constant leaves momentum alone", function()
    assert.is_nil(sched.constant {}:momentum(3, 10))
    assert.equal(1, sched.constant {}:at(3))
  end)
  it("names what is missing", function()
    local function message(fn)
      local _, why = pcall(fn)
      return (why:gsub("^.*sched_spec.lua:%d+: ", ""))
    end
    assert.equal("one_cycle: needs to know how many steps there are: s:at(step, total) or total_steps = n",
      message(function() return sched.one_cycle {}:at(0) + 0 end))
    assert.equal("no schedule 'cosin', did you mean 'cosine'?", message(function() return sched.cosin {} end))
    assert.equal("cosine: 'warmup' must be steps (500), a share (0.05) or \"2 epochs\", got 'soon'",
      message(function()
        local s = sched.cosine { warmup = "soon" }
        return s
      end))
  end)
end)
