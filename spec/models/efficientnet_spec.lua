-- efficientnet: keys against timm's, logits and gradient norms against PyTorch in float64 with weights that follow from the
-- parameters' names (spec/fixtures).
local frt = require "foodrt"
local golden = dofile "spec/support/golden.lua"
local goldens = dofile "spec/fixtures/efficientnet.lua"
local keys = dofile "spec/fixtures/timm_keys.lua"
local fill, numbers, key_text = golden.fill, golden.numbers, golden.key_text

describe("the fill rule", function()
  it("starts conv_stem.weight with 0.46950936, as in Python", function()
    assert.equal(0x4f2714ee7941f359ULL, fill.fnv1a64 "conv_stem.weight")
    local u = require "ffi".new "float[4]"
    fill.write(u, 4, "conv_stem.weight", 0, 1)
    assert.near(0.46950936, u[0], 1e-8)
    assert.near(0.0464983, u[3], 1e-8)
  end)
end)

describe("timm's keys", function()
  it("of efficientnet_b0, all 360 in order", function()
    local want = {}
    for _, entry in ipairs(keys.b0_list) do
      local bn, width = entry:match "^(.*)%.%* (%d+)$"
      if bn then
        for _, leaf in ipairs { "weight", "bias", "running_mean", "running_var" } do
          want[#want + 1] = bn .. "." .. leaf .. " " .. width
        end
        want[#want + 1] = bn .. ".num_batches_tracked "
      else
        want[#want + 1] = entry
      end
    end
    local text, n = key_text(frt.models.efficientnet_b0 {}:build { values = false })
    assert.equal(360, n)
    local i = 0
    for line in text:gmatch "([^\n]*)\n" do
      i = i + 1
      assert.equal(want[i], line)
    end
  end)
end)

-- measured for fp32 against float64 in PyTorch itself: 1.4e-5 in training, 7e-5 in evaluation
describe("logits", function()
  for _, key in ipairs { "efficientnet_b0", "efficientnet_b4", "tf_efficientnet_lite0@96" } do
    local g = goldens[key]
    it(("of %s at %d: norm %.4f in training, then %.4f in evaluation"):format(key, g.size, g.train_l2, g.eval_l2), function()
      golden.check_modes(key:match "^[^@]+", g, 3e-4)
    end)
  end
end)

describe("gradients of one training step", function()
  -- Each parameter's norm within 1e-3 of its own or 1e-4 of the whole (a bias before a batch norm has gradient 0). ReLU6 has
  -- kinks: an activation that falls on their other side in fp32 moves single norms by some 1e-3.
  local cases = { { "efficientnet_b0", "efficientnet_b0/train", { 1e-3, 1e-4 } },
    { "tf_efficientnet_lite0", "tf_efficientnet_lite0@64/train", { 5e-3, 0.05 } } }
  for _, case in ipairs(cases) do
    local name, key, tolerance = unpack(case)
    local g = goldens[key]
    g.size = g.size or 64
    it(("of %s: loss %.4f, norm %.4f, and batch statistics"):format(name, g.loss, g.grad_l2_total), function()
      golden.check_step(name, g, tolerance)
    end)
  end
end)

describe("initial values", function()
  local function moments(t)
    local buf, n = numbers(t)
    local sum, square, largest = 0, 0, 0
    for i = 0, n - 1 do
      sum, square, largest = sum + buf[i], square + buf[i] * buf[i], math.max(largest, math.abs(buf[i]))
    end
    return sum / n, math.sqrt(square / n), largest
  end
  it("are timm's: convolutions N(0, 2/fan_out), the classifier U(-1/sqrt(classes)), norms 1 and 0", function()
    local m = frt.models.efficientnet_b0 { classes = 100 }:build { seed = 17 }
    local mean, deviation = moments(m.conv_head.weight)
    assert.near(0, mean, 2e-4)
    assert.near(math.sqrt(2 / 1280), deviation, 2e-4)
    local _, depthwise = moments(m.blocks[7][1].conv_dw.weight)
    assert.near(math.sqrt(2 / 9), depthwise, 0.01)
    local _, spread, largest = moments(m.classifier.weight)
    assert.near(0.1 / math.sqrt(3), spread, 1e-3)
    assert.is_true(largest <= 0.1)
    assert.equal(0, select(3, moments(m.classifier.bias)))
    assert.equal(1, (moments(m.bn1.weight)))
    assert.equal(0, (moments(m.bn1.running_mean)))
    assert.equal(1, (moments(m.bn1.running_var)))
  end)
end)

describe("frt.models", function()
  local function message(fn)
    local ok, why = pcall(fn)
    assert.is_false(ok)
    return (why:gsub("^.*efficientnet_spec.lua:%d+: ", "HERE "))
  end

  it("lists names by glob", function()
    assert.same({ "efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2", "efficientnet_lite3", "efficientnet_lite4" },
      frt.models.list "efficientnet_li*")
    assert.equal(30, #frt.models.list "*efficientnet_*")
  end)
  it("suggests a name, an option", function()
    assert.equal("HERE no model 'eficientnet_b0', did you mean 'efficientnet_b0'? (frt.models.list() names them)",
      message(function() return frt.models.eficientnet_b0 {} end))
    assert.equal("HERE efficientnet_b0: unknown option 'clases', did you mean 'classes'?", message(function()
      local m = frt.models.efficientnet_b0 { clases = 3 }
      return m
    end))
  end)
  it("without a head gives the map, and has no classifier", function()
    local m = frt.models.efficientnet_b0 { head = false }
    assert.same({ 2, 1280, 2, 2 }, m(frt.zeros { 2, 3, 64, 64 }).shape)
    assert.equal(5288548 - 1281000, m:count())
  end)
  it("features then classify is the model", function()
    local m = frt.models.efficientnet_b0 { classes = 7 }:eval()
    assert.same({ 1, 7 }, m(frt.zeros { 1, 3, 32, 32 }).shape)
    assert.same({ 1, 7 }, m:classify(m:features(frt.zeros { 1, 3, 32, 32 })).shape)
  end)
  it("knows the photos it wants", function()
    assert.equal(320, frt.models.efficientnet_b4 {}.preprocess.size)
    assert.equal(0.922, frt.models.tf_efficientnet_b4 {}.preprocess.crop_pct)
    assert.same({ 0.5, 0.5, 0.5 }, frt.models.tf_efficientnet_lite0 {}.preprocess.mean)
  end)
  it("drop_path grows with depth: 0 in the first block, 0.2 * 15/16 in the last", function()
    local m = frt.models.efficientnet_b0 { drop_path_rate = 0.2 }
    assert.near(0.2 * 2 / 16, m.blocks[2][2].drop_path.p, 1e-12)
    assert.is_nil(rawget(m.blocks[7][1], "drop_path"))
    assert.near(0.2 * 14 / 16, m.blocks[6][4].drop_path.p, 1e-12)
  end)
  it("pretrained: says what to do, at the constructor's line, when the model is built", function()
    local m = frt.models.efficientnet_b0 { pretrained = "no_such_tag" }
    assert.equal("HERE efficientnet_b0: model.safetensors of timm/efficientnet_b0.no_such_tag is not here, and FOODRT_OFFLINE is set; "
      .. "by hand, model.safetensors and config.json go into DIR/foodrt/weights/timm/efficientnet_b0.no_such_tag/",
      (message(function() m:build {} end):gsub("/%S*/foodrt/", "DIR/foodrt/")))
    local gone = frt.models.efficientnet_b0 { pretrained = "no/such.safetensors" }
    assert.equal("HERE efficientnet_b0: no weights at 'no/such.safetensors'", message(function() gone:build {} end))
  end)
  it("pretrained: a path is read, its classifier left out when classes differ, its stem fitted to the channels", function()
    local path = os.tmpname() .. ".safetensors"
    local pretrained = require "foodrt.models.pretrained"
    local say, said = pretrained.say, {}
    pretrained.say = function(text) said[#said + 1] = text end
    local a = frt.models.efficientnet_lite0 { classes = 4 }:build { seed = 1 }
    a:save(path)
    local b = frt.models.efficientnet_lite0 { classes = 5, in_chans = 1, pretrained = path }:build { seed = 2 }
    local c = frt.models.efficientnet_lite0 { head = false, pretrained = path }:build { seed = 2 }
    os.remove(path)
    pretrained.say = say
    assert.same(a.conv_head.weight:totable()[1], b.conv_head.weight:totable()[1])
    assert.same(a.conv_head.weight:totable()[1], c.conv_head.weight:totable()[1])
    local three, one = a.conv_stem.weight:totable()[1], b.conv_stem.weight:totable()[1]
    assert.near(three[1][2][2] + three[2][2][2] + three[3][2][2], one[1][2][2], 1e-6)
    assert.equal(1, #said)
    assert.truthy(said[1]:find("has 4 classes, this model 5: its classifier is left out", 1, true))
  end)
end)

describe("zero_init_last", function()
  it("starts the last norm of every block with a shortcut at 0, 9 of efficientnet_b0's 16, and nothing else", function()
    local zero = 0
    for name, t in frt.models.efficientnet_b0({ zero_init_last = true }):build({}):named_parameters() do
      if name:find "bn%d%.weight$" then
        local v = t:mean():item()
        assert.is_true(v == 0 or v == 1)
        if v == 0 then
          zero = zero + 1
          assert.truthy(name:find "^blocks%.%d%.[1-9]%.bn3%.weight$")
        end
      end
    end
    assert.equal(9, zero)
  end)
end)
