-- module: names, order, building, freezing, saving and loading, and what is said when something does not fit.
local frt = require "foodrt"
local nn = frt.nn

local function names(iterator)
  local list = {}
  for name in iterator do list[#list + 1] = name end
  return list
end

-- the message without file and line; HERE where it names this file
local function message(fn)
  local ok, why = pcall(fn)
  assert.is_false(ok)
  return (why:gsub("^.*module_spec.lua:%d+: ", "HERE "))
end

local function head_model()
  local m = nn.Module {
    backbone = nn.Chain { nn.Conv2d { 4, 3, padding = 1 }, nn.BatchNorm2d {}, nn.SiLU {} },
    fc = nn.Linear { "classes" },
    forward = function(self, x) return self.fc(self.backbone(x):avg_pool2d()) end,
  }
  return m
end

local function built()
  return head_model():build { input = { 1, 3, 8, 8 }, classes = 5, seed = 17 }
end

describe("nn.Module", function()
  it("names parameters by table keys and positions, in construction order", function()
    assert.same({ "backbone.0.weight", "backbone.0.bias", "backbone.1.weight", "backbone.1.bias", "fc.weight", "fc.bias" },
      names(built():named_parameters()))
    assert.same({ "backbone.1.running_mean", "backbone.1.running_var" }, names(built():named_buffers()))
    assert.same({ "", "backbone", "backbone.0", "backbone.1", "backbone.2", "fc" }, names(built():modules()))
  end)
  it("keeps construction order whatever the keys are called", function()
    local m = nn.Module { z = nn.Linear { 2 }, a = nn.Linear { 3 }, m = nn.Linear { 4 },
      forward = function(self, x) return self.m(self.a(self.z(x))) end }
    m:build { input = { 1, 2 } }
    assert.same({ "z.weight", "z.bias", "a.weight", "a.bias", "m.weight", "m.bias" }, names(m:named_parameters()))
  end)
  it("counts 4*27+4 + 8 + 5*4+5 = 145 parameters, and those a glob covers", function()
    local m = built()
    assert.equal(145, m:count())
    assert.equal(25, m:count "fc")
    assert.equal(112, m:count "backbone.[0]")
    assert.equal(4, m:count "*.0.bias")
    assert.equal("HERE count: 'fcc' matches nothing in the model, did you mean 'fc'?", message(function() m:count "fcc" end))
  end)
  it("is built by the first call when nobody built it", function()
    local m = nn.Linear { 3 }
    assert.same({ 2, 3 }, m(frt.ones { 2, 4 }).shape)
    assert.same({ 3, 4 }, m.weight.shape)
    assert.equal("HERE nn.Linear: expected 4 features, got 5", message(function() m(frt.ones { 2, 5 }) end))
  end)
  it("draws initial values by seed and name, not by order", function()
    local a, b = built(), built()
    assert.same(a.fc.weight:totable(), b.fc.weight:totable())
    local other = head_model():build { input = { 1, 3, 8, 8 }, classes = 5, seed = 18 }
    assert.are_not.same(a.fc.weight:totable(), other.fc.weight:totable())
    local bound = 1 / math.sqrt(4)
    for _, row in ipairs(a.fc.weight:totable()) do
      for _, v in ipairs(row) do assert.is_true(math.abs(v) <= bound) end
    end
  end)
  it("says that the number of classes is not known", function()
    local m = head_model()
    assert.equal("HERE nn.Linear: how many 'classes' there are is known once there is data: give a number, or build with classes = n",
      message(function() m:build { input = { 1, 3, 8, 8 } } end))
  end)
  it("says what to do when widths are not known yet", function()
    local m = nn.Linear { 3 }
    assert.equal(
      "HERE nn.Linear: parameters get their shapes on the first call: m:build { input = { n, 3, h, w } } makes them without data",
      message(function() m:count() end))
  end)
  it("switches every part between training and evaluation", function()
    local m = built()
    m:eval()
    for _, part in m:modules() do assert.is_false(part.training) end
    m:train()
    for _, part in m:modules() do assert.is_true(part.training) end
  end)
  it("takes parameters of its own", function()
    local m = nn.Module { scale = nn.Parameter { 1, 3, init = 2 }, fc = nn.Linear { 2 },
      forward = function(self, x) return self.fc(x * self.scale) end }
    m:build { input = { 1, 3 } }
    assert.same({ "scale", "fc.weight", "fc.bias" }, names(m:named_parameters()))
    assert.same({ { 2, 2, 2 } }, m.scale:totable())
  end)
  it("a replaced child takes its place and its name", function()
    local m = built()
    m.fc = nn.Linear { 7 }
    assert.same({ 2, 7 }, m(frt.ones { 2, 3, 8, 8 }).shape)
    assert.equal("fc.weight", m.fc.weight.name)
    assert.equal(112 + 8 + 35, m:count())
  end)
  it("refuses tables of layers, taken names, unknown layers and modules without forward", function()
    local function forward() end
    assert.equal("HERE Module: 'blocks' is a plain table of layers, write nn.List { … } or nn.Chain { … }", message(function()
      local m = nn.Module { blocks = { nn.Linear { 2 } }, forward = forward }
      return m
    end))
    assert.equal("HERE Module: the name 'train' is taken by every module, choose another", message(function()
      local m = nn.Module { train = nn.Linear { 2 }, forward = forward }
      return m
    end))
    assert.equal("HERE nn has no layer 'Conv3d', did you mean 'Conv2d'?", message(function()
      local m = nn.Conv3d { 2 }
      return m
    end))
    assert.equal("HERE nn.Module: needs forward = function(self, x) … end", message(function()
      local m = nn.Module { fc = nn.Linear { 2 } }
      return m
    end))
  end)
  it("refuses a layer with parameters that nobody holds", function()
    local loose = nn.Linear { 2 }
    local m = nn.Module { fc = nn.Linear { 2 }, forward = function(self, x) return self.fc(loose(x)) end }
    assert.truthy(message(function() m:build { input = { 1, 2 } } end)
      :find("is called inside nn.Module but is not part of it: put it into the module's table", 1, true))
  end)
end)

describe("errors inside a model", function()
  it("name the line of the recipe's forward, and the layer", function()
    local m = nn.Module { backbone = nn.Chain { nn.Conv2d { 4, 3 } },
      forward = function(self, x)
        local map = self.backbone(x)
        local rows = map:reshape { -1, 7 }
        return rows
      end }
    local line = debug.getinfo(1, "l").currentline - 4
    local _, why = pcall(m.build, m, { input = { 1, 3, 8, 8 } })
    assert.truthy(why:find(("module_spec.lua:%d: reshape: "):format(line + 1), 1, true), why)
    _, why = pcall(m, frt.ones { 3, 8 })
    assert.truthy(why:find(("module_spec.lua:%d: nn.Conv2d 'backbone.0': expected [N, C, H, W], got [3, 8]"):format(line), 1, true),
      why)
  end)
  it("name the line of a tail call, too", function()
    local m = nn.Module { fc = nn.Linear { 2 },
      forward = function(self, x)
        local y = x * 2
        return self.fc(y)
      end }
    m:build { input = { 1, 3 } }
    local line = debug.getinfo(1, "l").currentline - 3
    local _, why = pcall(m, frt.ones { 1, 4 })
    assert.truthy(why:find(("module_spec.lua:%d: nn.Linear 'fc': expected 3 features, got 4"):format(line), 1, true), why)
    local steps = require "foodrt.tensor".plan(m(frt.ones { 1, 3 }))
    for _, step in ipairs(steps) do
      if step.op == "matmul" then assert.truthy(step.line:find("module_spec.lua:" .. line, 1, true), step.line) end
    end
  end)
  it("leave nothing behind: live bytes are back after a model is dropped", function()
    local collect = require "foodrt.tensor".collect
    collect()
    local before = frt.memory().live
    local m = frt.models.efficientnet_lite0 {}:build {}
    assert.is_true(frt.memory().live > before + 4 * m:count())
    m = nil -- luacheck: ignore
    collect()
    collect()
    assert.equal(before, frt.memory().live)
  end)
end)

describe("freezing", function()
  it("stops gradients and batch statistics of what the glob covers", function()
    local m = built()
    m:freeze "backbone"
    assert.equal(25, m:count_trainable())
    local mean = m.backbone[2].running_mean
    m(frt.ones { 2, 3, 8, 8 })
    frt.realize()
    assert.same({ 0, 0, 0, 0 }, mean:totable())
    m:unfreeze()
    assert.equal(145, m:count_trainable())
    frt.realize(m(frt.ones { 2, 3, 8, 8 }))
    assert.are_not.same({ 0, 0, 0, 0 }, mean:totable())
  end)
  it("keeps batch statistics moving when asked to", function()
    local m = built()
    m:freeze("backbone.*", { bn = "train" })
    assert.equal(25, m:count_trainable())
    frt.realize(m(frt.ones { 2, 3, 8, 8 }))
    assert.are_not.same({ 0, 0, 0, 0 }, m.backbone[2].running_mean:totable())
  end)
  it("works before the model is built", function()
    local m = head_model()
    m:freeze { "backbone", "fc.bias" }
    m:build { input = { 1, 3, 8, 8 }, classes = 5 }
    assert.equal(20, m:count_trainable())
    m:unfreeze "backbone.0"
    assert.equal(132, m:count_trainable())
  end)
  it("a glob that matches nothing is an error with a suggestion", function()
    assert.equal("HERE freeze: 'bakbone' matches nothing in the model, did you mean 'backbone'?",
      message(function() head_model():freeze "bakbone" end))
  end)
  it("globs cover whole components", function()
    assert.is_true(nn.match("backbone.blocks.[0-3]", "backbone.blocks.2.1.conv_pw.weight"))
    assert.is_false(nn.match("backbone.blocks.[0-3]", "backbone.blocks.12.bias"))
    assert.is_false(nn.match("backbone.block", "backbone.blocks.0"))
    assert.is_true(nn.match("*.bias", "fc.bias"))
    assert.is_false(nn.match("*.bias", "a.b.bias"))
    assert.is_true(nn.match("blocks.[!01]", "blocks.2.weight"))
  end)
end)

describe("state_dict", function()
  it("has num_batches_tracked for PyTorch and loads back, whatever it holds", function()
    local a, b = built(), built()
    local dict, order = a:state_dict()
    assert.same({ "backbone.0.weight", "backbone.0.bias", "backbone.1.weight", "backbone.1.bias", "backbone.1.running_mean",
      "backbone.1.running_var", "backbone.1.num_batches_tracked", "fc.weight", "fc.bias" }, order)
    assert.equal("i64", dict["backbone.1.num_batches_tracked"].dtype)
    assert.same({}, dict["backbone.1.num_batches_tracked"].shape)
    a.fc.weight:fill_(3)
    b:load_state_dict(dict)
    assert.same({ 3, 3, 3, 3 }, b.fc.weight:totable()[1])
  end)
  it("lists missing, unexpected and misshapen names in one error", function()
    local m = built()
    local dict = m:state_dict()
    dict["fc.weight"], dict.extra, dict["backbone.0.bias"] = frt.ones { 5, 9 }, frt.ones { 1 }, nil
    assert.equal("HERE load_state_dict: 1 with another shape: fc.weight is [5, 9], expected [5, 4]; 1 missing: backbone.0.bias; "
      .. "1 unexpected: extra", message(function() m:load_state_dict(dict) end))
    dict["fc.weight"] = frt.ones { 5, 4 }
    local report = m:load_state_dict(dict, { strict = false })
    assert.same({ "backbone.0.bias" }, report.missing)
    assert.same({ "extra" }, report.unexpected)
    assert.same({ 1, 1, 1, 1 }, m.fc.weight:totable()[1])
  end)
  it("goes through a file and back", function()
    local path = os.tmpname() .. ".safetensors"
    local a, b = built(), head_model():build { input = { 1, 3, 8, 8 }, classes = 5, seed = 1 }
    a:save(path)
    b:load(path)
    os.remove(path)
    assert.same(a.fc.weight:totable(), b.fc.weight:totable())
  end)
end)
