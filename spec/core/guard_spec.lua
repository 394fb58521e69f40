-- fields set on what a constructor returned: options are honoured and checked, anything else is an error at its line.
local frt = require "foodrt"
local opt = require "foodrt.core.opt"
local message = require("spec.support.values").message
local nn, adamw = frt.nn, frt.optim.adamw

local function here(text, fn)
  local line = debug.getinfo(fn, "S").linedefined
  assert.equal(("guard_spec.lua:%d: %s"):format(line, text), message(fn))
end

describe("a field set afterwards", function()
  it("that is no option is an error, at its line", function()
    local d, p = frt.data.folder { "photos" }, frt.phase { "all", epochs = 1, optim = adamw {} }
    here("data.folder: unknown option 'weighted'", function() d.weighted = true end)
    here("data.folder: unknown option 'bach', did you mean 'batch'?", function() d.bach = 8 end)
    here("data.manifest: unknown option 'attributes'", function() frt.data.manifest({ "x" }).attributes = "a.csv" end)
    here("phase: unknown option 'freze', did you mean 'freeze'?", function() p.freze = "*" end)
    here("adamw: unknown option 'rate'", function() p.optim.rate = 1 end)
    here("cosine: unknown option 'warmupp', did you mean 'warmup'?", function() frt.sched.cosine({}).warmupp = 2 end)
    here("focal: unknown option 'gama', did you mean 'gamma'?", function() frt.loss.focal({}).gama = 2 end)
    here("augment.flip: 'p' can't be set afterwards, give it to the call: augment.flip { p = … }",
      function() frt.augment.flip({}).p = 1 end)
    here("ensemble: 'wieghts' can't be set afterwards, give it to the call: frt.ensemble { …, wieghts = … }",
      function() frt.ensemble({ "a", "b" }).wieghts = { 1, 2 } end)
  end)

  it("that is one is honoured", function()
    local d, p = frt.data.folder { "photos" }, frt.phase { "all", epochs = 1, optim = adamw {} }
    d.size, d.attributes, p.freeze, p.optim.no_decay = 96, "a.csv", "*", "none"
    assert.same({ 96, "a.csv", "*", "none" }, { d.size, d.attributes, p.freeze, p.optim.no_decay })
    local focal = frt.loss.focal {}
    focal.gamma = 3
    opt.again(focal)
    assert.equal("focal (gamma 3, alpha 1)", tostring(focal))
  end)

  it("is checked with the recipe", function()
    local function checked(change)
      local r = { model = nn.Linear { 2 }, loss = frt.loss.focal {}, data = frt.data.folder { "x" },
        phases = { frt.phase { "all", epochs = 1, optim = adamw {}, sched = frt.sched.cosine {} } } }
      change(r)
      return (message(require("foodrt.train.recipe").check, r, { path = "r.lua", text = "return {}" }):gsub("^r.lua: recipe: ", ""))
    end
    assert.equal("data.folder: 'batch' must be at least 1, got 0", checked(function(r) r.data.batch = 0 end))
    assert.equal("focal: 'gamma' must be at least 0, got -1", checked(function(r) r.loss.gamma = -1 end))
    assert.equal("phase: 'epochs' must be number, got string ('3')", checked(function(r) r.phases[1].epochs = "3" end))
    assert.equal("phase 'all': adamw: 'lr' must be at least 0, got -1", checked(function(r) r.phases[1].optim.lr = -1 end))
    assert.equal("phase 'all': cosine: 'eta_min' must be at least 0, got -1", checked(function(r) r.phases[1].sched.eta_min = -1 end))
  end)
end)
