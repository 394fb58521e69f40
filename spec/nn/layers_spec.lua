-- layers: each by a value worked out by hand.
local frt = require "foodrt"
local nn = frt.nn

local function near(want, got, tolerance)
  if type(want) == "number" then return assert.near(want, got, tolerance or 1e-6) end
  assert.equal(#want, #got)
  for i = 1, #want do near(want[i], got[i], tolerance) end
end

describe("nn.Linear", function()
  it("is x W' + b", function()
    local m = nn.Linear { 2 }:build { input = { 1, 3 } }
    m.weight:write { { 1, 2, 3 }, { 0, 1, 0 } }
    m.bias:write { 10, 20 }
    near({ { 24, 22 }, { 10, 20 } }, m(frt.tensor { { 1, 2, 3 }, { 0, 0, 0 } }):totable())
  end)
end)

describe("nn.Conv2d", function()
  local function output(o, size)
    local m = nn.Conv2d(o)
    return m(frt.ones { 1, 4, size, size }).shape
  end
  it("pads symmetric as timm: 3 and 5 keep the size, stride 2 halves it", function()
    assert.same({ 1, 8, 9, 9 }, output({ 8, 3, padding = "symmetric" }, 9))
    assert.same({ 1, 8, 5, 5 }, output({ 8, 5, stride = 2, padding = "symmetric" }, 9))
    assert.same({ 1, 8, 5, 5 }, output({ 8, 3, stride = 2, padding = "symmetric" }, 10))
  end)
  it("pads same as TensorFlow: the odd row goes to the bottom", function()
    local m = nn.Conv2d { 1, 3, stride = 2, padding = "same", bias = false }:build { input = { 1, 1, 4, 4 } }
    m.weight:write { { { { 1, 1, 1 }, { 1, 1, 1 }, { 1, 1, 1 } } } }
    near({ { { { 9, 6 }, { 6, 4 } } } }, m(frt.ones { 1, 1, 4, 4 }):totable())
  end)
  it("depthwise has as many groups as channels", function()
    local m = nn.Conv2d { kernel_size = 3, groups = "depthwise", padding = 1 }:build { input = { 1, 4, 5, 5 } }
    assert.same({ 4, 1, 3, 3 }, m.weight.shape)
  end)
  it("says which layer got the wrong input", function()
    local m = nn.Chain { nn.Conv2d { 8, 3 } }:build { input = { 1, 4, 5, 5 } }
    local _, why = pcall(function() m(frt.ones { 1, 3, 5, 5 }) end)
    assert.truthy(why:find("layers_spec.lua:%d+: nn.Conv2d '0': expected 4 channels, got 3$"))
    _, why = pcall(function() m(frt.ones { 1, 3 }) end)
    assert.truthy(why:find("nn.Conv2d '0': expected [N, C, H, W], got [1, 3]", 1, true))
  end)
end)

describe("nn.BatchNorm2d", function()
  local golden = dofile "spec/fixtures/losses.lua".bn_train

  it("normalises by the batch and moves statistics with the unbiased variance", function()
    local x = frt.tensor(golden.x):reshape { 3, 2, 2, 2 }
    local m = nn.BatchNorm2d {}:build { input = { 3, 2, 2, 2 } }
    frt.realize(m(x))
    local mean, var = m.running_mean:totable(), m.running_var:totable()
    for c = 1, 2 do
      assert.near(golden.running_mean[c], mean[c], 1e-6)
      assert.near(golden.running_var[c], var[c], 1e-6)
    end
  end)
  it("uses running statistics in evaluation and leaves them alone", function()
    local m = nn.BatchNorm2d { eps = 0 }:build { input = { 1, 1, 1, 2 } }
    m.running_mean:write { 1 }
    m.running_var:write { 4 }
    m:eval()
    near({ { { { 0, 1 } } } }, m(frt.tensor { { { { 1, 3 } } } }):totable())
    near({ 1 }, m.running_mean:totable())
  end)
  it("refuses a single value per channel in training", function()
    local m = nn.BatchNorm2d {}:build { input = { 1, 3, 1, 1 } }
    local _, why = pcall(function() m(frt.ones { 1, 3, 1, 1 }) end)
    assert.truthy(why:find("nn.BatchNorm2d: training needs more than one value per channel, got [1, 3, 1, 1]", 1, true))
  end)
end)

describe("other norms", function()
  it("LayerNorm of 1 and 3 is -1 and 1", function()
    near({ { -1, 1 } }, nn.LayerNorm { eps = 0 }(frt.tensor { { 1, 3 } }):totable(), 1e-5)
  end)
  it("GroupNorm takes groups of channels together", function()
    local y = nn.GroupNorm { 2, eps = 0 }(frt.tensor { { { { 1 } }, { { 3 } }, { { 5 } }, { { 9 } } } }):totable()
    near({ { { { -1 } }, { { 1 } }, { { -1 } }, { { 1 } } } }, y, 1e-5)
  end)
end)

describe("random layers", function()
  local function mean_of(t)
    local y = t:mean():item()
    return y
  end
  it("Dropout keeps 0.6 of 10000 within 2 %, scales them, and repeats with the seed", function()
    frt.manual_seed(3)
    local m = nn.Dropout { 0.4 }
    local x = frt.ones { 100, 100 }
    local first = m(x)
    assert.near(1, mean_of(first), 0.03)
    assert.near(0.6, mean_of(first:gt(0)), 0.02)
    assert.near(1 / 0.6, first:max():item(), 1e-6)
    local second = m(x)
    assert.is_true(mean_of((first - second):abs()) > 0.1)
    frt.manual_seed(3)
    assert.equal(0, mean_of((m(x) - first):abs()))
    assert.equal(x, m:eval()(x))
  end)
  it("DropPath drops whole photos", function()
    frt.manual_seed(5)
    local y = nn.DropPath { 0.5 }(frt.ones { 64, 3, 2, 2 })
    local per_photo = y:mean({ 2, 3, 4 }):totable()
    local dropped = 0
    for _, v in ipairs(per_photo) do
      assert.is_true(v == 0 or v == 2)
      if v == 0 then dropped = dropped + 1 end
    end
    assert.is_true(dropped > 16 and dropped < 48)
  end)
  it("two layers draw different numbers", function()
    frt.manual_seed(3)
    local m = nn.Module { a = nn.Dropout { 0.5 }, b = nn.Dropout { 0.5 },
      forward = function(self, x) return self.a(x) - self.b(x) end }
    assert.is_true(m(frt.ones { 10, 10 }):abs():mean():item() > 0.1)
  end)
end)

describe("small layers", function()
  it("Embedding takes numbers from 1", function()
    local m = nn.Embedding { 3, 2 }
    local idx = frt.tensor({ { 3, 1 } }, { dtype = "i32" })
    assert.same({ 1, 2, 2 }, m(idx).shape)
    m.weight:write { { 1, 2 }, { 3, 4 }, { 5, 6 } }
    near({ { { 5, 6 }, { 1, 2 } } }, m(idx):totable())
  end)
  it("SqueezeExcite halves everything when its weights are zero", function()
    local m = nn.SqueezeExcite { rd_channels = 2 }:build { input = { 1, 4, 2, 2 } }
    for _, p in m:named_parameters() do p:fill_(0) end
    near(0.5, m(frt.ones { 1, 4, 2, 2 }):mean():item())
    assert.equal(2 * 4 + 2 + 4 * 2 + 4, m:count())
  end)
  it("cat joins features, pools give one number per channel", function()
    local x = frt.tensor { { { { 1, 2 }, { 3, 6 } } } }
    near({ { 3, 6 } }, nn.cat { x:avg_pool2d(), nn.MaxPool2d {}(x) }:totable())
    near({ { { { 3 } } } }, nn.AvgPool2d { 2 }(x):totable())
    near({ { 1, 2, 3, 6 } }, nn.Flatten {}(x):totable())
  end)
  it("activations are modules too", function()
    local x = frt.tensor { -1, 0, 7 }
    near({ 0, 0, 6 }, nn.ReLU6 {}(x):totable())
    near({ -0.01, 0, 7 }, nn.LeakyReLU {}(x):totable())
    near({ -0.26894142, 0, 6.99362265 }, nn.SiLU {}(x):totable())
    near({ -0.15865526, 0, 7 }, nn.GELU {}(x):totable())
  end)
end)
