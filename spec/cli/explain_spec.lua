-- foodrt explain: what it finds, that it needs no photos and computes nothing, and what it refuses.
local process = require "spec.support.process"
local foodrt = process.foodrt
local json = require "foodrt.core.json"

local RECIPE = [[
local frt = require "foodrt"
local nn = frt.nn
return {
  name = "tiny", seed = 3,
  model = nn.Module { body = nn.Conv2d { 8, 3, padding = 1 }, norm = nn.BatchNorm2d {}, fc = nn.Linear { "classes" },
    forward = function(self, x)
      local map = self.norm(self.body(x)):relu()
      return self.fc(map:avg_pool2d())
    end },
  loss = frt.loss.cross_entropy {},
  data = frt.data.folder { "nowhere", size = 32, batch = 16 },
  phases = {
    frt.phase { "head", epochs = 1, freeze = "body", optim = frt.optim.adamw { lr = 1e-2 } },
    frt.phase { "all", epochs = 2, optim = frt.optim.adamw { lr = 1e-4 }, sched = frt.sched.one_cycle {} },
  },
}
]]

describe("foodrt explain", function()
  local dir, recipe
  setup(function()
    dir = process.temp_dir()
    recipe = dir .. "/tiny.lua"
    process.write(recipe, RECIPE)
  end)
  teardown(function() process.remove(dir) end)

  local function found(...)
    local status, out, err = foodrt({ "explain", recipe, "--json", ... }, { dir = dir })
    assert.equal("", err)
    assert.equal(0, status)
    return assert(json.decode(out))
  end

  it("counts 224 + 16 + 909 parameters for the 101 classes it assumes", function()
    local f = found()
    assert.equal(224 + 16 + 8 * 101 + 101, f.parameters)
    assert.equal(16, f.buffers)
    assert.equal("assumed", f.data.source)
    assert.equal(101, f.data.classes)
    assert.equal(16 + 909, f.phases[1].trainable)
    assert.equal(f.parameters, f.phases[2].trainable)
  end)

  it("knows the FLOPs: 2 * 27 * 8 * 32^2 for the convolution of one photo, and its gradients in a step", function()
    local f = found()
    local conv = 2 * 27 * 8 * 32 * 32
    assert.is_true(f.flops_per_photo > conv and f.flops_per_photo < conv * 1.2)
    assert.is_true(f.phases[2].step_flops > 2 * 16 * conv)
    assert.is_true(f.phases[1].step_flops < 2 * 16 * conv)
  end)

  it("gives the rates of 70,700 photos: 4,418 steps at 1e-2, then one cycle up to 1e-4", function()
    local f = found()
    assert.equal(4418, f.phases[1].steps)
    assert.equal(8836, f.phases[2].steps)
    local body, rest = f.learning_rates[1], f.learning_rates[2]
    assert.same({ "body" }, body.parts)
    assert.same({ "norm", "fc" }, rest.parts)
    assert.equal("all", body.points[1].phase)
    assert.near(1e-4 / 25, body.points[1].lr, 1e-12)
    assert.equal(0.01, rest.points[1].lr)
    local peak = 0
    for _, p in ipairs(body.points) do peak = math.max(peak, p.lr) end
    assert.near(1e-4, peak, 1e-6)
  end)

  it("notes a rate that drops a hundredfold from one phase to the next", function()
    local f = found()
    assert.same({ "phase 'all' trains 'norm', 'fc' at 1e-4, phase 'head' did at 0.01: lr = { norm = …, [\"*\"] = … } gives "
      .. "a part a rate of its own" }, f.notes)
  end)

  it("runs nothing by the reference and says so", function()
    local f = found()
    assert.equal(0, f.reference_steps)
    for _, p in ipairs(f.phases) do assert.equal(0, p.reference_steps) end
    local status, out = foodrt({ "explain", recipe }, { dir = dir })
    assert.equal(0, status)
    assert.truthy(out:find("0 by the reference", 1, true))
    assert.truthy(out:find("adamw 0.01; decay 0.01 on 808", 1, true))
  end)

  it("accumulates: two plans, the gradients' sums of two levels of pairs in memory, four times the FLOPs", function()
    local one, four = found(), found("-o", "accumulate=4")
    assert.equal(4, four.phases[2].accumulate)
    assert.equal(0, one.phases[2].memory.sums)
    assert.equal(2 * four.parameters * 4, four.phases[2].memory.sums)
    assert.equal(four.parameters * 4, found("-o", "accumulate=2").phases[2].memory.sums)
    assert.is_true(four.phases[2].step_flops > 3.9 * one.phases[2].step_flops)
    assert.equal(1105, four.phases[1].steps)
  end)

  it("names the batch and accumulation that fit where the recipe's do not", function()
    local f = found("-o", "data.size=1024", "-o", "data.batch=4096")
    assert.is_false(f.fits)
    assert.is_true(f.fitting.batch < 4096)
    assert.equal(4096, f.fitting.batch * f.fitting.accumulate)
    assert.is_true(f.fitting.total < f.available)
    local again = found("-o", "data.size=1024", "-o", "data.batch=" .. f.fitting.batch, "-o", "accumulate=" .. f.fitting.accumulate)
    assert.is_true(again.fits)
  end)

  it("passes errors of the recipe on with their line", function()
    local status, _, err = foodrt({ "explain", recipe, "-o", "data.sise=64" }, { dir = dir })
    assert.equal(2, status)
    assert.truthy(err:find("unknown option 'sise'", 1, true))
    process.write(dir .. "/bad.lua", (RECIPE:gsub("nn.Linear", "nn.Linaer")))
    status, _, err = foodrt({ "explain", "bad.lua" }, { dir = dir })
    assert.equal(1, status)
    assert.truthy(err:find("bad.lua:5: ", 1, true))
  end)

  it("does not run a script", function()
    process.write(dir .. "/script.lua", "print 'ran'")
    local status, out, err = foodrt({ "explain", "script.lua" }, { dir = dir })
    assert.equal(1, status)
    assert.equal("", out)
    assert.equal("foodrt: explain: script.lua is a script, not a recipe: it returns nothing\n", err)
    status, out, err = foodrt({ "explain", "gone.lua" }, { dir = dir })
    assert.equal(1, status)
    assert.equal("", out)
    assert.equal("foodrt: explain: gone.lua: No such file or directory\n", err)
  end)

  it("refuses what it does not know with status 2", function()
    for args, text in pairs {
      ["explain"] = "foodrt: explain: which recipe? foodrt explain RECIPE.lua\n",
      ["explain a b"] = "foodrt: explain: one recipe at a time, got 'a' and 'b'\n",
      ["explain a --jsn"] = "foodrt: explain: unknown option '--jsn', did you mean '--json'?\n",
      ["explain a --threads 0"] = "foodrt: explain: --threads must be a number from 1 to 1024, got '0'\n",
      ["explain a -o"] = "foodrt: explain: -o needs a value\n",
    } do
      local list = {}
      for word in args:gmatch "%S+" do list[#list + 1] = word end
      local status, out, err = foodrt(list)
      assert.equal(2, status)
      assert.equal("", out)
      assert.equal(text, err)
    end
  end)
end)
